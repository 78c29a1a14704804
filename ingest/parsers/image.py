"""Images through Pillow: what recognition reads in them, and images of pages as PNG; Pillow's only importer.

Nothing is decoded before its size is known: a file of a few hundred bytes can declare a picture of gigabytes (IN-13).
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ingest.extraction import Extraction
from ingest.parsers.attachments import Attachments
from ingest.parsers.kinds import FileKind
from ingest.parsers.layout import Rect, Sheet
from ingest.parsers.ocr import MAX_OCR_SIDE_PX, Pixels
from ingest.parsers.options import ReadingOptions
from ingest.parsers.paged import PageContent, extraction, pdf_time
from ingest.parsers.properties import Properties
from rag.documents import Box
from rag.errors import DocumentRefused, RefusalReason

FORMATS = {
    "PNG": FileKind.PNG,
    "JPEG": FileKind.JPEG,
    "MPO": FileKind.JPEG,
    "TIFF": FileKind.TIFF,
    "GIF": FileKind.GIF,
    "WEBP": FileKind.WEBP,
    "BMP": FileKind.BMP,
}
"""Pillow's names. It may try nothing else: for PostScript it would start Ghostscript."""
TRIED = [name for name in FORMATS if name != "MPO"]  # a JPEG of several pictures is opened as a JPEG
OTHER_SUFFIXES = frozenset(
    (".pdf", ".doc", ".docx", ".ppt", ".pptx", ".xls", ".xlsx", ".odt", ".ods", ".odp", ".rtf", ".eml", ".msg", ".html")
)
"""Names under which nobody looks for an image: something went wrong, or is meant to (IN-12)."""
MAX_PIXELS = 80_000_000  # A3 at 600 dots an inch
MAX_PAGES = 500  # of a TIFF; other formats animate, and their first picture stands for all
PAGE_SIDE_PT = 842.0  # what the longer side counts as: the distances between lines are measured in points
HIGHLIGHT = (255, 213, 0)
HIGHLIGHT_SHARE = 0.35

Image.MAX_IMAGE_PIXELS = MAX_PIXELS


class ImageParser:
    def __init__(self, options: ReadingOptions = ReadingOptions()) -> None:  # noqa: B008  frozen
        self._options = options

    def parse(self, data: bytes, name: str) -> Extraction:
        """The text that is recognised in it; of a TIFF with several pages page by page.

        Raises:
            DocumentRefused: named as another kind of document, too many pixels, damaged, or no text in it.
        """
        if PurePath(name).suffix.lower() in OTHER_SUFFIXES:
            raise DocumentRefused(RefusalReason.UNSUPPORTED, "its content is an image, its name says something else")
        with _opened(data) as image:
            return extraction(_Frames(image), self._options, FORMATS[image.format or ""])


def frame_pixels(data: bytes, number: int, width: int, max_pixels: int) -> Pixels:
    """Picture `number`, from 1, the right way up, `width` pixels wide or as wide as `max_pixels` in all allow.

    Raises:
        DocumentRefused: there is no such picture, or it cannot be read.
    """
    with _opened(data) as image:
        frames = _Frames(image)
        if not 1 <= number <= frames.page_count:
            raise DocumentRefused(RefusalReason.NO_TEXT, f"it has {frames.page_count} pages")
        frames.content(number)
        return frames.pixels(number, width, max_pixels)


def png(pixels: Pixels, marked: Sequence[Box] = ()) -> bytes:
    """A PNG of the page with the places highlighted as with a marker: dark print stays dark."""
    shown = pixels.copy()
    height, width = shown.shape[:2]
    for box in marked:
        rows, columns = _range(box.top, box.bottom, height), _range(box.left, box.right, width)
        place = shown[rows, columns]
        tinted = place.astype(np.uint16) * np.array(HIGHLIGHT, np.uint16) // 255
        shown[rows, columns] = np.minimum(place, tinted + (1 - HIGHLIGHT_SHARE) * (place - tinted)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(shown).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def _range(start: float, end: float, length: int) -> slice:
    return slice(max(0, int(start * length)), min(length, int(end * length) + 1))


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(data), formats=TRIED) as image:
            _refuse_large(image)
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DocumentRefused(RefusalReason.TOO_LARGE, f"a picture of more than {MAX_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise DocumentRefused(RefusalReason.DAMAGED, "the picture cannot be opened") from error
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, KeyError) as error:  # Pillow's decoders
        raise DocumentRefused(
            RefusalReason.DAMAGED, f"the picture cannot be decoded: {type(error).__name__}"
        ) from error


def _refuse_large(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        detail = f"a picture of {image.width:,} × {image.height:,} pixels; {MAX_PIXELS:,} are allowed"
        raise DocumentRefused(RefusalReason.TOO_LARGE, detail)


class _Frames:
    """Pages of a TIFF, or the one picture of another format; see `ingest.parsers.paged.PagedDocument`."""

    def __init__(self, image: Image.Image) -> None:
        self._image = image
        self.page_count = self._count() if image.format == "TIFF" else 1

    def _count(self) -> int:
        """Found by going from page to page: asking how many there are would go through all, however many."""
        for count in range(1, MAX_PAGES):
            try:
                self._image.seek(count)
            except EOFError:
                return count
        return MAX_PAGES

    def content(self, number: int) -> PageContent:
        self._image.seek(number - 1)
        _refuse_large(self._image)
        width, height = self._image.size
        if self._image.getexif().get(ExifTags.Base.Orientation, 1) >= 5:  # 5 to 8 lie on their side
            width, height = height, width
        scale = PAGE_SIDE_PT / max(width, height)
        sheet = Sheet(number, width * scale, height * scale)
        return PageContent(sheet, (), (), 0, lambda: [Rect(0, 0, sheet.width, sheet.height)], tuple)

    def pixels(self, number: int, width: int, max_pixels: int = MAX_PIXELS) -> Pixels:
        """Never wider than it is, and small enough for recognition."""
        self._image.seek(number - 1)
        self._image.draft("RGB", (MAX_OCR_SIDE_PX, MAX_OCR_SIDE_PX))  # a JPEG is decoded at a fraction of its size
        image = ImageOps.exif_transpose(_on_white(self._image))
        scale = min(width / image.width, math.sqrt(max_pixels / (image.width * image.height)))
        if scale < 1:
            across = max(round(image.width * scale), 1)
            image = image.resize((across, max(min(round(image.height * scale), max_pixels // across), 1)))
        return np.asarray(image, np.uint8)

    def properties(self) -> Properties:
        about = self._image.getexif()
        taken = str(about.get(ExifTags.Base.DateTime, "")).replace(":", "").replace(" ", "")
        return Properties(author=str(about.get(ExifTags.Base.Artist, "")), created_at=pdf_time(taken))

    def attachments(self) -> Attachments:
        return Attachments()


def _on_white(image: Image.Image) -> Image.Image:
    """In red, green and blue; what is transparent is white, as paper is, and 16 bits are 8."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float32)
        top = max(float(values.max(initial=0.0)), 1.0)
        return Image.fromarray((values.clip(0) * (255 / top)).astype(np.uint8)).convert("RGB")
    if "A" in image.mode or "transparency" in image.info:
        shown = image.convert("RGBA")
        paper = Image.new("RGBA", shown.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, shown).convert("RGB")
    return image.convert("RGB")
