"""What all kinds of mail have in common: subject, envelope, body, and the earlier mails quoted in it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby

from ingest.extraction import Element, ElementKind
from ingest.parsers.hypertext import html_elements
from ingest.parsers.plain import paragraphs

HISTORY_LEVEL = 2
MAX_INTRODUCTION_CHARS = 400
QUOTED = re.compile(r"^[ \t]{0,3}(?:>[ \t]?)++")
BLOCKQUOTE = re.compile(r"<(/?)blockquote\b[^<>]*+>", re.IGNORECASE)
DEEPER, BACK = "\ue000>\ue000", "\ue000<\ue000"  # paragraphs that keep the borders of quotations in a page
UNKNOWN_AUTHOR = "Quoted"
MAX_DEPTH = 20
WROTE = re.compile(
    r"(?:On|Am|Le|El|Il|Op|W dniu)\s.{4,300}?\s?"
    r"(?:wrote|schrieb(?:\s.{1,200})?|a écrit|escribió|ha scritto|schreef|napisał.{0,3})\s?:",
    re.DOTALL,
)
SEPARATOR = re.compile(
    r"[-_\s]*(?:Original Message|Original-Nachricht|Ursprüngliche Nachricht|Forwarded message|"
    r"Weitergeleitete Nachricht|Message d'origine)[-_\s]*",
    re.IGNORECASE,
)
HEAD = re.compile(
    r"\s*\*?(?:From|Von|De|Da|Van)\s?:\*?\s.{1,300}?\b(?:Sent|Gesendet|Date|Datum|Envoyé|Enviado)\s?:", re.DOTALL
)


Body = Iterable[tuple[int, Element]]
"""Elements, each with how deep it is quoted: 0 is what the sender wrote, or quoted without marks."""


def letter_elements(subject: str, envelope: Mapping[str, str], body: Body) -> Iterator[Element]:
    """Subject as title, the envelope, then the body.

    Each earlier mail quoted in the body lies under a heading made of the words that introduce it, so that a passage
    out of it says whose words it holds; what the sender wrote below or between lies under the sender's name.
    """
    yield Element(ElementKind.TITLE, subject)
    yield Element(ElementKind.OTHER, "\n".join(f"{field}: {value}" for field, value in envelope.items() if value))
    history = _History(envelope.get("From") or subject)
    for depth, element in body:
        if element.text.strip():
            yield from history.element(depth, element)


@dataclass(slots=True)
class _History:
    """Whose words stand at which depth of quotation."""

    sender: str
    authors: dict[int, str] = field(default_factory=dict)
    shown: str = ""
    introduced: str = ""
    introduced_at: int = 0

    def element(self, depth: int, element: Element) -> Iterator[Element]:
        """The element, below a heading where its author is another than before."""
        introduction = _introduction(element)
        if self.introduced and (depth > self.introduced_at or not introduction):
            self._begin(depth)
        if introduction:
            self.introduced, self.introduced_at, self.shown = introduction.text, depth, introduction.text
            yield introduction
            return
        author = self.authors.get(depth, UNKNOWN_AUTHOR if depth else "")
        if author != self.shown:
            yield Element(ElementKind.HEADING, author or self.sender, HISTORY_LEVEL)
        self.shown = author
        yield element

    def _begin(self, depth: int) -> None:
        """What follows an introduction is quoted deeper, or as deep, without marks and up to the end."""
        self.authors = {each: author for each, author in self.authors.items() if each < depth}
        self.authors[depth] = self.introduced
        self.introduced = ""


def attachment_list(names: Iterable[str]) -> Iterator[Element]:
    """Names of what is attached; the files are documents of their own."""
    for name in names:
        yield Element(ElementKind.LIST_ITEM, f"Attachment: {name}")


def quoted_paragraphs(text: str) -> Iterator[tuple[int, Element]]:
    """Paragraphs of a plain body, without the marks in front of quoted lines, and how many marks those were."""
    for depth, lines in groupby(text.split("\n"), _depth):
        for paragraph in paragraphs("\n".join(QUOTED.sub("", line, count=1) for line in lines)):
            for each in _with_introduction_apart(paragraph):
                yield depth, each


def _depth(line: str) -> int:
    marks = QUOTED.match(line)
    return min(marks[0].count(">"), MAX_DEPTH) if marks else 0


def quoted_elements(html: str) -> Iterator[tuple[int, Element]]:
    """Elements of an HTML body, and in how many quotations they lie."""
    depth = 0
    for element in html_elements(BLOCKQUOTE.sub(_with_border, html)):
        if element.text in {DEEPER, BACK}:
            depth = min(MAX_DEPTH, max(0, depth + (1 if element.text == DEEPER else -1)))
        else:
            yield depth, element


def _with_border(tag: re.Match[str]) -> str:
    return f"<p>{BACK}</p>{tag[0]}" if tag[1] else f"{tag[0]}<p>{DEEPER}</p>"


def _with_introduction_apart(paragraph: Element) -> Iterator[Element]:
    """Many programs write the introduction right below the last line of the answer."""
    before, newline, last = paragraph.text.rstrip().rpartition("\n")
    if newline and WROTE.fullmatch(last.strip()):
        yield replace(paragraph, text=before)
        yield replace(paragraph, text=last)
    else:
        yield paragraph


def _introduction(element: Element) -> Element | None:
    """The element as a heading if it introduces an earlier mail."""
    text = " ".join(element.text.split())
    if element.kind is ElementKind.TABLE or len(text) > MAX_INTRODUCTION_CHARS:
        return None
    if WROTE.fullmatch(text) or HEAD.match(text) or SEPARATOR.fullmatch(text):
        return replace(element, kind=ElementKind.HEADING, level=HISTORY_LEVEL, text=text.strip("-_ "))
    return None
