"""Cuts an extraction into chunks that fit the embedder, through LlamaIndex's sentence splitter; its only importer.

The splitter is given a tokenizer and a rule for sentences, so it asks for neither tiktoken nor nltk data, both of which
it would download.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from llama_index.core.node_parser import SentenceSplitter

from ingest.extraction import Element, ElementKind, Extraction, Span, extracted_text
from ingest.parsers.tables import CELL_SEPARATOR, VALUE_SEPARATOR
from rag.documents import Chunk, chunk_id, content_hash, indexed_text
from rag.ports import Embedder

CHUNK_TOKENS = 240  # measured, see docs/decisions/0010-chunk-size.md; a model that reads fewer tokens decides itself
SPECIAL_TOKENS = 2  # that a model puts around a text
MIN_TOKENS = 64
MAX_PATH_SHARE = 1 / 3  # of a chunk's tokens; what is above it loses its outermost headings
CELL_TOKENS = 32  # left free in sections with tables, for what `_cell_before` tells
MAX_CELL_CHARS = 60
MAX_HEADING_CHARS = 300  # what is longer says something itself
MAX_PATH = 10  # headings above a passage, the innermost ones
WINDOW_CHARS = 50_000  # at most so much is counted or cut at a time: a hostile file unpacks to texts of many megabytes
TOKENS_BETWEEN = 2  # at most, for the blank line between two elements
TELLING_CHARS = 200  # fewer do not tell a language reliably; such chunks take the document's
SAMPLE_CHARS = 4_000

# A full stop abbreviates or numbers after fewer than three letters, after a digit ("z. B.", "31. August"), and before a
# small letter or a figure ("bzw. der", "Abs. 2").
SENTENCE_END = re.compile(
    r"(?:(?<=[^\W\d_]{3}[.!?…])|(?<=[)\]\"'”“»’][.!?…])|(?<=[.!?…][)\]\"'”“»’]))\s+(?![\s\da-zäöüß§])|(?<=[。！？])|\n+"
)
LONG_WORD = re.compile(r"\S{64}(?=\S)")

DetectLanguage = Callable[[str], str]
"""Text to ISO 639-1 code."""


@dataclass(frozen=True, slots=True)
class _Section:
    """Neighbouring elements under one heading on one page, the heading itself included."""

    path: tuple[str, ...]
    page: int | None
    elements: tuple[Element, ...]
    spans: tuple[Span, ...]

    def within(self, span: Span) -> tuple[Element, ...]:
        """The elements of which `span` holds something."""
        first = bisect_right(self.spans, span.start, key=lambda its: its.end)
        return self.elements[first : bisect_left(self.spans, span.end, key=lambda its: its.start)]


class Chunker:
    """Chunks by heading, page and slide.

    Args:
        count_tokens: tokens of a text, as the embedder counts them.
        max_tokens: of a chunk together with its heading path.
    """

    def __init__(self, count_tokens: Callable[[str], int], max_tokens: int) -> None:
        if max_tokens < MIN_TOKENS:
            raise ValueError(f"max_tokens is at least {MIN_TOKENS}")
        self._count = count_tokens
        self.max_tokens = max_tokens

    @classmethod
    def of_embedder(cls, embedder: Embedder) -> Self:
        """Chunks that this embedder reads whole, with its prefix.

        Raises:
            ValueError: it reads too few tokens for that.
        """
        room = embedder.max_tokens - SPECIAL_TOKENS - embedder.count_tokens(embedder.profile.document_prefix)
        return cls(embedder.count_tokens, min(CHUNK_TOKENS, room))

    def chunk(self, document_id: str, extraction: Extraction, detect_language: DetectLanguage) -> list[Chunk]:
        """The document's chunks in reading order.

        A chunk's text is exactly the characters of its span; every character of the extracted text that is not blank is
        in some chunk; no chunk exceeds the token budget or reaches over a page.
        """
        text, spans = extracted_text(extraction)
        language = detect_language(text[:SAMPLE_CHARS])
        occurrences: Counter[str] = Counter()
        chunks: list[Chunk] = []
        for section in _sections(extraction.elements, spans):
            path = self._affordable(section.path)
            for span in self._spans(text, path, section):
                part = text[span.start : span.end]
                its_language = detect_language(part) if len(part) >= TELLING_CHARS else language
                held = section.within(span)
                its_path = self._with_cell(path, part, _cell_before(text, section, span))
                content = content_hash(its_path, part, its_language)
                chunks.append(
                    Chunk(
                        id=chunk_id(document_id, content, occurrences[content]),
                        document_id=document_id,
                        ordinal=len(chunks) + 1,
                        text=part,
                        heading_path=its_path,
                        page=section.page,
                        start=span.start,
                        end=span.end,
                        language=its_language,
                        content_hash=content,
                        boxes=tuple(each.box for each in held if each.box),
                        confidence=min((each.confidence for each in held if each.confidence is not None), default=None),
                    )
                )
                occurrences[content] += 1
        return chunks

    def _with_cell(self, path: tuple[str, ...], part: str, cell: str) -> tuple[str, ...]:
        """The path, and below it where in a table the part begins, as far as there is room for it."""
        return (*path, cell) if cell and self._fits((*path, cell), part) else path

    def _affordable(self, path: tuple[str, ...]) -> tuple[str, ...]:
        while path and self._count(indexed_text(path, "")) > MAX_PATH_SHARE * self.max_tokens:
            path = path[1:]
        return path

    def _spans(self, text: str, path: tuple[str, ...], section: _Section) -> Iterator[Span]:
        """Elements of a section, joined while they fit and cut where they do not."""
        room = self.max_tokens - self._count(indexed_text(path, ""))
        if any(each.kind is ElementKind.TABLE and "\n" in each.text for each in section.elements):
            room -= min(CELL_TOKENS, room // 4)
        group: list[Span] = []
        used = 0
        for span, tokens in self._pieces(text, section, room):
            if group and used + tokens > room:
                yield from self._closed(text, path, group)
                group, used = [], 0
            group.append(span)
            used += tokens + TOKENS_BETWEEN
        yield from self._closed(text, path, group)

    def _pieces(self, text: str, section: _Section, room: int) -> Iterator[tuple[Span, int]]:
        """Spans with their tokens, each small enough to stand in a chunk behind the section's own heading."""
        for element, span in zip(section.elements, section.spans, strict=True):
            tokens = self._count(element.text) if len(element.text) <= WINDOW_CHARS else room + 1
            if tokens <= room:
                yield span, tokens
            else:
                for part in self._split(text, span, room):
                    yield part, self._count(text[part.start : part.end])
            if _is_heading(element) and tokens < room // 4:
                room -= tokens + TOKENS_BETWEEN

    def _split(self, text: str, span: Span, room: int) -> Iterator[Span]:
        splitter = SentenceSplitter(
            chunk_size=max(room, 1),
            chunk_overlap=0,
            tokenizer=lambda part: range(self._count(part)),
            chunking_tokenizer_fn=_sentences,
        )
        for window in _windows(text, span):
            end = window.start
            for part in splitter.split_text(text[window.start : window.end]):
                start = text.index(part, end)
                end = start + len(part)
                yield Span(start, end)

    def _closed(self, text: str, path: tuple[str, ...], group: Sequence[Span]) -> Iterator[Span]:
        """One chunk of the group. Tokens do not quite add up, so it is counted; too long, it falls apart again."""
        if not group:
            return
        whole = Span(group[0].start, group[-1].end)
        if len(text[whole.start : whole.end]) < 2 or self._fits(path, text[whole.start : whole.end]):
            yield whole
        elif len(group) > 1:
            for span in group:
                yield from self._closed(text, path, [span])
        else:
            middle = (whole.start + whole.end) // 2
            for span in (Span(whole.start, middle), Span(middle, whole.end)):
                yield from self._closed(text, path, [span])

    def _fits(self, path: tuple[str, ...], part: str) -> bool:
        return self._count(indexed_text(path, part)) <= self.max_tokens


def _cell_before(text: str, section: _Section, span: Span) -> str:
    """Where a part begins inside a row of a table: first cell of the row and name of the column. Else empty.

    The row's other parts have lost both, and the part itself is a quotation, to which nothing can be added.
    """
    at = bisect_right(section.spans, span.start, key=lambda its: its.end)
    if at == len(section.elements) or section.elements[at].kind is not ElementKind.TABLE:
        return ""
    row = max(section.spans[at].start, text.rfind("\n", section.spans[at].start, span.start) + 1)
    *before, cell = text[row : span.start].split(CELL_SEPARATOR)
    name, colon, _ = cell.partition(VALUE_SEPARATOR)
    told = (*before[:1], *([name] if colon else []))
    return CELL_SEPARATOR.join(each[:MAX_CELL_CHARS] for each in told)


def _sections(elements: Sequence[Element], spans: Sequence[Span]) -> Iterator[_Section]:
    """Sections in order. Headings directly under one another open one section together."""
    open_headings: list[tuple[int, str]] = []  # level and text
    path: tuple[str, ...] = ()
    new_path = path
    begin, only_headings = 0, True
    for index, element in enumerate(elements):
        opens = _opens_section(elements, index)
        if _is_heading(element):
            open_headings = [each for each in open_headings if each[0] < element.level]
            open_headings += [(element.level, " ".join(element.text.split()))] if opens else []
            open_headings = open_headings[-MAX_PATH:]
            new_path = tuple(text for _, text in open_headings)
        turns_page = index > 0 and element.page != elements[index - 1].page
        if index > begin and (turns_page or (new_path != path and not (only_headings and opens))):
            yield _Section(path, elements[begin].page, tuple(elements[begin:index]), tuple(spans[begin:index]))
            begin, only_headings = index, True
        path, only_headings = new_path, only_headings and opens
    if begin < len(elements):
        yield _Section(path, elements[begin].page, tuple(elements[begin:]), tuple(spans[begin:]))


def _is_heading(element: Element) -> bool:
    return element.kind in {ElementKind.HEADING, ElementKind.TITLE} and len(element.text) <= MAX_HEADING_CHARS


def _opens_section(elements: Sequence[Element], index: int) -> bool:
    """Whether a heading has anything under it. Bold lines in a row, as in a letterhead, are text, not headings."""
    element, following = elements[index], elements[index + 1 : index + 2]
    if not _is_heading(element) or not following:
        return False
    return not _is_heading(following[0]) or following[0].level > element.level


def _windows(text: str, span: Span) -> Iterator[Span]:
    """The span in pieces of at most `WINDOW_CHARS`, cut at the end of a line, or else of a word, where there is one."""
    start = span.start
    while span.end - start > WINDOW_CHARS:
        most = start + WINDOW_CHARS
        cut = max(text.rfind("\n", start, most), 0) or max(text.rfind(" ", start, most), 0) or most - 1
        yield Span(start, cut + 1)
        start = cut + 1
    yield Span(start, span.end)


def _sentences(text: str) -> list[str]:
    """Pieces that make up `text`, cut after sentences and lines, and inside of what is too long for a word."""
    cuts = {match.end() for rule in (SENTENCE_END, LONG_WORD) for match in rule.finditer(text)}
    return [text[start:end] for start, end in pairwise(sorted({0, *cuts, len(text)}))]
