"""Tables as text in which every row can stand alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html.parser import HTMLParser
from itertools import pairwise

CELL_SEPARATOR = " | "
NAME_SEPARATOR = " / "
VALUE_SEPARATOR = ": "
MAX_HEADER_CHARS = 80
MAX_HEADER_ROWS = 3
MAX_SPAN = 100
MAX_COMPARED_ROWS = 100
NUMBER = re.compile(r"[-+]?[\d.,'’\s]++(%|€|EUR|\$|USD|kg|t|km)?")
YEAR = re.compile(r"(?:19|20)\d\d")

Rows = Sequence[Sequence[str]]


class Covered(str):
    """The text of a merged cell, in a further place that the cell covers."""

    __slots__ = ()


def table_text(rows: Rows, *, header: bool = False, header_rows: int = 0) -> str:
    """One line per row. Under a header line each value repeats its column's name (`Ort: Berlin | Satz: 28 €`).

    A row that says what its values mean survives being cut off from the table's head. `header_rows` states how many
    rows form the head (`header`: one does); otherwise their look decides. Names in several rows are joined
    (`2024 / Umsatz`). A row that is one merged cell stands once. Two columns without a head read as name and value.
    """
    lines = [[_one_line(cell) for cell in row] for row in rows]
    lines = [row for row in lines if any(row)]
    above = next((i for i, row in enumerate(lines) if not _is_one_cell(row)), len(lines))
    titles, lines = lines[:above], lines[above:]
    count = min(max(header_rows - above, int(header)) or _guessed_header_rows(lines), len(lines) - 1)
    text = [row[0] for row in titles]
    if count > 0:
        names = _names(lines[:count])
        text += [_joined(_shown_once(row)) for row in lines[:count]]
        text += [_named(names, row) for row in lines[count:]]
    elif lines and max(len(row) for row in lines) == 2:
        text += [": ".join(cell.removesuffix(":") for cell in _shown_once(row) if cell) for row in lines]
    else:
        text += [_joined(_shown_once(row)) for row in lines]
    return "\n".join(text)


def _one_line(cell: str) -> str:
    text = " ".join(cell.split())
    return Covered(text) if isinstance(cell, Covered) else text


def _is_one_cell(row: Sequence[str]) -> bool:
    return len(row) > 1 and bool(row[0]) and all(isinstance(cell, Covered) and cell == row[0] for cell in row[1:])


def _joined(cells: Iterable[str]) -> str:
    return CELL_SEPARATOR.join(cell for cell in cells if cell)


def _shown_once(cells: Sequence[str]) -> list[str]:
    """The cells of a row, those that lie over several columns once."""
    return [cell for before, cell in pairwise(["", *cells]) if not (isinstance(cell, Covered) and cell == before)]


def _named(names: Sequence[str], row: Sequence[str]) -> str:
    if _is_one_cell(row):
        return row[0]
    named = [*names, *[""] * (len(row) - len(names))]
    return _joined(
        f"{name}{VALUE_SEPARATOR}{cell}" if name and cell else cell for name, cell in zip(named, row, strict=False)
    )


def _names(rows: Rows) -> list[str]:
    """One name per column, joined from the rows of the head."""
    width = max(len(row) for row in rows)
    columns = ([row[i] for row in rows if i < len(row) and row[i]] for i in range(width))
    return [NAME_SEPARATOR.join(dict.fromkeys(column)) for column in columns]


def _guessed_header_rows(rows: Rows) -> int:
    """How many rows look like names of columns; further ones only below cells that lie over several columns."""
    count = 0
    for i, row in enumerate(rows[: min(MAX_HEADER_ROWS, len(rows) - 1)]):
        if not _looks_like_names(row, rows[i + 1 :]) or (
            count and not any(isinstance(cell, Covered) for cell in rows[count - 1])
        ):
            break
        count += 1
    names = [name for i, name in enumerate(_names(rows[:count])) if not _is_covered(rows[:count], i)] if count else []
    if len(set(names)) < len(names):
        return 0
    return count if count != 1 or _is_header_of(rows) else 0


def _is_covered(rows: Rows, column: int) -> bool:
    """Whether a column of the head has no cell of its own: two columns may lie under one name."""
    return all(column < len(row) and isinstance(row[column], Covered) for row in rows)


def starts_with_names(rows: Rows) -> bool:
    """Whether the first row looks like the names of columns."""
    return _guessed_header_rows(rows) > 0


def _looks_like_names(row: Sequence[str], below: Rows) -> bool:
    if len(row) < 2 or any(len(cell) > MAX_HEADER_CHARS for cell in row):
        return False
    own = [cell for cell, after in zip(row, [*row[1:], ""], strict=True) if not _is_wide(cell, after)]
    numbers = [cell for cell in own if NUMBER.fullmatch(cell)]
    return all(row[1:]) and (not numbers or (numbers != row and _are_names(numbers, row, below)))


def _are_names(numbers: Sequence[str], row: Sequence[str], below: Rows) -> bool:
    """Whether the numbers of a row are years that name what stands below them, as `2023` and `2024` do over sums."""
    if not all(YEAR.fullmatch(each) for each in numbers) or len(set(numbers)) < len(numbers):
        return False
    columns = [i for i, cell in enumerate(row) if cell in numbers]
    values = [line[i] for line in below[:MAX_COMPARED_ROWS] for i in columns if i < len(line) and line[i]]
    years = sum(1 for value in values if YEAR.fullmatch(value))
    return bool(values) and years <= (len(values) / 2 if len(numbers) > 1 else 0)


def _is_wide(cell: str, after: str) -> bool:
    """Whether a cell lies over several columns: a year may stand there, which elsewhere would be a value."""
    return isinstance(cell, Covered) or isinstance(after, Covered)


def _is_header_of(rows: Rows) -> bool:
    return len(rows[0]) > 2 or all(NUMBER.fullmatch(row[-1]) for row in rows[1:] if len(row) == 2)


class TableReader(HTMLParser):
    """Collects the cells of one HTML table, as row lists in `rows`; a cell over several columns is repeated."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[str]] = []
        self.header_rows = 0
        self.caption = ""
        self._open: str | None = None
        self._span = 1

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"} and self.rows:
            self._close_cell()
            self.rows[-1].append("")
            self._open, self._span = tag, _span(dict(attrs).get("colspan"))
            if tag == "th" and len(self.rows[-1]) > 1 and self.header_rows == len(self.rows) - 1:
                self.header_rows = len(self.rows)
        elif tag == "caption":
            self._open = tag
        elif tag == "br":
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self._close_cell()
        if tag in {"td", "th", "caption"}:
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open == "caption":
            self.caption += data
        elif self._open is not None:
            self.rows[-1][-1] += data

    def _close_cell(self) -> None:
        if self._open in {"td", "th"}:
            self.rows[-1] += [Covered(self.rows[-1][-1])] * (self._span - 1)
            self._span = 1


def _span(text: str | None) -> int:
    return min(int(text), MAX_SPAN) if text and text.isdecimal() and int(text) else 1


def html_table_text(html: str) -> str:
    """`table_text` of an HTML table, its caption in front."""
    reader = TableReader()
    reader.feed(html)
    reader.close()
    parts = (reader.caption.strip(), table_text(reader.rows, header_rows=reader.header_rows))
    return "\n".join(part for part in parts if part)
