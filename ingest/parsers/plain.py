"""Plain text and CSV, read with the standard library alone."""

from __future__ import annotations

import csv
import re

from ingest.extraction import Element, ElementKind, Extraction
from ingest.parsers.encoding import decode
from ingest.parsers.kinds import FileKind
from ingest.parsers.tables import table_text
from rag.errors import DocumentRefused, RefusalReason

DELIMITERS = ";,\t|"
DELIMITER_SAID = re.compile(r"sep=(.)")  # a first line that Excel writes and reads
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


class TsvParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """One table whose cells are separated by tabs, or by what it says else."""
        text = text_of(data)
        table = csv_table(text, "\t" if "\t" in text else "")
        return Extraction("", (Element(ElementKind.TABLE, table),), FileKind.TSV)


def csv_table(text: str, delimiter: str = "") -> str:
    """Rows as table text; without a delimiter given it is the one that the first line holds most of."""
    lines = text.lstrip("\ufeff\n").split("\n")
    if said := DELIMITER_SAID.fullmatch(lines[0]):
        delimiter, lines = said[1], lines[1:]
    delimiter = delimiter or max(DELIMITERS, key=lines[0].count)
    try:
        rows = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter)
        return table_text([_without_empty_end(row) for row in rows])
    except csv.Error:  # a quote that never ends makes one endless field: the plain lines are still worth finding
        return text


def _without_empty_end(row: list[str]) -> list[str]:
    """Many programs end each line with a delimiter, which makes no column."""
    while row and not row[-1].strip():
        row.pop()
    return row
