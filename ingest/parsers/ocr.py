"""Characters recognised in the image of a page: which way up it is, and how much of a document is recognised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from statistics import median
from time import monotonic
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ingest.parsers.layout import Block, Line, Rect, Sheet, in_reading_order, merged_lines
from ingest.parsers.options import OCR_ENGINES, ReadingOptions
from rag.errors import DocumentRefused, RefusalReason

Pixels = NDArray[np.uint8]
"""`uint8[height, width, 3]`, red, green, blue."""

OCR_DPI = 200  # at which pages are shown to the engine
MAX_OCR_SIDE_PX = 4_000
MIN_CONFIDENCE = 0.5  # below it is a guess at a line of noise
READABLE = 0.8  # mean confidence of a page that is the right way up
UPRIGHT_RATIO = 1.5  # a line that is so much higher than wide runs up or down
MIN_VERTICAL_CHARS = 4
TURNED_SHARE = 0.5
HEADING_RATIO = 1.4  # of the median height; less is the scatter of boxes around capitals and descenders
TYPE_TO_LINE = 0.75  # size of the type by the height of its line


@dataclass(frozen=True, slots=True)
class RecognisedLine:
    """`box` in pixels of the image, `confidence` from 0 to 1."""

    text: str
    box: Rect
    confidence: float


class Engine(Protocol):
    """Recognises lines of text in an image; loads its models at its first use and none from the network."""

    def lines(self, image: Pixels) -> list[RecognisedLine]:
        """Lines in no particular order.

        Raises:
            DocumentRefused: the engine is not installed completely.
        """


class Recognition:
    """Recognition within the budget of one document."""

    def __init__(self, options: ReadingOptions) -> None:
        self._options = options
        self._until = monotonic() + options.ocr_s
        self.pages = 0
        self.skipped: list[int] = []

    @property
    def is_on(self) -> bool:
        return bool(OCR_ENGINES[self._options.ocr])

    def may_read(self, page: int) -> bool:
        """Whether the budget allows one more page; remembers it otherwise."""
        if self.is_on and self.pages < self._options.ocr_pages and monotonic() < self._until:
            return True
        self.skipped.append(page)
        return False

    def blocks(self, image: Pixels, sheet: Sheet) -> list[Block]:
        """What is printed on the page of which `image` shows the whole, in reading order."""
        self.pages += 1
        turns, found = upright(image, _engine(self._options.ocr))
        if not found:
            return []
        width, height = (sheet.height, sheet.width) if turns % 2 else (sheet.width, sheet.height)
        turned = Sheet(sheet.number, width, height)
        scale = width / (image.shape[0] if turns % 2 else image.shape[1])
        usual = median(each.box.height for each in found)
        ordered = merged_lines(in_reading_order([_block(each, usual, scale, turned) for each in found]))
        return [_turned_back(block, turns, sheet) for block in ordered]

    def notice(self) -> str:
        """What was left out, for the operator; empty where nothing was."""
        if not self.skipped:
            return ""
        if not self.is_on:
            return f"{_pages(self.skipped)} without a text layer not read: character recognition is off"
        return (
            f"{_pages(self.skipped)} not read: the budget for character recognition was used up "
            f"after {self.pages} pages ({self._options.ocr_pages} pages, {self._options.ocr_s:g} s)"
        )

    def refusal(self, pages: int) -> DocumentRefused:
        """For a document of `pages` pages in which there is no text otherwise."""
        if self.skipped:
            return DocumentRefused(RefusalReason.NO_TEXT, self.notice())
        detail = f"no characters were recognised on {self.pages} of {pages} pages; the others are empty"
        return DocumentRefused(RefusalReason.NO_TEXT, detail if self.pages else "its pages are empty")


def _pages(numbers: Sequence[int]) -> str:
    return f"page {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} pages from page {numbers[0]} on"


@lru_cache(maxsize=1)
def _engine(name: str) -> Engine:
    return cast(Engine, import_module(OCR_ENGINES[name]).Engine())


def upright(image: Pixels, engine: Engine) -> tuple[int, list[RecognisedLine]]:
    """How often the image is to be turned by a quarter counter-clockwise for most of it to be readable, and its lines.

    Boxes are those in the turned image.
    """
    found = _telling(engine.lines(image))
    if not found or (_confidence(found) >= READABLE and not _runs_up_or_down(found)):
        return 0, found
    attempts = [(0, found)]
    for turns in (1, 3) if _runs_up_or_down(found) else (2,):
        turned = _telling(engine.lines(np.ascontiguousarray(np.rot90(image, turns))))
        attempts.append((turns, turned))
        if turned and _confidence(turned) >= READABLE and not _runs_up_or_down(turned):
            break
    return max(attempts, key=lambda attempt: _readable_chars(attempt[1]))


def _telling(lines: Sequence[RecognisedLine]) -> list[RecognisedLine]:
    return [line for line in lines if line.confidence >= MIN_CONFIDENCE and line.text.strip()]


def _confidence(lines: Sequence[RecognisedLine]) -> float:
    chars = sum(len(line.text) for line in lines)
    return sum(line.confidence * len(line.text) for line in lines) / chars if chars else 0.0


def _readable_chars(lines: Sequence[RecognisedLine]) -> float:
    """Characters that are believed in, on lines that run across."""
    return sum(len(line.text) * line.confidence**4 for line in lines if not _is_vertical(line))


def _is_vertical(line: RecognisedLine) -> bool:
    return len(line.text) >= MIN_VERTICAL_CHARS and line.box.height > UPRIGHT_RATIO * line.box.width


def _runs_up_or_down(lines: Sequence[RecognisedLine]) -> bool:
    chars = sum(len(line.text) for line in lines)
    return sum(len(line.text) for line in lines if _is_vertical(line)) > TURNED_SHARE * chars


def _turned_back(block: Block, turns: int, sheet: Sheet) -> Block:
    """A block of the turned page where it stands on the page as it is."""
    lines = tuple(line._replace(box=_place(line.box, turns, sheet)) for line in block.lines)
    return Block(lines, _place(block.box, turns, sheet), sheet)


def _place(box: Rect, turns: int, sheet: Sheet) -> Rect:
    left, top, right, bottom = box
    match turns:
        case 1:
            return Rect(sheet.width - bottom, left, sheet.width - top, right)
        case 2:
            return Rect(sheet.width - right, sheet.height - bottom, sheet.width - left, sheet.height - top)
        case 3:
            return Rect(top, sheet.height - right, bottom, sheet.height - left)
        case _:
            return box


def _block(line: RecognisedLine, usual: float, scale: float, sheet: Sheet) -> Block:
    height = line.box.height if line.box.height >= HEADING_RATIO * usual else usual
    size = round(2 * TYPE_TO_LINE * scale * height) / 2
    box = Rect(*(value * scale for value in line.box))
    return Block((Line(line.text, box, size, False, line.confidence),), box, sheet)
