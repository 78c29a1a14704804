"""PDF through PyMuPDF; its only importer, so that another reader can take its place (PyMuPDF is AGPL or commercial).

Scanned pages carry no text: reading them needs OCR, which a later release brings.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pymupdf

from ingest.extraction import Extraction
from ingest.parsers.detection import FileKind
from ingest.parsers.layout import (
    Block,
    Box,
    Line,
    around,
    elements,
    in_reading_order,
    joined,
    merged_lines,
    without_running_heads,
)
from ingest.parsers.tables import table_text
from rag.errors import DocumentRefused, RefusalReason

TEXT_FLAGS = pymupdf.TEXT_PRESERVE_WHITESPACE | pymupdf.TEXT_MEDIABOX_CLIP | pymupdf.TEXT_CID_FOR_UNKNOWN_UNICODE
BOLD = 1 << 4
MOST_DRAWINGS = 3_000  # maps and plans have more; looking for tables among them takes seconds
MIN_RULE_PT = 15.0
MAX_TABLE_PAGES = 300  # the finder takes about 0.1 s a page
MAX_UNMAPPED_SHARE = 0.3

pymupdf.no_recommend_layout()
pymupdf.TOOLS.mupdf_display_errors(False)
pymupdf.TOOLS.mupdf_display_warnings(False)


@dataclass(frozen=True, slots=True)
class Word:
    """A printed word; `line` is the same for all words of one line."""

    text: str
    box: Box
    line: tuple[int, int]


class PdfParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """Text in reading order with page numbers; headings by type size; ruled tables row by row.

        Raises:
            DocumentRefused: encrypted, damaged, or without a text layer.
        """
        try:
            with pymupdf.open(stream=data, filetype="pdf") as document:
                return _extraction(document)
        except pymupdf.FileDataError as error:
            raise DocumentRefused(RefusalReason.DAMAGED, "the PDF's structure cannot be read") from error
        except (RuntimeError, pymupdf.mupdf.FzErrorBase) as error:
            raise _refusal(error) from error


def _refusal(error: Exception) -> DocumentRefused:
    if "malloc" in str(error) or "alloc" in str(error):
        return DocumentRefused(RefusalReason.MEMORY_LIMIT, "reading it takes more memory than is allowed")
    return DocumentRefused(RefusalReason.DAMAGED, f"a page cannot be read: {type(error).__name__}")


def _extraction(document: pymupdf.Document) -> Extraction:
    if document.needs_pass:
        raise DocumentRefused(RefusalReason.ENCRYPTED, "the PDF asks for a password")
    blocks: list[Block] = []
    for number in range(document.page_count):
        blocks += merged_lines(in_reading_order(_blocks(document.load_page(number))))
    _refuse_unreadable("".join(block.text for block in blocks))
    kept = without_running_heads(blocks, document.page_count)
    return Extraction((document.metadata or {}).get("title") or "", elements(kept), FileKind.PDF)


def _refuse_unreadable(text: str) -> None:
    printed = "".join(text.split())
    if not printed:
        raise DocumentRefused(
            RefusalReason.NO_TEXT, "no text layer; reading scans needs OCR, which a later release brings"
        )
    if printed.count("\ufffd") > MAX_UNMAPPED_SHARE * len(printed):
        raise DocumentRefused(RefusalReason.NO_TEXT, "its fonts do not say which characters they show; this needs OCR")


def _blocks(page: pymupdf.Page) -> list[Block]:
    """Tables of the page, and its lines outside of them."""
    height = page.rect.height
    tables = list(_tables(page))
    blocks = [Block((), box, page.number + 1, height, text) for box, text in tables]
    for raw in page.get_text("dict", flags=TEXT_FLAGS)["blocks"]:
        lines = [line for each in raw.get("lines", ()) if (line := _line(each))]
        lines = [line for line in lines if not any(box.holds_centre_of(line.box) for box, _ in tables)]
        if lines:
            blocks.append(Block(tuple(lines), around(line.box for line in lines), page.number + 1, height))
    return blocks


def _line(raw: dict[str, Any]) -> Line | None:
    text = "".join(span["text"] for span in raw["spans"])
    if not text.strip():
        return None
    spans = [span for span in raw["spans"] if span["text"].strip()]
    sizes: Counter[float] = Counter()
    for span in spans:
        sizes[round(span["size"] * 2) / 2] += len(span["text"])
    bold = all(span["flags"] & BOLD for span in spans)
    return Line(text, Box(*raw["bbox"]), sizes.most_common(1)[0][0], bold)


def _tables(page: pymupdf.Page) -> Iterator[tuple[Box, str]]:
    """Where ruled tables stand, and their text, put into the cells here: the finder's own text lacks spaces."""
    if page.number >= MAX_TABLE_PAGES or not _has_grid(page):
        return
    words = [Word(word[4], Box(*word[:4]), word[5:7]) for word in page.get_text("words", flags=TEXT_FLAGS)]
    for table in page.find_tables(strategy="lines_strict", use_layout=False).tables:
        if table.row_count < 2 or table.col_count < 2:
            continue
        rows = [[_cell(cell, words) for cell in row.cells] for row in table.rows]
        if text := table_text(rows):
            yield Box(*table.bbox), text


def _has_grid(page: pymupdf.Page) -> bool:
    """Whether rules run across and down, as they do in a table of at least two rows and columns."""
    drawings = page.get_cdrawings()
    if len(drawings) > MOST_DRAWINGS:
        return False
    across = down = 0
    for drawing in drawings:
        left, top, right, bottom = drawing["rect"]
        across += right - left >= MIN_RULE_PT
        down += bottom - top >= MIN_RULE_PT / 2
    return across >= 3 and down >= 3


def _cell(cell: Sequence[float] | None, words: Sequence[Word]) -> str:
    """Words inside a cell; None stands for a cell that is merged into its neighbour."""
    if cell is None:
        return ""
    box = Box(*cell)
    inside = (word for word in words if box.holds_centre_of(word.box))
    return joined(" ".join(word.text for word in line) for _, line in groupby(inside, key=lambda word: word.line))
