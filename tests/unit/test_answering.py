"""Citations are checked against what was retrieved, and the refusal is one text."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.answering import REFUSALS, UNCITED, checked_citations, refusal, with_sources
from rag.models.extractive import split_sentences


def checked(pieces, known):
    cited: list[int] = []
    return "".join(checked_citations(iter(pieces), known, cited)), cited


@pytest.mark.parametrize(
    ("pieces", "text", "cited"),
    [
        (["Nach [1] und [2]."], "Nach [1] und [2].", [1, 2]),
        (["See [2], again [2], then [1]"], "See [2], again [2], then [1]", [2, 1]),
        (["A forged one [7] goes"], "A forged one  goes", []),
        (["[0]", " and [99999]"], " and [99999]", []),
        (["cut in [", "1", "] two"], "cut in [1] two", [1]),
        (["cut and forged [", "9", "]"], "cut and forged ", []),
        (["a list [x] and an open ["], "a list [x] and an open [", []),
        ([], "", []),
    ],
)
def test_pi_06_only_what_was_retrieved_can_be_cited(pieces, text, cited) -> None:
    assert checked(pieces, 2) == (text, cited)


@given(st.text(alphabet="[]0123456789 a", max_size=60), st.data())
def test_the_way_a_text_is_cut_into_pieces_does_not_matter(text, data) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    edges = [0, *cuts, len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    assert checked(pieces, 5) == checked([text], 5)


def test_the_refusal_speaks_the_languages_it_knows_and_english_otherwise() -> None:
    assert refusal("de") == REFUSALS["de"]
    assert refusal("fr") == REFUSALS["en"]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Das gilt ab 1. Mai. Danach nicht mehr.", ["Das gilt ab 1. Mai.", "Danach nicht mehr."]),
        ("Siehe z. B. Anlage 3. Sie gilt für alle.", ["Siehe z. B. Anlage 3.", "Sie gilt für alle."]),
        (
            "Dr. Jansen leitet das Lager. Vertretung: Frau Ali.",
            ["Dr. Jansen leitet das Lager.", "Vertretung: Frau Ali."],
        ),
        ("First line\nsecond line", ["First line", "second line"]),
        ("„Nein.“ Er ging.", ["„Nein.“", "Er ging."]),
        ("Es geht voran. Es ist da.", ["Es geht voran.", "Es ist da."]),
        ("", []),
    ],
)
def test_sentences_end_where_sentences_end(text, sentences) -> None:
    assert split_sentences(text) == sentences


def test_an_answer_without_a_citation_says_so_and_names_what_it_could_be_checked_against() -> None:
    cited: list[int] = []
    text = "".join(with_sources(iter(["Four."]), 5, "de", cited))
    assert text == f"Four.\n\n{UNCITED['de']} [1] [2] [3]"
    assert cited == [1, 2, 3]


def test_an_answer_that_cites_is_left_alone() -> None:
    assert "".join(with_sources(iter(["Four [2]."]), 5, "en", [2])) == "Four [2]."
