"""Sheets as tables: what stands together is one table, empty cells between are borders. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time

from ingest.extraction import Element, ElementKind
from ingest.parsers.damage import too_large
from ingest.parsers.tables import starts_with_names, table_text

MAX_CELLS = 3_000_000
MAX_TEXT_CHARS = 40_000_000
"""Of one workbook. A shared text counts once per cell that shows it: 100 kB can be 12 GB (IN-04)."""

MAX_EXACT = 1e15  # whole numbers that a float holds to the last digit

Cells = Mapping[int, Mapping[int, str]]
"""Texts by row and column; only cells that show something."""


@dataclass(slots=True)
class _Block:
    """Rows and columns, both ends included, that one table covers."""

    top: int
    left: int
    bottom: int
    right: int

    def touches(self, row: int, left: int, right: int) -> bool:
        return self.bottom >= row - 1 and self.left <= right + 1 and left <= self.right + 1

    def meets(self, other: _Block) -> bool:
        apart = self.right + 1 < other.left or other.right + 1 < self.left
        return not apart and self.top <= other.bottom + 1 and other.top <= self.bottom + 1

    def take(self, other: _Block) -> None:
        self.top, self.left = min(self.top, other.top), min(self.left, other.left)
        self.bottom, self.right = max(self.bottom, other.bottom), max(self.right, other.right)


class Budget:
    """How much text a workbook may show.

    Raises:
        DocumentRefused: at the cell that exceeds it.
    """

    def __init__(self) -> None:
        self._cells = 0
        self._chars = 0

    def spend(self, text: str) -> str:
        self._cells += 1
        self._chars += len(text)
        if self._cells > MAX_CELLS or self._chars > MAX_TEXT_CHARS:
            raise too_large(f"its sheets show more than {MAX_CELLS:,} cells or {MAX_TEXT_CHARS:,} characters")
        return text


def sheet_elements(title: str, cells: Cells, heads: Sequence[tuple[int, int]] = ()) -> Iterator[Element]:
    """The sheet's name as heading, then its tables, each row with the names of its columns.

    A table that goes on below an empty row without names of its own keeps those from above. `heads` are rows and
    first columns of tables that the file itself declares to have a head.
    """
    yield Element(ElementKind.HEADING, title, 1)
    named: tuple[int, int, list[str]] | None = None
    for block in _blocks(cells):
        rows = _rows(block, cells)
        columns = (block.left, block.right)
        declared = (block.top, block.left) in heads
        has_names = declared or not _holds_numbers(rows[0]) or starts_with_names(rows)
        goes_on = named is not None and named[:2] == columns and not has_names
        if len(rows) == 1 and len([cell for cell in rows[0] if cell]) == 1:
            yield Element(ElementKind.PARAGRAPH, "".join(rows[0]))
            continue
        if goes_on and named is not None:
            yield Element(ElementKind.TABLE, table_text([named[2], *rows], header=True))
            continue
        yield Element(ElementKind.TABLE, table_text(rows, header=declared))
        named = (*columns, rows[0]) if len(rows) > 1 and has_names else None


def _rows(block: _Block, cells: Cells) -> list[list[str]]:
    columns = range(block.left, block.right + 1)
    found = (cells.get(row) for row in range(block.top, block.bottom + 1))
    return [[row.get(column, "") for column in columns] for row in found if row]


def _holds_numbers(row: Iterable[str]) -> bool:
    return any(cell.replace(".", "").replace(",", "").replace("-", "").isdecimal() for cell in row)


def _blocks(cells: Cells) -> list[_Block]:
    """Rectangles of cells that touch, also diagonally; those that overlap are one."""
    done: list[_Block] = []
    growing: list[_Block] = []
    for row in sorted(cells):
        done += [block for block in growing if block.bottom < row - 1]
        growing = [block for block in growing if block.bottom >= row - 1]
        for left, right in _runs(sorted(cells[row])):
            found = _Block(row, left, row, right)
            joined = [block for block in growing if block.touches(row, left, right)]
            for block in joined:
                found.take(block)
            growing = [block for block in growing if block not in joined] + [found]
    return sorted(_merged(done + growing), key=lambda block: (block.top, block.left))


def _runs(columns: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of neighbouring columns."""
    start = 0
    for i in range(1, len(columns) + 1):
        if i == len(columns) or columns[i] > columns[i - 1] + 1:
            yield columns[start], columns[i - 1]
            start = i


def _merged(blocks: list[_Block]) -> list[_Block]:
    """Blocks without overlaps: a hole in a table makes two runs meet only further down."""
    merged: list[_Block] = []
    for block in sorted(blocks, key=lambda each: each.top):
        while other := next((each for each in merged if each.meets(block)), None):
            merged.remove(other)
            block.take(other)
        merged.append(block)
    return merged


def shown(value: object, *, percent: bool = False) -> str:
    """A cell's value as people write it: no `.0`, dates without an empty time, shares in percent where shown so."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return f"{value * 100:.10g} %" if percent else _number(value)
    if isinstance(value, datetime) and value.time() == time.min:
        return value.date().isoformat()
    return "" if value is None else str(value)


def _number(value: float) -> str:
    whole = isinstance(value, int) or (value.is_integer() and abs(value) < MAX_EXACT)
    return str(int(value)) if whole else f"{value:.15g}"
