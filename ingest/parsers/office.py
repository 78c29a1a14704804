"""Office formats, web pages and Outlook messages, through `unstructured`; its only importer.

`unstructured` 0.27 wants two things that Kustos forbids. It downloads a spaCy model at its first sentence: a blank
pipeline takes its place, which costs only guesses about element kinds that are not used here. And it reports home at
import: the environment that the sandbox gives to its children tells it not to.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from functools import cache
from html import unescape
from itertools import groupby

import spacy
from unstructured.documents import elements as vendor
from unstructured.nlp import tokenize
from unstructured.partition.docx import partition_docx
from unstructured.partition.html import partition_html
from unstructured.partition.md import partition_md
from unstructured.partition.msg import partition_msg
from unstructured.partition.pptx import partition_pptx
from unstructured.partition.xlsx import partition_xlsx

from ingest.extraction import Element, ElementKind, Extraction
from ingest.parsers.detection import FileKind
from ingest.parsers.plain import text_of
from ingest.parsers.tables import html_table_text
from rag.errors import DocumentRefused, RefusalReason

NO_LANGUAGE = [""]  # switches its own language detection off; ours works on finished chunks
HTML_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
PAGE_FURNITURE = (vendor.Header, vendor.Footer)
OUT_OF_MEMORY = "unknown error"  # all that lxml says when libxml2 could not allocate
OTHER = (vendor.Image, vendor.CodeSnippet, vendor.Address, vendor.EmailAddress)


@cache
def _sentences_only() -> spacy.language.Language:
    pipeline = spacy.blank("xx")
    pipeline.add_pipe("sentencizer")
    return pipeline


tokenize._get_nlp = _sentences_only


class DocxParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """Headings by style, numbered lists, tables, text boxes; page numbers where Word has left its page breaks."""
        found = _read(partition_docx, file=io.BytesIO(data), include_page_breaks=False)
        return Extraction("", tuple(_once(_element(each) for each in found)), FileKind.DOCX)


class PptxParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """One heading per slide, then its texts from top to bottom, with the speaker's notes; pages are slides."""
        found = _read(partition_pptx, file=io.BytesIO(data), include_page_breaks=False, include_slide_notes=True)
        slides = groupby(found, key=lambda each: each.metadata.page_number)
        return Extraction("", tuple(each for _, slide in slides for each in _slide(slide)), FileKind.PPTX)


class XlsxParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """One heading per sheet, then its tables, each row with the names of its columns."""
        found = _read(partition_xlsx, file=io.BytesIO(data))
        sheets = groupby(found, key=lambda each: each.metadata.page_name)
        return Extraction(
            "", tuple(each for title, sheet in sheets for each in _sheet(title or "", sheet)), FileKind.XLSX
        )


class HtmlParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """Headings, paragraphs, lists and tables of the body; scripts and styles are left out, nothing is fetched."""
        text = text_of(data)
        title = HTML_TITLE.search(text)
        own = (Element(ElementKind.TITLE, " ".join(unescape(title[1]).split())),) if title else ()
        return Extraction("", own + html_elements(text), FileKind.HTML)


class MarkdownParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """As the rendered page; front matter is left out."""
        found = _read(partition_md, text=FRONT_MATTER.sub("", text_of(data).lstrip("\ufeff")))
        return Extraction("", tuple(_element(each) for each in found), FileKind.MARKDOWN)


class MsgParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """Subject as title, sender and recipients, the body. Attachments are left out."""
        found = _read(partition_msg, file=io.BytesIO(data), process_attachments=False)
        head = found[0].metadata if found else vendor.ElementMetadata()
        envelope = {"From": head.sent_from, "To": head.sent_to, "Cc": head.cc_recipient}
        lines = "\n".join(f"{field}: {', '.join(people)}" for field, people in envelope.items() if people)
        elements = (
            Element(ElementKind.TITLE, head.subject or ""),
            Element(ElementKind.OTHER, lines),
            *(_element(each) for each in found),
        )
        return Extraction(head.subject or "", elements, FileKind.MSG)


def html_elements(text: str) -> tuple[Element, ...]:
    """The elements of an HTML page or of the HTML body of a mail."""
    if not text.strip():
        return ()
    return tuple(_element(each) for each in _read(partition_html, text=text))


def _read(partition: object, **arguments: object) -> list[vendor.Element]:
    """What `unstructured` finds; whatever it and the readers below it raise on bad input means a damaged file."""
    assert callable(partition)
    try:
        found: list[vendor.Element] = partition(**arguments, languages=NO_LANGUAGE)
    except (MemoryError, DocumentRefused):
        raise
    except Exception as error:
        if OUT_OF_MEMORY in str(error):
            raise MemoryError from error
        raise DocumentRefused(RefusalReason.DAMAGED, f"the content cannot be read: {type(error).__name__}") from error
    return found


def _element(found: vendor.Element) -> Element:
    metadata = found.metadata
    page = metadata.page_number
    if isinstance(found, vendor.Table):
        return Element(ElementKind.TABLE, html_table_text(metadata.text_as_html or "") or found.text, page=page)
    if isinstance(found, vendor.Title) and metadata.category_depth is not None:
        return Element(ElementKind.HEADING, found.text, metadata.category_depth + 1, page)
    if isinstance(found, vendor.ListItem):
        return Element(ElementKind.LIST_ITEM, found.text, page=page)
    if isinstance(found, (*PAGE_FURNITURE, *OTHER)):
        return Element(ElementKind.OTHER, found.text, page=page)
    return Element(ElementKind.PARAGRAPH, found.text, page=page)


def _once(elements: Iterable[Element]) -> Iterator[Element]:
    """Headers and footers come once per section of a Word document: the first of each text stays."""
    seen: set[str] = set()
    for element in elements:
        if element.kind is ElementKind.OTHER and element.text in seen:
            continue
        seen.add(element.text)
        yield element


def _slide(found: Iterable[vendor.Element]) -> list[Element]:
    """The slide's title first. `unstructured` also calls other short texts titles, one level down: those are none."""
    elements = [_element(each) for each in found]
    titles = [each for each in elements if each.kind is ElementKind.HEADING and each.level == 1]
    rest = [
        Element(ElementKind.PARAGRAPH, each.text, page=each.page) if each.kind is ElementKind.HEADING else each
        for each in elements
        if each not in titles
    ]
    return [*titles, *rest]


def _sheet(title: str, found: Iterable[vendor.Element]) -> Iterator[Element]:
    """Sheets have no page numbers: their name is what a citation needs."""
    yield Element(ElementKind.HEADING, title, 1)
    for each in found:
        kind = ElementKind.TABLE if isinstance(each, vendor.Table) else ElementKind.PARAGRAPH
        text = html_table_text(each.metadata.text_as_html or "") if kind is ElementKind.TABLE else ""
        yield Element(kind, text or each.text)
