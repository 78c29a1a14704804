"""What a parser takes out of one file: ordered pieces of text, and the one text that they make up. Pure, no I/O."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from rag.documents import Box

SEPARATOR = "\n\n"
MAX_TITLE_CHARS = 300
TITLE_IS_AMONG_THE_FIRST = 5
TITLE_IS_ON_THE_FIRST = 40  # elements, where nothing tells of pages
TELLING_LETTERS = 8  # fewer, as in "Test", stand anywhere by chance
_OF_A_PART = re.compile(
    r"(table of )?contents|inhalt(sverzeichnis|sübersicht)?|index|preface|foreword|vorwort|abstract|zusammenfassung|"
    r"(page|seite|slide|folie) \d+|\d+(st|nd|rd|th|\.)?|arxiv:.*",
    re.IGNORECASE,
)

# Invisible or directional characters: useless for search, and able to disguise what a reader sees (IN-16).
_DROPPED = {
    *range(0x20),
    0x7F,
    *range(0x80, 0xA0),
    0xAD,
    0x200B,
    0xFEFF,
    *range(0x202A, 0x202F),
    *range(0x2060, 0x206A),
}
_CHARACTERS: dict[int, str | None] = {
    **dict.fromkeys(_DROPPED - {0x09, 0x0A, 0x0B, 0x0C, 0x0D}),
    **dict.fromkeys((0x0B, 0x0C, 0x0D, 0x85, 0x2028, 0x2029), "\n"),
    **dict.fromkeys((0xA0, 0x202F), " "),
}
_UNCLEAN = re.compile(f"[{''.join(re.escape(chr(each)) for each in sorted(_CHARACTERS))}]")
_CLEAN_LINE = re.compile("[ -~\xa1-\xac\xae-\u02ff\u2010-\u2027\u2030-\u205e\u20ac]*")
"""What most texts are made of; each is NFC by itself and next to any other (Unicode Standard Annex 15, quick check)."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_END_OF_LINE = re.compile(r"(?<![ \t])[ \t]++\n")  # begun once a run, not at each of its blanks
_BLANK_LINES = re.compile(r"\n{3,}")
_MANY_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]{200,}")
_MARKS_IN_DISGUISE = "\u0f73\u0f75\u0f81"  # of combining class 0, but what they are made of is not
MAX_MARKS = 30
"""Combining marks on one letter (Unicode Standard Annex 15, stream-safe text): ordering a run of them takes time that
grows with its square."""


SPEAKER_NOTES = "Speaker notes: "
"""Begins an element that holds what is said to a slide and not shown on it."""


class ElementKind(StrEnum):
    TITLE = "title"
    HEADING = "heading"
    PARAGRAPH = "paragraph"
    LIST_ITEM = "list_item"
    TABLE = "table"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Element:
    """One piece of a document in reading order.

    Attributes:
        text: never blank in a finished extraction; a table holds one line per row.
        level: of a heading, from 1 (outermost); of a title 0; without meaning elsewhere.
        page: page or slide number from 1; None where the format has none.
        box: where it stands on that page; None where the format has no pages to look at.
        confidence: of character recognition, 0 to 1; None where nothing had to be recognised.
    """

    kind: ElementKind
    text: str
    level: int = 0
    page: int | None = None
    box: Box | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file inside another one: of a mail, a PDF portfolio or an archive. `name` is data, never a path to write to."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Extraction:
    """What one file holds.

    Attributes:
        title: empty where the file does not name itself.
        author: as the file names it; empty where it does not.
        created_at, modified_at: as the file says, in UTC; None where it does not, or says nonsense.
        attachments: files inside it, in order; each becomes a document of its own under the rights of this one.
        notices: what of the file was left unread and why, for the operator.
    """

    title: str
    elements: tuple[Element, ...]
    media_type: str
    author: str = ""
    created_at: datetime | None = None
    modified_at: datetime | None = None
    attachments: tuple[Attachment, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` (exclusive) of the extracted text."""

    start: int
    end: int


def extracted_text(extraction: Extraction) -> tuple[str, tuple[Span, ...]]:
    """The elements joined by a blank line, and where each of them stands in that text."""
    spans: list[Span] = []
    position = 0
    for element in extraction.elements:
        spans.append(Span(position, position + len(element.text)))
        position += len(element.text) + len(SEPARATOR)
    return SEPARATOR.join(element.text for element in extraction.elements), tuple(spans)


def clean(text: str) -> str:
    """Text as it is stored: NFC, `\\n` as the only line end, nothing invisible, nothing that UTF-8 cannot carry."""
    if _CLEAN_LINE.fullmatch(text):
        return text.strip()
    text = _SURROGATE.sub("\ufffd", text.replace("\r\n", "\n")).translate(_CHARACTERS)
    text = unicodedata.normalize("NFC", _MANY_BEYOND_ASCII.sub(_with_few_marks, text))
    text = _END_OF_LINE.sub("\n", text)
    return _BLANK_LINES.sub("\n\n", text).strip()


def is_clean(text: str) -> bool:
    """Whether `clean` would leave every character of it."""
    return _UNCLEAN.search(text) is None


def on_one_line(text: str) -> str:
    """For a log: every character that `clean` would not leave, and every line end, is a blank."""
    return _UNCLEAN.sub(" ", text).replace("\n", " ")


def _with_few_marks(found: re.Match[str]) -> str:
    kept: list[str] = []
    marks = 0
    for character in found[0]:
        marks = marks + 1 if unicodedata.combining(character) or character in _MARKS_IN_DISGUISE else 0
        if marks <= MAX_MARKS:
            kept.append(character)
    return "".join(kept)


def finished(raw: Extraction, *, titled_by_heading: bool = True) -> Extraction:
    """The same with clean texts, without blank elements, and titled as its first page is, where that is allowed to."""
    elements = tuple(_with_text(each, text) for each in raw.elements if (text := clean(each.text)))
    title = (_visible_title(elements, raw.title) if titled_by_heading else "") or raw.title
    return replace(
        raw,
        title=_one_line(title),
        elements=elements,
        media_type=str(raw.media_type),
        author=_one_line(raw.author),
    )


def _with_text(element: Element, text: str) -> Element:
    return element if element.text == text else replace(element, text=text)


def _one_line(text: str) -> str:
    return " ".join(clean(text).split())[:MAX_TITLE_CHARS]


def _visible_title(elements: Sequence[Element], named: str) -> str:
    """What a reader would call the document: metadata often names the template or the first draft instead.

    So what the file is `named` counts where it stands on the first page, and the largest of the first headings
    otherwise: a letterhead may stand above the title, but in smaller type. Headings of parts are none of a whole.
    """
    first_page = [each for each in elements[:TITLE_IS_ON_THE_FIRST] if each.page in (None, 1)]
    letters = _letters(named)
    if len(letters) >= TELLING_LETTERS and letters in _letters("".join(each.text for each in first_page)):
        return named
    headings = [
        each
        for each in first_page[:TITLE_IS_AMONG_THE_FIRST]
        if each.kind in {ElementKind.TITLE, ElementKind.HEADING} and not _OF_A_PART.fullmatch(each.text.strip())
    ]
    return min(headings, key=lambda element: element.level).text if headings else ""


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))
