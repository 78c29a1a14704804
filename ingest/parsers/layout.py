"""From printed lines to text: reading order, paragraphs, headings, running heads. Pure geometry, no PDF library.

Coordinates are points from the top left corner of the page.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

from ingest.extraction import Element, ElementKind

MIN_GUTTER_PT = 8.0
WIDE = 0.55  # share of the text's width from which on a block cannot belong to one of two columns
MIN_COLUMN = 0.15  # share of the text's width
MIN_COLUMN_LINES = 4
MIN_FILL = 0.55  # how much of a column's width its lines use on average; lists of labels or figures use less

HEADING_RATIO = 1.12
MAX_HEADING_CHARS = 160
MAX_HEADING_LEVELS = 5
MAX_HEADING_SHARE = 0.4

MARGIN = 0.1  # share of the page's height in which running heads and feet stand
MIN_REPEATS = 2
MIN_REPEAT_SHARE = 0.3

BULLET = re.compile(r"^\s*([•‣▪●○◦∙·\uf0b7\uf0a7–-]\s+|\(?(\d{1,2}|[a-z])[.)]\s+(?=\S))")
PAGE_NUMBER = re.compile(r"\W*(seite|page|s\.|p\.)?\W*#(\W*(von|of|/)?\W*#)?\W*", re.IGNORECASE)
DOT_LEADER = re.compile(r"\s?(\.\s?){5,}")
WORD = re.compile(r"[^\W\d_]{2}")
HYPHEN_AT_END = re.compile(r"(?<=[^\W\d_])[-\u00ad\u2010]$")
JOINED_BY_HYPHEN = re.compile(r"(und|oder|bzw|sowie|and|or)\b")


@dataclass(frozen=True, slots=True)
class Box:
    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    def holds_centre_of(self, other: Box) -> bool:
        across, down = (other.left + other.right) / 2, (other.top + other.bottom) / 2
        return self.left <= across <= self.right and self.top <= down <= self.bottom


@dataclass(frozen=True, slots=True)
class Line:
    """One printed line. `size` in points, of its largest share of characters."""

    text: str
    box: Box
    size: float
    bold: bool


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that the page holds together, or a table (then `table` is its text and `lines` is empty)."""

    lines: tuple[Line, ...]
    box: Box
    page: int
    page_height: float
    table: str = ""

    @property
    def text(self) -> str:
        return self.table or "\n".join(line.text for line in self.lines)


_T = TypeVar("_T")


def around(boxes: Iterable[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*((b.left, b.top, b.right, b.bottom) for b in boxes), strict=True)
    return Box(min(lefts), min(tops), max(rights), max(bottoms))


def in_reading_order(blocks: Sequence[Block]) -> list[Block]:
    """Blocks of one page as they are read: head, text, foot; the text from top to bottom, column after column.

    Blocks that are wider than a column cut the text into bands; within a band the columns are read left to right.
    """
    head = [block for block in blocks if _stands_in_head(block)]
    foot = [block for block in blocks if _stands_in_foot(block)]
    text = [block for block in blocks if not _stands_in_head(block) and not _stands_in_foot(block)]
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
    runs: list[list[Line]] = []
    for line in block.lines:
        if not runs or _beside(runs[-1][-1].box, line.box):
            runs.append([])
        runs[-1].append(line)
    return [replace(block, lines=tuple(run), box=around(line.box for line in run)) for run in runs] or [block]


def _beside(one: Box, other: Box) -> bool:
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
        return []
    edges = [around(block.box for block in column) for column in columns]
    return [(a.right + b.left) / 2 for a, b in pairwise(edges)]


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


def _is_running_text(column: Sequence[Block], page_width: float) -> bool:
    lines = [line.box.width for block in column for line in block.lines]
    width = around(block.box for block in column).width
    filled = sum(lines) / len(lines) >= MIN_FILL * width
    return width >= MIN_COLUMN * page_width and len(lines) >= MIN_COLUMN_LINES and filled


def without_running_heads(blocks: Sequence[Block], pages: int) -> list[Block]:
    """Drops what the margins of many pages repeat: page numbers always, other texts after their first appearance."""
    patterns = [_pattern(block) if _stands_in_margin(block) else "" for block in blocks]
    places = {(block.page, pattern) for block, pattern in zip(blocks, patterns, strict=True) if pattern}
    repeats = Counter(pattern for _, pattern in places)
    running = {p for p, count in repeats.items() if count >= max(MIN_REPEATS, MIN_REPEAT_SHARE * pages)}
    numbers = {pattern for pattern in running if PAGE_NUMBER.fullmatch(pattern)}
    first = {pattern: index for index, pattern in reversed(list(enumerate(patterns))) if pattern not in numbers}
    return [
        block
        for index, (block, pattern) in enumerate(zip(blocks, patterns, strict=True))
        if pattern not in running or first.get(pattern) == index
    ]


def _stands_in_margin(block: Block) -> bool:
    return _stands_in_head(block) or _stands_in_foot(block)


def _stands_in_head(block: Block) -> bool:
    return not block.table and block.box.bottom < MARGIN * block.page_height


def _stands_in_foot(block: Block) -> bool:
    return not block.table and block.box.top > (1 - MARGIN) * block.page_height


def _pattern(block: Block) -> str:
    return re.sub(r"\d+", "#", " ".join(block.text.split()))


def elements(blocks: Sequence[Block]) -> tuple[Element, ...]:
    """Headings by size and weight of their type, list items by their marks, paragraphs joined from their lines."""
    level_of = _heading_levels([line for block in blocks for line in block.lines])
    return tuple(element for block in blocks for element in _block_elements(block, level_of))


def _heading_levels(lines: Sequence[Line]) -> Callable[[Line], int]:
    """Heading level of a line, 0 for none. The commonest size is the body's; larger ones are ranked, then bold."""
    weights: Counter[float] = Counter()
    for line in lines:
        weights[line.size] += len(line.text)
    body = weights.most_common(1)[0][0] if weights else 0.0
    larger = sorted((size for size in weights if size >= body * HEADING_RATIO), reverse=True)
    levels = {size: min(rank, MAX_HEADING_LEVELS) for rank, size in enumerate(larger, start=1)}
    bold_level = min(len(larger) + 1, MAX_HEADING_LEVELS)

    def level(line: Line) -> int:
        return levels.get(line.size, bold_level if line.bold and line.size >= body else 0)

    marked = sum(len(line.text) for line in lines if level(line))
    return level if marked <= MAX_HEADING_SHARE * weights.total() else lambda line: levels.get(line.size, 0)


def _block_elements(block: Block, level_of: Callable[[Line], int]) -> Iterator[Element]:
    if block.table:
        yield Element(ElementKind.TABLE, block.table, page=block.page)
    in_margin = _stands_in_margin(block)
    for level, lines in _runs(block.lines, level_of):
        text = joined(line.text for line in lines)
        is_letterhead = in_margin and level > 1
        if level and not is_letterhead and len(text) <= MAX_HEADING_CHARS and WORD.search(text):
            yield Element(ElementKind.HEADING, text, level, block.page)
        else:
            yield from _items(lines, block.page)


def _runs(items: Sequence[_T], key: Callable[[_T], int]) -> Iterator[tuple[int, list[_T]]]:
    run: list[_T] = []
    for item in items:
        if run and key(item) != key(run[0]):
            yield key(run[0]), run
            run = []
        run.append(item)
    if run:
        yield key(run[0]), run


def _items(lines: Sequence[Line], page: int) -> Iterator[Element]:
    """A line with a bullet or number starts a list item; without any, the lines are one paragraph."""
    starts = [index for index, line in enumerate(lines) if BULLET.match(line.text)]
    for begin, end in zip([0, *starts], [*starts, len(lines)], strict=True):
        if begin < end:
            kind = ElementKind.LIST_ITEM if begin in starts else ElementKind.PARAGRAPH
            yield Element(kind, joined(line.text for line in lines[begin:end]), page=page)


def joined(lines: Iterable[str]) -> str:
    """Printed lines as one. A divided word is closed up, `UN-` + `Nummer` keeps its hyphen, `Ein-` + `und` a space."""
    text = ""
    for line in (DOT_LEADER.sub(" … ", " ".join(line.split())) for line in lines):
        if not HYPHEN_AT_END.search(text) or JOINED_BY_HYPHEN.match(line):
            text = f"{text} {line}" if text else line
        else:
            text = (text[:-1] if line[:1].islower() else text) + line
    return text


def merged_lines(blocks: Sequence[Block]) -> list[Block]:
    """Blocks in reading order; one that continues the one above is joined to it."""
    merged: list[Block] = []
    for block in blocks:
        if merged and _continues(merged[-1], block):
            above = merged[-1]
            merged[-1] = replace(above, lines=above.lines + block.lines, box=around((above.box, block.box)))
        else:
            merged.append(block)
    return merged


def _continues(above: Block, below: Block) -> bool:
    """In the same type: close below at the same edge, or in mid-sentence, as at the turn of a column."""
    if not above.lines or not below.lines or _stands_in_margin(above) or _stands_in_margin(below):
        return False
    last, first = above.lines[-1], below.lines[0]
    if (last.size, last.bold) != (first.size, first.bold):
        return False
    gap = first.box.top - last.box.bottom
    close = abs(last.box.left - first.box.left) < first.size and -0.5 * first.size < gap < 0.45 * first.size
    return close or (first.text.lstrip()[:1].islower() and last.text.rstrip()[-1].isalpha())
