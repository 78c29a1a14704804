"""Tables that are drawn with rules: which cells the rules enclose, and the words in them. Pure geometry.

Rules that touch make up one grid; where a rule is missing between two cells, they are one merged cell. A grid whose
sides are open, as in many reports, is closed along its outermost rules.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from ingest.parsers.layout import Rect, Sheet, around
from ingest.parsers.structure import joined
from ingest.parsers.tables import MAX_HEADER_CHARS, MAX_HEADER_ROWS

MAX_RULE_PT = 2.5  # thicker is a box, whose edges are rules
MIN_RULE_PT = 6.0
SNAP_PT = 3.0  # rules that are closer than this are one
WHOLE_PAGE = 0.95  # share of width and height from which on a box is the page's background
MOST_RULES = 300  # across or down; plans and maps have more
MAX_LABEL_CHARS = 60
MIN_FILLED = 0.3  # share of the cells that hold text; fewer do in charts and drawings


class Word(NamedTuple):
    """A printed word; `line` is the same for all words of one line."""

    text: str
    box: Rect
    line: tuple[int, int]


class Table(NamedTuple):
    """`rows` hold one text per column. What fills a row, or stands above several columns, repeats for each of them."""

    box: Rect
    rows: tuple[tuple[str, ...], ...]
    edges: tuple[float, ...]


class Rule(NamedTuple):
    """A straight line at `at` from `start` to `end` along the other axis."""

    at: float
    start: float
    end: float


def has_grid(drawn: Sequence[Rect]) -> bool:
    """Whether enough runs across and down for a table of two rows and columns."""
    across = down = 0
    for left, top, right, bottom in drawn:
        across += right - left >= MIN_RULE_PT
        down += bottom - top >= MIN_RULE_PT
        if across >= 3 and down >= 1:
            return True
    return False


def tables(drawn: Sequence[Rect], words: Iterable[Word], sheet: Sheet) -> list[Table]:
    """Tables of a page from everything that is drawn straight on it: thin rectangles are rules, thick ones boxes."""
    across, down = _rules(drawn, sheet)
    grids = [_Grid(*part) for part in _touching(across, down)]
    grids = _outermost([grid for grid in grids if grid.is_table])
    if not grids:
        return []
    for word in words:
        for grid in grids:
            if grid.box.holds_centre_of(word.box):
                grid.take(word)
                break
    return [Table(grid.box, rows, tuple(grid.xs)) for grid in grids if (rows := grid.rows())]


def _rules(drawn: Sequence[Rect], sheet: Sheet) -> tuple[list[Rule], list[Rule]]:
    across: list[Rule] = []
    down: list[Rule] = []
    for left, top, right, bottom in drawn:
        width, height = right - left, bottom - top
        if height <= MAX_RULE_PT and width >= MIN_RULE_PT:
            across.append(Rule((top + bottom) / 2, left, right))
        elif width <= MAX_RULE_PT and height >= MIN_RULE_PT:
            down.append(Rule((left + right) / 2, top, bottom))
        elif min(width, height) >= MIN_RULE_PT and not (
            width > WHOLE_PAGE * sheet.width and height > WHOLE_PAGE * sheet.height
        ):
            across += [Rule(top, left, right), Rule(bottom, left, right)]
            down += [Rule(left, top, bottom), Rule(right, top, bottom)]
    return _snapped(across), _snapped(down)


def _snapped(rules: Sequence[Rule]) -> list[Rule]:
    """Rules at nearly the same place brought to one place, and joined where they overlap or nearly meet."""
    joined_rules: list[Rule] = []
    for group in _close(sorted(rules)):
        at = sum(rule.at for rule in group) / len(group)
        current: Rule | None = None
        for rule in sorted(group, key=lambda rule: rule.start):
            if current and rule.start <= current.end + SNAP_PT:
                current = Rule(at, current.start, max(current.end, rule.end))
                joined_rules[-1] = current
            else:
                current = Rule(at, rule.start, rule.end)
                joined_rules.append(current)
    return joined_rules


def _close(rules: Sequence[Rule]) -> list[list[Rule]]:
    groups: list[list[Rule]] = []
    for rule in rules:
        if groups and rule.at - groups[-1][0].at <= SNAP_PT:
            groups[-1].append(rule)
        else:
            groups.append([rule])
    return groups


def _touching(across: Sequence[Rule], down: Sequence[Rule]) -> list[tuple[list[Rule], list[Rule]]]:
    """Rules grouped by whether they touch, directly or through others."""
    if len(across) > MOST_RULES or len(down) > MOST_RULES:
        return []
    parents = list(range(len(across) + len(down)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for i, (y, left, right) in enumerate(across):
        for j, (x, top, bottom) in enumerate(down, start=len(across)):
            if left - SNAP_PT <= x <= right + SNAP_PT and top - SNAP_PT <= y <= bottom + SNAP_PT:
                parents[root(i)] = root(j)
    parts: dict[int, tuple[list[Rule], list[Rule]]] = defaultdict(lambda: ([], []))
    for i, rule in enumerate(across):
        parts[root(i)][0].append(rule)
    for j, rule in enumerate(down, start=len(across)):
        parts[root(j)][1].append(rule)
    return [part for part in parts.values() if part[0] and part[1]]


class _Grid:
    """Cells between touching rules, and the words that were put into them."""

    def __init__(self, across: list[Rule], down: list[Rule]) -> None:
        top, bottom = min(rule.start for rule in down), max(rule.end for rule in down)
        left, right = min(rule.start for rule in across), max(rule.end for rule in across)
        top, bottom = min(top, across[0].at), max(bottom, across[-1].at)
        left, right = min(left, down[0].at), max(right, down[-1].at)
        self.box = Rect(left, top, right, bottom)
        self._across = [*across, Rule(top, left, right), Rule(bottom, left, right)]
        self._down = [*down, Rule(left, top, bottom), Rule(right, top, bottom)]
        self.xs = _places(self._down)
        self.ys = _places(self._across)
        self._words: dict[tuple[int, int], list[Word]] = defaultdict(list)

    @property
    def is_table(self) -> bool:
        return len(self.xs) > 2 and (len(self.ys) > 2 or len(self.xs) == 3)

    def take(self, word: Word) -> None:
        across, down = (word.box.left + word.box.right) / 2, (word.box.top + word.box.bottom) / 2
        row = min(max(bisect_right(self.ys, down) - 1, 0), len(self.ys) - 2)
        column = min(max(bisect_right(self.xs, across) - 1, 0), len(self.xs) - 2)
        self._words[row, column].append(word)

    def rows(self) -> tuple[tuple[str, ...], ...]:
        """Texts by row and column; none where the rules are a drawing or a frame rather than a table."""
        cells = self._cells()
        texts = {cell: _text(word for place in sorted(cell) for word in self._words.get(place, ())) for cell in cells}
        filled = sum(bool(text) for text in texts.values())
        if filled < max(2, MIN_FILLED * len(texts)):
            return ()
        rows = [[""] * (len(self.xs) - 1) for _ in range(len(self.ys) - 1)]
        for cell, text in texts.items():
            first = min(row for row, _ in cell)
            columns = sorted(column for row, column in cell if row == first)
            names_columns = first < MAX_HEADER_ROWS and len(text) <= MAX_HEADER_CHARS
            for column in columns if names_columns or len(columns) == len(rows[0]) else columns[:1]:
                rows[first][column] = text
        rows = [row for row in _without_empty_columns(rows) if any(row)]
        return tuple(tuple(row) for row in rows) if _is_table(rows) else ()

    def _cells(self) -> list[frozenset[tuple[int, int]]]:
        """Places grouped into the cells that the rules part."""
        across, down = _covering(self._across, self.ys, self.xs), _covering(self._down, self.xs, self.ys)
        cell_of: dict[tuple[int, int], set[tuple[int, int]]] = {}
        for row in range(len(self.ys) - 1):
            for column in range(len(self.xs) - 1):
                place = (row, column)
                cell = cell_of[place] = {place}
                if column and (column, row) not in down:
                    cell = _united(cell_of, (row, column - 1), cell)
                if row and (row, column) not in across:
                    _united(cell_of, (row - 1, column), cell)
        return list({id(cell): frozenset(cell) for cell in cell_of.values()}.values())


def _is_table(rows: Sequence[Sequence[str]]) -> bool:
    """At least two rows of which one has two different texts, or a short label and what belongs to it."""
    if len(rows) > 1:
        return any(len(set(row)) > 1 for row in rows)
    return len(rows) == 1 and len(rows[0]) == 2 and 0 < len(rows[0][0]) <= MAX_LABEL_CHARS and bool(rows[0][1])


def _united(
    cell_of: dict[tuple[int, int], set[tuple[int, int]]], neighbour: tuple[int, int], cell: set[tuple[int, int]]
) -> set[tuple[int, int]]:
    other = cell_of[neighbour]
    if other is not cell:
        other |= cell
        for place in cell:
            cell_of[place] = other
    return other


def _places(rules: Iterable[Rule]) -> list[float]:
    places: list[float] = []
    for at in sorted(rule.at for rule in rules):
        if not places or at - places[-1] > SNAP_PT:
            places.append(at)
    return places


def _covering(rules: Iterable[Rule], places: Sequence[float], crossing: Sequence[float]) -> set[tuple[int, int]]:
    """(place, interval) where a rule at that place runs along the interval between two crossing places."""
    covered: set[tuple[int, int]] = set()
    middles = [(a + b) / 2 for a, b in pairwise(crossing)]
    for at, start, end in rules:
        place = max(bisect_right(places, at) - 1, 0)
        covered.update((place, i) for i, middle in enumerate(middles) if start <= middle <= end)
    return covered


def _text(words: Iterable[Word]) -> str:
    """Words as the reader gave them, which is line by line."""
    lines = groupby(sorted(words, key=lambda word: word.line), key=lambda word: word.line)
    return joined(" ".join(word.text for word in line) for _, line in lines)


def _without_empty_columns(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Double rules and narrow strips between columns leave columns that never hold anything of their own."""
    kept = [i for i in range(len(rows[0])) if any(row[i] and (i == 0 or row[i] != row[i - 1]) for row in rows)]
    return [[row[i] for i in kept] for row in rows]


def _outermost(grids: Sequence[_Grid]) -> list[_Grid]:
    """Without grids that lie inside of another: their words belong to the cell that holds them."""
    return [
        grid
        for grid in grids
        if not any(other is not grid and around((other.box, grid.box)) == other.box for other in grids)
    ]
