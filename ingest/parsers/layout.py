"""From printed lines to blocks in reading order, without running heads. Pure geometry, no PDF library.

Coordinates are points from the top left corner of the page as it is displayed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from ingest.extraction import ElementKind
from rag.documents import Box

MIN_GUTTER_PT = 8.0
WIDE = 0.55  # share of the text's width from which on a block cannot belong to one of two columns
MIN_COLUMN = 0.15  # share of the text's width
MIN_COLUMN_LINES = 4
MIN_BAND_LINES = 8  # of each column, where columns take a part of the page only
MIN_HALF = 0.3
SAME_EDGE_PT = 6.0
MOST_EDGES = 4
MIN_ROWS = 3
MIN_ROW_LINES = 1.3  # a block; where each line is a block of its own, nothing can be told
SAME_ROW_PT = 6.0
ROWS_SHARE = 0.8
MIN_FILL = 0.55  # how much of a column's width its lines use on average; lists of labels or figures use less

MARGIN = 0.1  # share of the page's height in which running heads and feet stand
MIN_REPEATS = 2
MIN_REPEAT_SHARE = 0.3
PAGE_NUMBER = re.compile(r"\W*(seite|page|s\.|p\.)?\W*#(\W*(von|of|/)?\W*#)?\W*", re.IGNORECASE)
MAX_PAGE_NUMBER_CHARS = 40  # with more, the many ways to take a row of figures apart would count
MIN_EXTENT = 0.001  # share of the page
DIGITS = re.compile(r"\d+")


class Rect(NamedTuple):
    """A place on a page."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    def holds_centre_of(self, other: Rect) -> bool:
        across, down = (other.left + other.right) / 2, (other.top + other.bottom) / 2
        return self.left <= across <= self.right and self.top <= down <= self.bottom


class Sheet(NamedTuple):
    """A page as it is displayed: number from 1, size in points."""

    number: int
    width: float
    height: float

    def share(self, rect: Rect) -> Box:
        """Where the place is, in shares of the page; at its edge where it lies outside."""
        left, right = _within(rect.left / self.width, rect.right / self.width)
        top, bottom = _within(rect.top / self.height, rect.bottom / self.height)
        return Box(left, top, right, bottom)


def _within(start: float, end: float) -> tuple[float, float]:
    """The part of the extent between 0 and 1, never without any length."""
    start = min(max(start, 0.0), 1.0 - MIN_EXTENT)
    return start, max(min(end, 1.0), start + MIN_EXTENT)


class Line(NamedTuple):
    """One printed line. `size` in points, of its largest share of characters; `confidence` of recognised text."""

    text: str
    box: Rect
    size: float
    bold: bool
    confidence: float | None = None


class Block(NamedTuple):
    """Lines that the page holds together, or something complete: then `whole` is its text and `lines` is empty."""

    lines: tuple[Line, ...]
    box: Rect
    sheet: Sheet
    whole: str = ""
    kind: ElementKind = ElementKind.PARAGRAPH

    @property
    def text(self) -> str:
        return self.whole or "\n".join(line.text for line in self.lines)

    @property
    def in_head(self) -> bool:
        return not self.whole and self.box.bottom < MARGIN * self.sheet.height

    @property
    def in_foot(self) -> bool:
        return not self.whole and self.box.top > (1 - MARGIN) * self.sheet.height

    @property
    def in_margin(self) -> bool:
        return self.in_head or self.in_foot


def around(boxes: Iterable[Rect]) -> Rect:
    """The smallest rectangle that holds all of `boxes`, of which there is at least one."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return Rect(min(lefts), min(tops), max(rights), max(bottoms))


def in_reading_order(blocks: Sequence[Block]) -> list[Block]:
    """Blocks of one page as they are read: head, text, foot; the text from top to bottom, column after column.

    Blocks that are wider than a column cut the text into bands; within a band the columns are read left to right.
    """
    head = [block for block in blocks if block.in_head]
    foot = [block for block in blocks if block.in_foot]
    text = [block for block in blocks if not block.in_margin]
    return [*_downwards(head), *_banded(text), *_downwards(foot)]


def _banded(blocks: Sequence[Block]) -> list[Block]:
    parts = [part for block in blocks for part in _side_by_side(block)]
    gutters = _gutters(parts)
    if not gutters:  # what stands side by side then is one row, such as a name and its value
        return _downwards(blocks)
    ordered: list[Block] = []
    band: list[Block] = []
    for block in _downwards(parts):
        if any(block.box.left < gutter < block.box.right for gutter in gutters):
            ordered += [*_column_by_column(band, gutters), block]
            band = []
        else:
            band.append(block)
    return ordered + _column_by_column(band, gutters)


def _side_by_side(block: Block) -> list[Block]:
    """The block cut where a line stands beside the one before instead of below it, as lines of two columns do."""
    if len(block.lines) < 2:
        return [block]
    runs: list[list[Line]] = []
    for line in block.lines:
        if not runs or _beside(runs[-1][-1].box, line.box):
            runs.append([])
        runs[-1].append(line)
    if len(runs) < 2:
        return [block]
    return [block._replace(lines=tuple(run), box=around(line.box for line in run)) for run in runs]


def _beside(one: Rect, other: Rect) -> bool:
    same_height = one.top < (other.top + other.bottom) / 2 < one.bottom
    return same_height and (other.left > one.right + MIN_GUTTER_PT or one.left > other.right + MIN_GUTTER_PT)


def _downwards(blocks: Sequence[Block]) -> list[Block]:
    return sorted(blocks, key=lambda block: (round(block.box.top / 3), block.box.left))


def _column_by_column(band: Sequence[Block], gutters: Sequence[float]) -> list[Block]:
    def column(block: Block) -> int:
        return sum(gutter <= block.box.left + 1 for gutter in gutters)

    return sorted(_downwards(band), key=column)


def _gutters(blocks: Sequence[Block]) -> list[float]:
    """Where the columns of running text are parted, from left to right; empty for a page of one column."""
    if not blocks:
        return []
    text = around(block.box for block in blocks)
    narrow = [block for block in blocks if block.lines and block.box.width < WIDE * text.width]
    columns = _columns(narrow)
    if len(columns) < 2 or not all(_is_running_text(column, text.width) for column in columns):
        return _gutter_of_a_band(blocks, text.width)
    if any(_are_rows(a, b) for a, b in pairwise(columns)):
        return []
    edges = [around(block.box for block in column) for column in columns]
    return [(a.right + b.left) / 2 for a, b in pairwise(edges)]


def _gutter_of_a_band(blocks: Sequence[Block], width: float) -> list[float]:
    """The gutter of a page on which only a part is set in two columns: left of where many lines begin."""
    starts = Counter(round(line.box.left / SAME_EDGE_PT) for block in blocks for line in block.lines)
    for edge, count in starts.most_common(MOST_EDGES):
        if count < MIN_BAND_LINES:
            break
        gutter = (edge - 0.5) * SAME_EDGE_PT - 1
        band = max(_bands(blocks, gutter), key=len, default=[])
        left = [block for block in band if block.box.right <= gutter]
        right = [block for block in band if block.box.left >= gutter]
        sides = (left, right)
        if all(_fills_half(side, width) for side in sides) and not _are_rows(left, right):
            return [gutter]
    return []


def _bands(blocks: Sequence[Block], gutter: float) -> list[list[Block]]:
    bands: list[list[Block]] = [[]]
    for block in _downwards(blocks):
        if block.box.left < gutter < block.box.right:
            bands.append([])
        else:
            bands[-1].append(block)
    return bands


def _fills_half(side: Sequence[Block], page_width: float) -> bool:
    lines = sum(len(block.lines) for block in side)
    if lines < MIN_BAND_LINES or around(block.box for block in side).width < MIN_HALF * page_width:
        return False
    return _is_running_text([block for block in side if block.lines], page_width)


def _columns(blocks: Sequence[Block]) -> list[list[Block]]:
    """Blocks grouped so that between two groups runs a white strip from top to bottom."""
    columns: list[list[Block]] = []
    reach = float("-inf")
    for block in sorted(blocks, key=lambda block: block.box.left):
        if not columns or block.box.left > reach + MIN_GUTTER_PT:
            columns.append([])
        columns[-1].append(block)
        reach = max(reach, block.box.right)
    return columns


def _are_rows(left: Sequence[Block], right: Sequence[Block]) -> bool:
    """Whether blocks of several lines begin side by side, as labels and what they stand for do."""
    if max(sum(len(block.lines) for block in column) / len(column) for column in (left, right)) < MIN_ROW_LINES:
        return False
    few, many = sorted((left, right), key=len)
    tops = [block.box.top for block in many]
    beside = sum(any(abs(block.box.top - top) <= SAME_ROW_PT for top in tops) for block in few)
    return len(few) >= MIN_ROWS and beside >= ROWS_SHARE * len(few)


def _is_running_text(column: Sequence[Block], page_width: float) -> bool:
    lines = [line.box.width for block in column for line in block.lines]
    width = around(block.box for block in column).width
    filled = sum(lines) / len(lines) >= MIN_FILL * width
    return width >= MIN_COLUMN * page_width and len(lines) >= MIN_COLUMN_LINES and filled


def without_running_heads(blocks: Sequence[Block], pages: int) -> list[Block]:
    """Drops what the margins of many pages repeat: page numbers always, other texts after their first appearance."""
    patterns = [_pattern(block) if block.in_margin else "" for block in blocks]
    places = {(block.sheet.number, pattern) for block, pattern in zip(blocks, patterns, strict=True) if pattern}
    repeats = Counter(pattern for _, pattern in places)
    running = {p for p, count in repeats.items() if count >= max(MIN_REPEATS, MIN_REPEAT_SHARE * pages)}
    numbers = {pattern for pattern in running if _is_page_number(pattern)}
    first = {pattern: index for index, pattern in reversed(list(enumerate(patterns))) if pattern not in numbers}
    return [
        block
        for index, (block, pattern) in enumerate(zip(blocks, patterns, strict=True))
        if pattern not in running or first.get(pattern) == index
    ]


def _is_page_number(pattern: str) -> bool:
    return len(pattern) <= MAX_PAGE_NUMBER_CHARS and PAGE_NUMBER.fullmatch(pattern) is not None


def _pattern(block: Block) -> str:
    return DIGITS.sub("#", " ".join(block.text.split()))


def merged_lines(blocks: Sequence[Block]) -> list[Block]:
    """Blocks in reading order; one that continues the one above is joined to it."""
    merged: list[Block] = []
    for block in blocks:
        if merged and _continues(merged[-1], block):
            above = merged[-1]
            merged[-1] = above._replace(lines=above.lines + block.lines, box=around((above.box, block.box)))
        else:
            merged.append(block)
    return merged


def _continues(above: Block, below: Block) -> bool:
    """In the same type: close below at the same edge, or in mid-sentence, as at the turn of a column."""
    if not above.lines or not below.lines or above.kind is not below.kind or above.in_margin or below.in_margin:
        return False
    last, first = above.lines[-1], below.lines[0]
    if (last.size, last.bold) != (first.size, first.bold):
        return False
    gap = first.box.top - last.box.bottom
    close = abs(last.box.left - first.box.left) < first.size and -0.5 * first.size < gap < 0.45 * first.size
    return close or (first.text.lstrip()[:1].islower() and last.text.rstrip()[-1:].isalpha())
