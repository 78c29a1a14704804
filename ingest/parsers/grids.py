"""Sheets as tables: what stands together is one table, empty cells between are borders. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from heapq import merge
from operator import itemgetter

from ingest.extraction import Element, ElementKind
from ingest.parsers.damage import too_large
from ingest.parsers.tables import starts_with_names, table_text

MAX_CELLS = 3_000_000
MAX_TEXT_CHARS = 40_000_000
"""Of one workbook. A shared text counts once per cell that shows it: 100 kB can be 12 GB (IN-04)."""

MAX_REPEATED_CELLS = 1_000_000
MAX_REPEATED_CHARS = 5_000_000
"""Of one workbook: places that cells are repeated in or cover. A few bytes say that a cell stands in 40,000 of them."""
MAX_PLACES = 20_000_000
"""Of all tables of one workbook, empty places with them: cells along a diagonal are one large table."""
MAX_PASSES = 10  # tables that lie in one another like shells of an onion may need more, and then stand apart

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

    def take(self, other: _Block) -> None:
        self.top, self.left = min(self.top, other.top), min(self.left, other.left)
        self.bottom, self.right = max(self.bottom, other.bottom), max(self.right, other.right)


class Budget:
    """How much a workbook may show.

    Raises:
        DocumentRefused: at the cell that exceeds it.
    """

    def __init__(self) -> None:
        self._cells = 0
        self._chars = 0
        self._repeated_cells = 0
        self._repeated_chars = 0
        self._places = 0

    def spend(self, text: str) -> str:
        self._cells += 1
        self._chars += len(text)
        if self._cells > MAX_CELLS or self._chars > MAX_TEXT_CHARS:
            raise too_large(f"its sheets show more than {MAX_CELLS:,} cells or {MAX_TEXT_CHARS:,} characters")
        return text

    def repeat(self, text: str) -> str:
        """The text of a cell in one more place."""
        self._repeated_cells += 1
        self._repeated_chars += len(text)
        if self._repeated_cells > MAX_REPEATED_CELLS or self._repeated_chars > MAX_REPEATED_CHARS:
            cells, chars = f"{MAX_REPEATED_CELLS:,} cells", f"{MAX_REPEATED_CHARS:,} characters"
            raise too_large(f"its sheets repeat more than {cells} or {chars}")
        return self.spend(text)

    def span(self, places: int) -> None:
        """A table with so many places."""
        self._places += places
        if self._places > MAX_PLACES:
            raise too_large(f"its tables span more than {MAX_PLACES:,} cells")


def sheet_elements(
    title: str,
    cells: Cells,
    budget: Budget,
    heads: Sequence[tuple[int, int]] = (),
    between: Iterable[tuple[int, Element]] = (),
) -> Iterator[Element]:
    """The sheet's name as heading, then its tables, each row with the names of its columns.

    A table that goes on below an empty row without names of its own keeps those from above. `heads` are rows and
    first columns of tables that the file itself declares to have a head. `between` is what else stands on the sheet,
    each with its row, in order.
    """
    yield Element(ElementKind.HEADING, title, 1)
    for _, element in merge(_tables(cells, budget, heads), between, key=itemgetter(0)):
        yield element


def _tables(cells: Cells, budget: Budget, heads: Sequence[tuple[int, int]]) -> Iterator[tuple[int, Element]]:
    named: tuple[int, int, list[str]] | None = None
    for block in _blocks(cells):
        budget.span((block.bottom - block.top + 1) * (block.right - block.left + 1))
        rows = _rows(block, cells)
        columns = (block.left, block.right)
        declared = (block.top, block.left) in heads
        has_names = declared or not _holds_numbers(rows[0]) or starts_with_names(rows)
        goes_on = named is not None and named[:2] == columns and not has_names
        if len(rows) == 1 and len([cell for cell in rows[0] if cell]) == 1:
            yield block.top, Element(ElementKind.PARAGRAPH, "".join(rows[0]))
            continue
        if goes_on and named is not None:
            yield block.top, Element(ElementKind.TABLE, table_text([named[2], *rows], header=True))
            continue
        yield block.top, Element(ElementKind.TABLE, table_text(rows, header=declared))
        named = (*columns, rows[0]) if len(rows) > 1 and has_names else None


def _rows(block: _Block, cells: Cells) -> list[list[str]]:
    columns = range(block.left, block.right + 1)
    found = (cells.get(row) for row in range(block.top, block.bottom + 1))
    return [[row.get(column, "") for column in columns] for row in found if row]


def _holds_numbers(row: Iterable[str]) -> bool:
    return any(cell.replace(".", "").replace(",", "").replace("-", "").isdecimal() for cell in row)


def _blocks(cells: Cells) -> list[_Block]:
    """Rectangles of cells that touch, also diagonally; those that overlap are one."""
    runs = [_Block(row, left, row, right) for row in sorted(cells) for left, right in _runs(sorted(cells[row]))]
    blocks = _joined(runs)
    for _ in range(MAX_PASSES):
        before = len(blocks)
        blocks = _joined(sorted(blocks, key=lambda block: block.top))
        if len(blocks) == before:
            break
    return sorted(blocks, key=lambda block: (block.top, block.left))


def _runs(columns: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of neighbouring columns."""
    start = 0
    for i in range(1, len(columns) + 1):
        if i == len(columns) or columns[i] > columns[i - 1] + 1:
            yield columns[start], columns[i - 1]
            start = i


def _joined(blocks: Iterable[_Block]) -> list[_Block]:
    """Blocks that meet as one; they come from top to bottom.

    What is joined may reach over what lies above it by then: a hole in a table makes two runs meet only further down.
    Another pass joins these. Blocks that still grow lie side by side with a gap between, so each finds those that it
    meets by their columns.
    """
    done: list[_Block] = []
    growing: list[_Block] = []
    top = -1
    for block in blocks:
        if block.top != top:
            top = block.top
            done += [each for each in growing if each.bottom < top - 1]
            growing = [each for each in growing if each.bottom >= top - 1]
        first = bisect_left(growing, block.left - 1, key=lambda each: each.right)
        last = bisect_right(growing, block.right + 1, key=lambda each: each.left)
        for each in growing[first:last]:
            block.take(each)
        growing[first:last] = [block]
    return done + growing


def hidden_sheets(count: int) -> tuple[str, ...]:
    """The notice for sheets that a workbook hides."""
    return (f"hidden sheets are left out: {count:,}",) if count else ()


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
