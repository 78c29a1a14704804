"""PDF through PyMuPDF; its only importer, so that another reader can take its place (PyMuPDF is AGPL or commercial)."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pymupdf
from pymupdf import mupdf

from ingest.extraction import ElementKind, Extraction
from ingest.parsers.attachments import MAX_ATTACHMENTS, Attachments
from ingest.parsers.damage import damaged
from ingest.parsers.kinds import FileKind
from ingest.parsers.layout import Block, Line, Rect, Sheet
from ingest.parsers.ocr import Pixels
from ingest.parsers.options import ReadingOptions
from ingest.parsers.paged import PageContent, extraction, field_text, pdf_time
from ingest.parsers.properties import Properties
from ingest.parsers.ruled import MAX_RULE_PT, Word, has_grid
from rag.errors import DocumentRefused, RefusalReason

TEXT_FLAGS = (
    pymupdf.TEXT_PRESERVE_WHITESPACE
    | pymupdf.TEXT_MEDIABOX_CLIP
    | pymupdf.TEXT_CID_FOR_UNKNOWN_UNICODE
    | pymupdf.TEXT_COLLECT_VECTORS
)
BOLD = 1 << 4
MOST_SHAPES = 4_000  # of a page are looked at; maps and plans have more
MAX_NOTES = 5_000  # of a page; more are not looked at
SILENT = {mupdf.PDF_WIDGET_TYPE_BUTTON, mupdf.PDF_WIDGET_TYPE_SIGNATURE}
CLICKED = {mupdf.PDF_WIDGET_TYPE_CHECKBOX, mupdf.PDF_WIDGET_TYPE_RADIOBUTTON}

pymupdf.no_recommend_layout()
pymupdf.TOOLS.mupdf_display_errors(False)
pymupdf.TOOLS.mupdf_display_warnings(False)


class PdfParser:
    def __init__(self, options: ReadingOptions = ReadingOptions()) -> None:  # noqa: B008  frozen
        self._options = options

    def parse(self, data: bytes, name: str) -> Extraction:
        """What the PDF shows, what its forms and comments hold, and the files inside it.

        Raises:
            DocumentRefused: encrypted, damaged, or without any text.
        """
        with _opened(data) as document:
            return extraction(Pages(document), self._options, FileKind.PDF)


def page_pixels(data: bytes, number: int, width: int, max_pixels: int) -> Pixels:
    """Page `number`, from 1, as it is displayed, `width` pixels wide or as wide as `max_pixels` in all allow.

    Raises:
        DocumentRefused: there is no such page, or the document cannot be read.
    """
    with _opened(data) as document:
        if not 1 <= number <= document.page_count:
            raise DocumentRefused(RefusalReason.NO_TEXT, f"it has {document.page_count} pages")
        return Pages(document).pixels(number, width, max_pixels)


@contextmanager
def _opened(data: bytes) -> Iterator[pymupdf.Document]:
    try:
        with pymupdf.open(stream=data, filetype="pdf") as document:
            if document.needs_pass:
                raise DocumentRefused(RefusalReason.ENCRYPTED, "the PDF asks for a password")
            if not document.page_count:
                raise DocumentRefused(RefusalReason.DAMAGED, "the PDF has no pages")
            yield document
    except pymupdf.FileDataError as error:
        raise DocumentRefused(RefusalReason.DAMAGED, "the PDF's structure cannot be read") from error
    except (RuntimeError, pymupdf.mupdf.FzErrorBase) as error:
        raise _refusal(error) from error


def _refusal(error: Exception) -> DocumentRefused:
    if "malloc" in str(error) or "alloc" in str(error):
        return DocumentRefused(RefusalReason.MEMORY_LIMIT, "reading it takes more memory than is allowed")
    return DocumentRefused(RefusalReason.DAMAGED, f"a page cannot be read: {type(error).__name__}")


class Pages:
    """The pages of an open document; see `ingest.parsers.paged.PagedDocument`."""

    def __init__(self, document: pymupdf.Document) -> None:
        self._document = document
        self._options = mupdf.FzStextOptions()
        self._options.flags = TEXT_FLAGS
        self._pinned: list[mupdf.PdfObj] = []

    @property
    def page_count(self) -> int:
        return int(self._document.page_count)

    def content(self, number: int) -> PageContent:
        page = self._document.load_page(number - 1)
        bound = page.rect
        sheet = Sheet(number, max(bound.width, 1.0), max(bound.height, 1.0))
        read = self._read(page)
        shapes = _shapes(read)
        return PageContent(
            sheet=sheet,
            blocks=_blocks(read.extractDICT()["blocks"], sheet),
            drawn=_drawn(page, shapes),
            shapes=len(shapes),
            pictures=partial(_pictures, page),
            words=partial(_words, read),
            extras=list(self._notes(page, sheet)),
        )

    def _read(self, page: pymupdf.Page) -> pymupdf.TextPage:
        """Text and rules in one pass over the page, which asking for drawings would double."""
        found = mupdf.FzStextPage(mupdf.FzRect(*page.rect))
        device = mupdf.fz_new_stext_device(found, self._options)
        mupdf.fz_run_page_contents(page.this, device, mupdf.FzMatrix(), mupdf.FzCookie())
        mupdf.fz_close_device(device)
        return pymupdf.TextPage(found)

    def _notes(self, page: pymupdf.Page, sheet: Sheet) -> Iterator[Block]:
        """What annotations say (their marks on the page say nothing that could be searched), and form fields."""
        inside = mupdf.pdf_page_from_fz_page(page.this)
        for note in _chain(mupdf.pdf_first_annot(inside), mupdf.pdf_next_annot):
            self._keep_pinned(note)
            if text := mupdf.pdf_annot_contents(note).strip():
                yield Block((), _bound(note), sheet, text, ElementKind.OTHER)
        for widget in _chain(mupdf.pdf_first_widget(inside), mupdf.pdf_next_widget):
            if text := _field(widget):
                yield Block((), _bound(widget), sheet, text)

    def _keep_pinned(self, note: mupdf.PdfAnnot) -> None:
        if mupdf.pdf_annot_has_filespec(note) and len(self._pinned) <= MAX_ATTACHMENTS:
            self._pinned.append(mupdf.pdf_annot_filespec(note))

    def pixels(self, number: int, width: int, max_pixels: int = 25_000_000) -> Pixels:
        page = self._document.load_page(number - 1)
        bound = page.rect
        zoom = width / max(bound.width, 1.0)
        zoom *= min(1.0, (max_pixels / max(bound.width * bound.height * zoom**2, 1.0)) ** 0.5)
        image = page.get_pixmap(matrix=pymupdf.Matrix(zoom, zoom), colorspace=pymupdf.csRGB, alpha=False)
        return np.frombuffer(image.samples, np.uint8).reshape(image.height, image.width, 3)

    def properties(self) -> Properties:
        about = self._document.metadata or {}
        return Properties(
            title=about.get("title") or "",
            author=about.get("author") or "",
            created_at=pdf_time(about.get("creationDate")),
            modified_at=pdf_time(about.get("modDate")),
        )

    def attachments(self) -> Attachments:
        """Files embedded in the document, those of a portfolio among them, then those pinned to its pages."""
        found = Attachments()
        tree = mupdf.pdf_load_name_tree(mupdf.pdf_specifics(self._document.this), mupdf.pdf_new_name("EmbeddedFiles"))
        embedded = (mupdf.pdf_dict_get_val(tree, index) for index in range(mupdf.pdf_dict_len(tree)))
        for each in (*embedded, *self._pinned):
            if mupdf.pdf_is_embedded_file(each):
                found.take(_file_name(each), partial(_content, each))
        return found


def _content(specification: mupdf.PdfObj) -> bytes:
    """The bytes of an embedded file; MuPDF hands out none where its stream is damaged."""
    content: bytes = mupdf.fz_buffer_extract_copy(mupdf.pdf_load_embedded_file_contents(specification))
    if not content and mupdf.pdf_to_int(mupdf.pdf_dict_getp(specification, "EF/F/Params/Size")) > 0:
        raise damaged("an embedded file cannot be unpacked")
    return content


def _file_name(specification: mupdf.PdfObj) -> str:
    """The name in Unicode, or else the older one (ISO 32000-1, table 44)."""
    names = (mupdf.pdf_dict_get_text_string(specification, mupdf.pdf_new_name(key)) for key in ("UF", "F"))
    return next((name for name in names if name), "")


def _chain(first: mupdf.PdfAnnot, following: Callable[[mupdf.PdfAnnot], mupdf.PdfAnnot]) -> Iterator[mupdf.PdfAnnot]:
    """Annotations of a page, of which direct objects have no number to ask for them by."""
    for _ in range(MAX_NOTES):
        if not first.m_internal:
            return
        yield first
        first = following(first)


def _bound(note: mupdf.PdfAnnot) -> Rect:
    box = mupdf.pdf_bound_annot(note)
    return Rect(box.x0, box.y0, box.x1, box.y1)


def _field(widget: mupdf.PdfAnnot) -> str:
    kind = mupdf.pdf_widget_type(widget)
    if kind in SILENT:
        return ""
    value = mupdf.pdf_annot_field_value(widget)
    if kind in CLICKED:
        value = "☒" if value not in {"", "Off"} else ""
    name = mupdf.pdf_annot_field_label(widget) or mupdf.pdf_load_field_name(mupdf.pdf_annot_obj(widget))
    return field_text(name, value)


def _blocks(raw: Sequence[dict[str, Any]], sheet: Sheet) -> list[Block]:
    blocks: list[Block] = []
    for each in raw:
        lines = tuple(line for one in each.get("lines", ()) if (line := _line(one)))
        if lines:
            blocks.append(Block(lines, Rect(*each["bbox"]), sheet))
    return blocks


def _line(raw: dict[str, Any]) -> Line | None:
    spans = raw["spans"]
    if len(spans) == 1:
        span = spans[0]
        text = span["text"]
        return (
            Line(text, Rect(*raw["bbox"]), round(span["size"] * 2) / 2, bool(span["flags"] & BOLD))
            if text.strip()
            else None
        )
    text = "".join([span["text"] for span in spans])
    if not text.strip():
        return None
    sizes: Counter[float] = Counter()
    bold = True
    for span in spans:
        if span["text"].strip():
            sizes[round(span["size"] * 2) / 2] += len(span["text"])
            bold = bold and bool(span["flags"] & BOLD)
    return Line(text, Rect(*raw["bbox"]), max(sizes, key=lambda size: sizes[size]), bold)


def _shapes(read: pymupdf.TextPage) -> list[Rect]:
    """Places of the shapes on a page, of the first `MOST_SHAPES` of them; rules one by one."""
    shapes: list[Rect] = []
    block = read.this.m_internal.first_block
    while block and len(shapes) < MOST_SHAPES:
        if block.type == mupdf.FZ_STEXT_BLOCK_VECTOR:
            box = block.bbox
            shapes.append(Rect(box.x0, box.y0, box.x1, box.y1))
        block = block.next
    return shapes


def _drawn(page: pymupdf.Page, shapes: Sequence[Rect]) -> list[Rect]:
    """Rules and boxes. Which thick shapes are boxes only a second pass can tell: it is made where it matters."""
    if len(shapes) >= MOST_SHAPES or not has_grid(shapes):
        return []
    rules = [shape for shape in shapes if min(shape.width, shape.height) <= MAX_RULE_PT]
    if len(rules) < len(shapes):
        items = (item for drawing in page.get_cdrawings() for item in drawing["items"])
        rules += [Rect(*item[1]) for item in items if item[0] == "re"]
    return rules


def _pictures(page: pymupdf.Page) -> list[Rect]:
    return [Rect(*each["bbox"]) for each in page.get_image_info()]


def _words(read: pymupdf.TextPage) -> Iterator[Word]:
    for left, top, right, bottom, text, block, line, _ in read.extractWORDS():
        yield Word(text, Rect(left, top, right, bottom), (block, line))
