"""Plain text and CSV, read with the standard library alone."""

from __future__ import annotations

import csv
import re

from ingest.extraction import Element, ElementKind, Extraction
from ingest.parsers.detection import FileKind
from ingest.parsers.encoding import decode
from ingest.parsers.tables import table_text
from rag.errors import DocumentRefused, RefusalReason

DELIMITERS = ";,\t|"
PARAGRAPH = re.compile(r"\n[ \t]*\n+")


def text_of(data: bytes) -> str:
    """`data` as text.

    Raises:
        DocumentRefused: it is none.
    """
    text = decode(data)
    if text is None:
        raise DocumentRefused(RefusalReason.UNSUPPORTED, "its content is no text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def paragraphs(text: str) -> tuple[Element, ...]:
    """Paragraphs are what blank lines separate."""
    return tuple(Element(ElementKind.PARAGRAPH, part) for part in PARAGRAPH.split(text))


class TextParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """Paragraphs; the name says nothing about them."""
        return Extraction("", paragraphs(text_of(data)), FileKind.TEXT)


class CsvParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """One table. The delimiter is read off the content; rows of unequal length are fine."""
        return Extraction("", (Element(ElementKind.TABLE, csv_table(text_of(data))),), FileKind.CSV)


def csv_table(text: str) -> str:
    """Rows as table text; the delimiter is the one that the first line holds most of."""
    first = text.lstrip("\n").partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    try:
        return table_text(list(csv.reader(text.splitlines(keepends=True), delimiter=delimiter)))
    except csv.Error:  # a quote that never ends makes one endless field: the plain lines are still worth finding
        return text
