"""Rich Text Format through striprtf, its only importer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby

from striprtf.striprtf import rtf_to_text

from ingest.extraction import Element, ElementKind, Extraction
from ingest.parsers.damage import damage
from ingest.parsers.kinds import FileKind
from ingest.parsers.properties import Properties, in_utc
from ingest.parsers.tables import table_text

CELL_END = "|"
FIELD = {"title": re.compile(r"\{\\title ([^{}]*)\}"), "author": re.compile(r"\{\\author ([^{}]*)\}")}
TIME = r"\{\\%s\\yr(\d{4})\\mo(\d{1,2})\\dy(\d{1,2})(?:\\hr(\d{1,2}))?(?:\\min(\d{1,2}))?"
PICTURE = re.compile(r"\{\\\*?\\?(?:pict|objdata)[^{}]*+\}")
HEAD_CHARS = 20_000


class RtfParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """Paragraphs, and tables with the names of their columns in each row."""
        text = data.decode("latin-1")
        with damage("the document"):
            plain = _plain(PICTURE.sub("", text))
        return _properties(text[:HEAD_CHARS]).describing(tuple(_elements(plain)), FileKind.RTF)


def _elements(plain: str) -> Iterator[Element]:
    for is_table, lines in groupby(filter(str.strip, plain.split("\n")), lambda line: line.endswith(CELL_END)):
        if is_table:
            yield Element(ElementKind.TABLE, _table(list(lines)))
        else:
            yield from (Element(ElementKind.PARAGRAPH, line) for line in lines)


def _table(lines: list[str]) -> str:
    return table_text([line.removesuffix(CELL_END).split(CELL_END) for line in lines])


def _properties(head: str) -> Properties:
    return Properties(_field(head, "title"), _field(head, "author"), _time(head, "creatim"), _time(head, "revtim"))


def _field(head: str, name: str) -> str:
    found = FIELD[name].search(head)
    return _plain("{\\rtf1 " + found[1] + "}").strip() if found else ""


def _plain(text: str) -> str:
    """striprtf looks for the end of a field up to the end of its line, and whole documents are one line."""
    text = text.replace("{\\field", "\n{\\field")
    return str(rtf_to_text(text, errors="replace"))  # type: ignore[no-untyped-call]


def _time(head: str, name: str) -> datetime | None:
    found = re.search(TIME % name, head)
    if found is None:
        return None
    year, month, day, hour, minute = (int(part or 0) for part in found.groups())
    try:
        return in_utc(datetime(year, month, day, hour, minute, tzinfo=UTC))
    except ValueError:  # no such day
        return None
