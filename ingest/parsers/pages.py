"""Images of pages, drawn in the parser process."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from ingest.parsers.detection import detect
from ingest.parsers.image import frame_pixels, png
from ingest.parsers.kinds import IMAGES, FileKind
from ingest.parsers.options import PDF_READERS, ReadingOptions
from rag.documents import Box
from rag.errors import DocumentRefused, RefusalReason

WIDTHS_PX = range(50, 3_001)
MAX_PIXELS = 12_000_000


def render(
    data: bytes,
    page: int,
    width: int,
    marked: Sequence[Box] = (),
    options: ReadingOptions = ReadingOptions(),  # noqa: B008  frozen
) -> bytes:
    """Page `page`, from 1, of a PDF or an image as PNG, `width` pixels wide, with the `marked` places highlighted.

    Raises:
        DocumentRefused: its kind has no pages, it has no such page, or it cannot be read.
    """
    width = min(max(width, WIDTHS_PX[0]), WIDTHS_PX[-1])
    kind = detect(data, "")
    if kind is FileKind.PDF:
        return png(import_module(PDF_READERS[options.pdf_reader]).page_pixels(data, page, width, MAX_PIXELS), marked)
    if kind in IMAGES:
        return png(frame_pixels(data, page, width, MAX_PIXELS), marked)
    raise DocumentRefused(RefusalReason.UNSUPPORTED, "it has no pages that can be drawn")
