"""The readers that Kustos builds on, used as the first page of their manuals shows, to compare with.

`unstructured` would download a spaCy model at its first sentence; it gets a blank pipeline, which costs it guesses
about the kinds of elements but no text. PyMuPDF reads office files too.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pymupdf
import spacy
from unstructured.documents.elements import PageBreak, Table
from unstructured.nlp import tokenize
from unstructured.partition.auto import partition

from eval.parsing.content import Block, Content, paragraph, table
from ingest.parsers.tables import TableReader

NO_LANGUAGE = [""]


@cache
def _sentences_only() -> spacy.language.Language:
    pipeline = spacy.blank("xx")
    pipeline.add_pipe("sentencizer")
    return pipeline


tokenize._get_nlp = _sentences_only


def by_unstructured(path: Path) -> Content:
    """What `partition` finds; tables by their `text_as_html`."""
    return tuple(_blocks(path))


def _blocks(path: Path) -> Iterator[Block]:
    for element in partition(filename=str(path), languages=NO_LANGUAGE):
        if isinstance(element, Table) and element.metadata.text_as_html:
            reader = TableReader()
            reader.feed(element.metadata.text_as_html)
            reader.close()
            yield from table(reader.rows)
        elif not isinstance(element, PageBreak):
            yield from (block for line in element.text.split("\n") for block in paragraph(line))


def by_pymupdf(path: Path) -> Content:
    """The blocks of every page as `get_text` gives them; those inside a table that `find_tables` sees are its rows."""
    with pymupdf.open(str(path)) as document:  # type: ignore[no-untyped-call]
        return tuple(block for page in document for block in _page(page))


def _page(page: pymupdf.Page) -> Iterator[Block]:
    tables = [(pymupdf.Rect(found.bbox), found.extract()) for found in page.find_tables().tables]  # type: ignore[no-untyped-call]
    for *box, text, _number, kind in page.get_text("blocks"):  # type: ignore[no-untyped-call]
        inside = next((each for each in tables if _centre(box) in each[0]), None)
        if inside is None and kind == 0:
            yield from (block for line in text.split("\n") for block in paragraph(line))
        elif inside is not None and inside[1]:
            yield from table([cell or "" for cell in row] for row in inside[1])
            inside[1].clear()


def _centre(box: list[float]) -> pymupdf.Point:
    left, top, right, bottom = box
    return pymupdf.Point((left + right) / 2, (top + bottom) / 2)  # type: ignore[no-untyped-call]


def pymupdf_characters(path: Path) -> int:
    """Number of characters that `get_text` finds on all pages, and nothing else done."""
    with pymupdf.open(str(path)) as document:  # type: ignore[no-untyped-call]
        return sum(len(page.get_text()) for page in document)


def unstructured_characters(path: Path) -> int:
    """Number of characters of all elements that `partition` finds, and nothing else done."""
    return sum(len(element.text) for element in partition(filename=str(path), languages=NO_LANGUAGE))


READERS = {"unstructured": by_unstructured, "pymupdf": by_pymupdf}
