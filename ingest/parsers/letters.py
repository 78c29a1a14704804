"""What all kinds of mail have in common: subject, envelope, body, and the earlier mails quoted in it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby

from ingest.extraction import Element, ElementKind
from ingest.parsers.plain import paragraphs

HISTORY_LEVEL = 2
MAX_INTRODUCTION_CHARS = 400
QUOTED = re.compile(r"^[ \t]{0,3}(?:>[ \t]?)+")
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


def letter_elements(subject: str, envelope: Mapping[str, str], body: Iterable[Element]) -> Iterator[Element]:
    """Subject as title, the envelope, then the body.

    Each earlier mail quoted in the body lies under a heading made of the words that introduce it, so that a passage
    out of it says whose words it holds.
    """
    yield Element(ElementKind.TITLE, subject)
    yield Element(ElementKind.OTHER, "\n".join(f"{field}: {value}" for field, value in envelope.items() if value))
    for element in body:
        yield _introduction(element) or element


def attachment_list(names: Iterable[str]) -> Iterator[Element]:
    """Names of what is attached; the files are documents of their own."""
    for name in names:
        yield Element(ElementKind.LIST_ITEM, f"Attachment: {name}")


def quoted_paragraphs(text: str) -> Iterator[Element]:
    """Paragraphs of a plain body, without the marks in front of quoted lines."""
    for _, lines in groupby(text.split("\n"), lambda line: bool(QUOTED.match(line))):
        for paragraph in paragraphs("\n".join(QUOTED.sub("", line, count=1) for line in lines)):
            yield from _with_introduction_apart(paragraph)


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
