"""PDF through PDFium, for those who cannot use PyMuPDF under its licence; its only importer.

Finds the same as `ingest.parsers.pdf`; PDFium gives characters in the order of the file, so words and lines are put
together here.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import hypot
from typing import NamedTuple

import numpy as np
import pypdfium2 as pdfium  # type: ignore[import-untyped]
from pypdfium2 import raw

from ingest.extraction import ElementKind, Extraction
from ingest.parsers.attachments import MAX_ATTACHMENTS, Attachments
from ingest.parsers.kinds import FileKind
from ingest.parsers.layout import Block, Line, Rect, Sheet, around
from ingest.parsers.ocr import Pixels
from ingest.parsers.options import ReadingOptions
from ingest.parsers.paged import PageContent, extraction, field_text, pdf_time
from ingest.parsers.properties import Properties
from ingest.parsers.ruled import Word
from rag.errors import DocumentRefused, RefusalReason

MOST_SHAPES = 4_000
MAX_LISTED = 10_000  # embedded files; more are not looked at
MAX_FIELDS = 5_000
MAX_FORM_DEPTH = 5
MAX_FIELD_BYTES = 1_000_000
BOLD_WEIGHT = 600
BOLD_NAMES = ("bold", "black", "heavy", "semibold")
SEPARATE_GAP = 2.0  # in the size of the type: what is further away on the same line is another column or cell
STRAIGHT_PT = 0.5
MAX_FONT_NAME = 256
LINE_ENDS = frozenset((0x0A, 0x0D))
BLANKS = frozenset((0x20, 0x09, 0xA0, *LINE_ENDS))
HYPHEN = 0x02
UNMAPPED = frozenset((0, 0xFFFE, 0xFFFF))
CLICKED = {raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON}
SILENT = {raw.FPDF_FORMFIELD_PUSHBUTTON, raw.FPDF_FORMFIELD_SIGNATURE}


class PdfParser:
    def __init__(self, options: ReadingOptions = ReadingOptions()) -> None:  # noqa: B008  frozen
        self._options = options

    def parse(self, data: bytes, name: str) -> Extraction:
        """See `ingest.parsers.pdf.PdfParser`.

        Raises:
            DocumentRefused: encrypted, damaged, or without any text.
        """
        with _opened(data) as document:
            return extraction(Pages(document), self._options, FileKind.PDF)


def page_pixels(data: bytes, number: int, width: int, max_pixels: int) -> Pixels:
    """See `ingest.parsers.pdf.page_pixels`."""
    with _opened(data) as document:
        if not 1 <= number <= len(document):
            raise DocumentRefused(RefusalReason.NO_TEXT, f"it has {len(document)} pages")
        return Pages(document).pixels(number, width, max_pixels)


@contextmanager
def _opened(data: bytes) -> Iterator[pdfium.PdfDocument]:
    document = None
    try:
        document = pdfium.PdfDocument(data)
        if not len(document):
            raise DocumentRefused(RefusalReason.DAMAGED, "the PDF has no pages")
        yield document
    except pdfium.PdfiumError as error:
        if error.err_code == raw.FPDF_ERR_PASSWORD:
            raise DocumentRefused(RefusalReason.ENCRYPTED, "the PDF asks for a password") from error
        raise DocumentRefused(RefusalReason.DAMAGED, "the PDF's structure cannot be read") from error
    finally:
        if document is not None:
            document.close()


class Pages:
    """The pages of an open document; see `ingest.parsers.paged.PagedDocument`."""

    def __init__(self, document: pdfium.PdfDocument) -> None:
        self._document = document
        self._pinned: list[tuple[str, bytes]] = []
        self._forms = document.get_formtype() != raw.FORMTYPE_NONE and document.init_forms()

    @property
    def page_count(self) -> int:
        return len(self._document)

    def content(self, number: int) -> PageContent:
        page = self._document[number - 1]
        try:
            return self._content(page, number)
        finally:
            page.close()

    def _content(self, page: pdfium.PdfPage, number: int) -> PageContent:
        view = _View(page)
        sheet = Sheet(number, max(page.get_width(), 1.0), max(page.get_height(), 1.0))
        runs = list(_runs(page, view))
        rules, pictures, shapes = _drawn(page, view)
        words = [word for index, run in enumerate(runs) for word in _run_words(run, index)]
        return PageContent(
            sheet=sheet,
            blocks=[Block((line,), line.box, sheet) for run in runs for line in _lines(run)],
            drawn=rules,
            shapes=shapes,
            pictures=lambda: pictures,
            words=lambda: words,
            extras=list(self._notes(page, view, sheet)),
        )

    def _notes(self, page: pdfium.PdfPage, view: _View, sheet: Sheet) -> Iterator[Block]:
        """Form fields with their names, and what annotations say."""
        for index in range(min(raw.FPDFPage_GetAnnotCount(page), MAX_FIELDS)):
            note = raw.FPDFPage_GetAnnot(page, index)
            try:
                if raw.FPDFAnnot_GetFileAttachment(note) and len(self._pinned) <= MAX_ATTACHMENTS:
                    pinned = pdfium.PdfAttachment(raw.FPDFAnnot_GetFileAttachment(note), self._document)
                    self._pinned.append((pinned.get_name(), bytes(pinned.get_data())))
                is_field = raw.FPDFAnnot_GetSubtype(note) == raw.FPDF_ANNOT_WIDGET
                text = self._field(note) if is_field else _string(raw.FPDFAnnot_GetStringValue, note, b"Contents")
                kind = ElementKind.PARAGRAPH if is_field else ElementKind.OTHER
                place = raw.FS_RECTF()
                if text.strip() and raw.FPDFAnnot_GetRect(note, place):
                    (left, right), (low, high) = sorted((place.left, place.right)), sorted((place.bottom, place.top))
                    yield Block((), view.shown(left, low, right, high), sheet, text.strip(), kind)
            finally:
                raw.FPDFPage_CloseAnnot(note)

    def _field(self, note: object) -> str:
        if not self._forms:
            return ""
        form = self._document.formenv
        kind = raw.FPDFAnnot_GetFormFieldType(form, note)
        value = _string(raw.FPDFAnnot_GetFormFieldValue, form, note)
        if kind in CLICKED:
            value = "☒" if raw.FPDFAnnot_IsChecked(form, note) else ""
        label = _string(raw.FPDFAnnot_GetFormFieldAlternateName, form, note)
        return "" if kind in SILENT else field_text(label or _string(raw.FPDFAnnot_GetFormFieldName, form, note), value)

    def pixels(self, number: int, width: int, max_pixels: int = 25_000_000) -> Pixels:
        page = self._document[number - 1]
        try:
            size = max(page.get_width(), 1.0), max(page.get_height(), 1.0)
            scale = width / size[0]
            scale *= min(1.0, (max_pixels / max(size[0] * size[1] * scale**2, 1.0)) ** 0.5)
            image = page.render(scale=scale, rev_byteorder=True, prefer_bgrx=False).to_numpy()
            colours = image[:, :, None] if image.ndim == 2 else image[:, :, :3]
            return np.ascontiguousarray(np.broadcast_to(colours, (*image.shape[:2], 3)), np.uint8)
        finally:
            page.close()

    def properties(self) -> Properties:
        about = self._document.get_metadata_dict()
        return Properties(
            title=about.get("Title", ""),
            author=about.get("Author", ""),
            created_at=pdf_time(about.get("CreationDate")),
            modified_at=pdf_time(about.get("ModDate")),
        )

    def attachments(self) -> Attachments:
        found = Attachments()
        for index in range(min(self._document.count_attachments(), MAX_LISTED)):
            each = self._document.get_attachment(index)
            found.take(each.get_name(), partial(_content, each))
        for name, data in self._pinned:
            found.add(name, data)
        return found


def _content(attachment: pdfium.PdfAttachment) -> bytes:
    return bytes(attachment.get_data())


class _View:
    """From the page's own coordinates to those of the page as it is displayed."""

    def __init__(self, page: pdfium.PdfPage) -> None:
        self._left, self._bottom, self._right, self._top = page.get_bbox()
        self._turned = page.get_rotation()

    def shown(self, left: float, bottom: float, right: float, top: float) -> Rect:
        match self._turned:
            case 90:
                return Rect(bottom - self._bottom, left - self._left, top - self._bottom, right - self._left)
            case 180:
                return Rect(self._right - right, bottom - self._bottom, self._right - left, top - self._bottom)
            case 270:
                return Rect(self._top - top, self._right - right, self._top - bottom, self._right - left)
            case _:
                return Rect(left - self._left, self._top - top, right - self._left, self._top - bottom)


class _Word(NamedTuple):
    text: str
    box: Rect
    size: float
    bold: bool


def _runs(page: pdfium.PdfPage, view: _View) -> Iterator[list[_Word]]:
    """Words as they follow one another until PDFium sees a new line."""
    text = page.get_textpage()
    try:
        run: list[_Word] = []
        start = 0
        count = text.count_chars()
        codes = [raw.FPDFText_GetUnicode(text, index) for index in range(count)]
        for index, code in enumerate([*codes, 0x0A]):
            if code not in BLANKS:
                continue
            if index > start and (word := _word(text, view, codes, range(start, index))):
                run.append(word)
            start = index + 1
            if code in LINE_ENDS and run:
                yield run
                run = []
    finally:
        text.close()


def _word(text: pdfium.PdfTextPage, view: _View, codes: Sequence[int], place: range) -> _Word | None:
    boxes = []
    box = raw.FS_RECTF()
    for index in place:
        if raw.FPDFText_GetLooseCharBox(text, index, box) and (box.left, box.bottom) != (box.right, box.top):
            boxes.append(view.shown(box.left, box.bottom, box.right, box.top))
    if not boxes:
        return None
    shown = "".join(_character(codes[index]) for index in place)
    matrix = raw.FS_MATRIX()
    raw.FPDFText_GetMatrix(text, place[0], matrix)
    size = raw.FPDFText_GetFontSize(text, place[0]) * (hypot(matrix.c, matrix.d) or 1.0)
    return _Word(shown, around(boxes), round(2 * size) / 2, _is_bold(text, place[0]))


def _character(code: int) -> str:
    """PDFium marks a hyphen at the end of a line with U+0002 and characters it cannot map with U+FFFE or zero."""
    if code == HYPHEN:
        return "-"
    return "\ufffd" if code in UNMAPPED or 0xD800 <= code < 0xE000 or code > 0x10FFFF else chr(code)


def _is_bold(text: pdfium.PdfTextPage, index: int) -> bool:
    if raw.FPDFText_GetFontWeight(text, index) >= BOLD_WEIGHT:
        return True
    name = ctypes.create_string_buffer(MAX_FONT_NAME)
    length = raw.FPDFText_GetFontInfo(text, index, name, MAX_FONT_NAME, ctypes.c_int())
    return 0 < length <= MAX_FONT_NAME and any(
        each in name.value.decode(errors="replace").lower() for each in BOLD_NAMES
    )


def _lines(run: Sequence[_Word]) -> Iterator[Line]:
    """The run cut where something else begins on the same line, and where the type changes below it."""
    line: list[_Word] = []
    for word in run:
        if line and not _follows(line[-1], word):
            yield _line(line)
            line = []
        line.append(word)
    yield _line(line)


def _follows(one: _Word, other: _Word) -> bool:
    middle = (other.box.top + other.box.bottom) / 2
    size = max(one.size, other.size, 1.0)
    gaps = other.box.left - one.box.right, one.box.left - other.box.right  # as Latin and as Arabic script runs
    return one.box.top <= middle <= one.box.bottom and any(-size < gap < SEPARATE_GAP * size for gap in gaps)


def _line(words: Sequence[_Word]) -> Line:
    sizes: Counter[float] = Counter()
    for word in words:
        sizes[word.size] += len(word.text)
    size = max(sizes, key=lambda each: sizes[each])
    return Line(" ".join(w.text for w in words), around(w.box for w in words), size, all(w.bold for w in words))


def _run_words(run: Sequence[_Word], index: int) -> Iterator[Word]:
    for word in run:
        yield Word(word.text, word.box, (index, round(word.box.top)))


def _drawn(page: pdfium.PdfPage, view: _View) -> tuple[list[Rect], list[Rect], int]:
    """Straight rules, places of images, and the number of drawn shapes."""
    rules: list[Rect] = []
    pictures: list[Rect] = []
    shapes = 0
    for each in page.get_objects(filter=(raw.FPDF_PAGEOBJ_PATH, raw.FPDF_PAGEOBJ_IMAGE), max_depth=MAX_FORM_DEPTH):
        if each.type == raw.FPDF_PAGEOBJ_IMAGE:
            pictures.append(view.shown(*each.get_bounds()))
            continue
        shapes += 1
        if shapes >= MOST_SHAPES:
            return [], pictures, shapes
        rules += [view.shown(*rule) for rule in _straight(each)]
    return rules, pictures, shapes


def _straight(path: pdfium.PdfObject) -> list[tuple[float, float, float, float]]:
    """Segments that run across or down; none of a path with curves."""
    matrix = path.get_matrix()
    rules: list[tuple[float, float, float, float]] = []
    before = first = (0.0, 0.0)
    x, y = ctypes.c_float(), ctypes.c_float()
    for index in range(min(raw.FPDFPath_CountSegments(path), MOST_SHAPES)):
        segment = raw.FPDFPath_GetPathSegment(path, index)
        kind = raw.FPDFPathSegment_GetType(segment)
        raw.FPDFPathSegment_GetPoint(segment, x, y)
        point = matrix.on_point(x.value, y.value)
        if kind == raw.FPDF_SEGMENT_BEZIERTO:
            return []
        if kind == raw.FPDF_SEGMENT_MOVETO:
            first = point
        else:
            rules += _rule(before, point)
        if raw.FPDFPathSegment_GetClose(segment):
            rules += _rule(point, first)
        before = point
    return rules


def _rule(one: tuple[float, float], other: tuple[float, float]) -> list[tuple[float, float, float, float]]:
    (left, right), (bottom, top) = sorted((one[0], other[0])), sorted((one[1], other[1]))
    return [(left, bottom, right, top)] if min(right - left, top - bottom) <= STRAIGHT_PT else []


def _string(ask: Callable[..., int], *what: object) -> str:
    """A string that PDFium writes as UTF-16 into a buffer of the length that it says."""
    length = ask(*what, None, 0)
    if not 2 < length <= MAX_FIELD_BYTES:
        return ""
    buffer = ctypes.create_string_buffer(length)
    ask(*what, ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), length)
    return buffer.raw[: length - 2].decode("utf-16-le", errors="replace")
