"""Tables as text in which every row can stand alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html.parser import HTMLParser

CELL_SEPARATOR = " | "
MAX_HEADER_CHARS = 80
NUMBER = re.compile(r"[-+]?[\d.,'’\s]+\s*(%|€|EUR|\$|USD|kg|t|km)?")

Rows = Sequence[Sequence[str]]


def table_text(rows: Rows, *, header: bool = False) -> str:
    """One line per row. Under a header line each value repeats its column's name (`Ort: Berlin | Satz: 28 €`).

    A row that says what its values mean survives being cut off from the table's head. `header` states that the first
    row is one; otherwise its look decides. Two columns without a header read as name and value.
    """
    lines = [[" ".join(cell.split()) for cell in row] for row in rows]
    lines = [row for row in lines if any(row)]
    if len(lines) > 1 and (header or _looks_like_header(lines)):
        names = lines[0]
        return "\n".join([_joined(names), *(_named(names, row) for row in lines[1:])])
    if lines and max(len(row) for row in lines) == 2:
        return "\n".join(": ".join(cell.removesuffix(":") for cell in row if cell) for row in lines)
    return "\n".join(_joined(row) for row in lines)


def _joined(cells: Iterable[str]) -> str:
    return CELL_SEPARATOR.join(cell for cell in cells if cell)


def _named(names: Sequence[str], row: Sequence[str]) -> str:
    named = [*names, *[""] * (len(row) - len(names))]
    return _joined(f"{name}: {cell}" if name and cell else cell for name, cell in zip(named, row, strict=False))


def _looks_like_header(rows: Rows) -> bool:
    first = rows[0]
    if len(first) < 2 or len(set(first)) < len(first) or any(len(cell) > MAX_HEADER_CHARS for cell in first):
        return False
    if not all(first[1:]) or any(NUMBER.fullmatch(cell) for cell in first if cell):
        return False
    return len(first) > 2 or all(NUMBER.fullmatch(row[-1]) for row in rows[1:] if len(row) == 2)


class TableReader(HTMLParser):
    """Collects the cells of one simple HTML table, as row lists in `rows`; spans are not repeated."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[str]] = []
        self.header = False
        self.caption = ""
        self._open: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"} and self.rows:
            self.rows[-1].append("")
            self._open = tag
            self.header = self.header or (tag == "th" and len(self.rows) == 1)
        elif tag == "caption":
            self._open = tag
        elif tag == "br":
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th", "caption"}:
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open == "caption":
            self.caption += data
        elif self._open is not None:
            self.rows[-1][-1] += data


def html_table_text(html: str) -> str:
    """`table_text` of an HTML table, its caption in front."""
    reader = TableReader()
    reader.feed(html)
    reader.close()
    parts = (reader.caption.strip(), table_text(reader.rows, header=reader.header))
    return "\n".join(part for part in parts if part)
