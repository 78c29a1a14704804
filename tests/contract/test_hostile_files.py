"""Small files that are made to cost: each is read in a time that grows with its size alone, or refused for its reason.

`CPU_S` is far below what each of them took before, by a factor of ten and more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import process_time

import pytest

from ingest.extraction import clean, extracted_text
from ingest.parsers.detection import FileKind, detect
from ingest.parsers.layout import Block, Line, Rect, Sheet, without_running_heads
from ingest.parsers.registry import parse
from ingest.parsers.structure import joined

CPU_S = 5.0


@contextmanager
def cheaply() -> Iterator[None]:
    begun = process_time()
    yield
    assert process_time() - begun < CPU_S


# Patterns ----------------------------------------------------------------------------------------------------------------

BLANKS = " \t" * 100_000
TEXTS: dict[str, tuple[str, str]] = {
    "blanks inside a line": (f"a{BLANKS}b", f"a{BLANKS}b"),
    "blanks at the end of a line": (f"a{BLANKS}\nb{BLANKS}\n\n\n\nc", "a\nb\n\nc"),
    "marks on one letter": ("a" + "\u0301\u0316" * 200_000, "\u00e1" + "\u0316" * 15 + "\u0301" * 14),
    "marks that do not look like one": ("\u0f40" + "\u0f73" * 200_000, "\u0f40" + "\u0f71" * 30 + "\u0f72" * 30),
    "many letters with few marks": ("ä\u0316" * 100_000, "ä\u0316" * 100_000),
}


@pytest.mark.parametrize("case", TEXTS)
def test_texts_are_cleaned_in_one_go(case: str) -> None:
    text, expected = TEXTS[case]
    with cheaply():
        assert clean(text) == expected


KINDS: dict[str, tuple[str, FileKind]] = {
    "blanks only, then a letter": ("\n" + " " * 65_000 + "x", FileKind.TEXT),
    "blanks in front of a page": ("\n" + " " * 60_000 + "<!-- x -->\n<HTML>", FileKind.HTML),
    "blanks around a prologue": (" <?xml version='1.0'?>" + " " * 60_000 + "<x/>", FileKind.XML),
    "comments that never end": ("<!--" * 16_000, FileKind.TEXT),
}


@pytest.mark.parametrize("case", KINDS)
def test_the_kind_of_a_text_is_told_in_one_go(case: str) -> None:
    text, kind = KINDS[case]
    with cheaply():
        assert detect(text.encode(), "a") is kind


READ: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "HTML, one long attribute": (lambda: b"<html><head><meta " + b"a" * 99_000 + b"><body><p>x", "a.html", "x"),
}


@pytest.mark.parametrize("case", READ)
def test_in_04_small_files_that_are_made_to_cost_are_read(case: str) -> None:
    make, name, expected = READ[case]
    with cheaply():
        assert extracted_text(parse(make(), name))[0] == expected


def test_dots_of_a_table_of_contents_are_taken_in_one_go() -> None:
    with cheaply():
        assert joined([". " * 30_000 + "?"]) == ". " * 30_000 + "?"
        assert joined(["Lohn " + ". " * 30_000 + "12"]) == "Lohn … 12"


def test_figures_in_margins_are_no_page_number_when_they_are_many() -> None:
    def block(page: int, text: str) -> Block:
        rect = Rect(10.0, 1.0, 500.0, 9.0)
        return Block((Line(text, rect, 9.0, False),), rect, Sheet(page, 600.0, 800.0))

    figures = "1 - " * 300 + "x"
    with cheaply():
        kept = without_running_heads([block(page, text) for page in (1, 2) for text in (figures, f"- {page} -")], 2)
    assert [each.text for each in kept] == [figures]
