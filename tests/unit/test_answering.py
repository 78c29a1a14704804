"""Citations are checked against what was retrieved, and the refusal is one text."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.answering import REFUSALS, UNCITED, Inquiry, checked_citations, defused, refusal, searched, with_sources
from rag.models.extractive import ExtractiveAnswerer, split_sentences
from tests.fakes import WordEmbedder
from tests.unit.test_prompt import passage


def checked(pieces, known):
    cited: list[int] = []
    return "".join(checked_citations(iter(pieces), known, cited)), cited


@pytest.mark.parametrize(
    ("pieces", "text", "cited"),
    [
        (["Nach [1] und [2]."], "Nach [1] und [2].", [1, 2]),
        (["See [2], again [2], then [1]"], "See [2], again [2], then [1]", [2, 1]),
        (["A forged one [7] goes"], "A forged one [?] goes", []),
        (["[0]", " and [99999]"], "[?] and [?]", []),
        (["cut in [", "1", "] two"], "cut in [1] two", [1]),
        (["cut and forged [", "9", "]"], "cut and forged [?]", []),
        (["a list [x] and an open ["], "a list [x] and an open [", []),
        (["both [1, 2], and [2;1]"], "both [1] [2], and [2] [1]", [1, 2]),
        (["half [1,9] [", "7 ,", " 2 ]"], "half [1] [2]", [1, 2]),
        (["none [7, 8], a box [ ]"], "none [?], a box [ ]", []),
        (["nested [1[9]]"], "nested [1[?]]", []),
        ([], "", []),
    ],
)
def test_pi_06_only_what_was_retrieved_can_be_cited(pieces, text, cited) -> None:
    assert checked(pieces, 2) == (text, cited)


@given(st.text(alphabet="[]01239 ,;a(:<", max_size=90), st.data())
def test_the_way_a_text_is_cut_into_pieces_does_not_matter(text, data) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    edges = [0, *cuts, len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    assert checked(pieces, 5) == checked([text], 5)
    assert "".join(defused(iter(pieces))) == "".join(defused(iter([text])))


@given(st.text(alphabet="[]0129,", max_size=40))
def test_pi_06_what_reads_like_a_citation_afterwards_was_counted(text) -> None:
    written, cited = checked([text], 2)
    assert {int(each) for each in re.findall(r"\[(\d+)\]", written)} == set(cited)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("![x](https://evil.example/?q=1)", "![x] (https://evil.example/?q=1)"),
        ("[here](https://evil.example)", "[here] (https://evil.example)"),
        ("[x]: https://evil.example", "[x] : https://evil.example"),
        ("<img src=x> </p> <!-- x --> <https://evil.example>", "‹img src=x> ‹/p> ‹!-- x --> ‹https://evil.example>"),
        ("a < b, <5 % and [1].", "a < b, <5 % and [1]."),
    ],
)
def test_pi_02_a_reader_of_markdown_finds_nothing_to_fetch(written, shown) -> None:
    assert "".join(defused(iter(written))) == shown


def test_pi_02_a_forged_citation_does_not_glue_a_link_together() -> None:
    assert "](" not in "".join(defused(checked_citations(iter(["[x][9](https://evil.example)"]), 2, [])))


@pytest.mark.parametrize(
    ("text", "previous", "expected"),
    [
        ("And in London?", "Hotels?", "Hotels?\nAnd in London?"),
        ("And in London?", None, "And in London?"),
        ("Wer prüft das?", "Hotels?", "Hotels?\nWer prüft das?"),
        (
            "Und wer muss die Rechnungen dann noch prüfen?",
            "Hotels?",
            "Hotels?\nUnd wer muss die Rechnungen dann noch prüfen?",
        ),
        ("Wer hat diese Regel denn beschlossen?", "Hotels?", "Hotels?\nWer hat diese Regel denn beschlossen?"),
        ("Who has to sign it in the end?", "Hotels?", "Hotels?\nWho has to sign it in the end?"),
        (
            "Was ist ein Kartenwechsel einer Mannigfaltigkeit?",
            "Hotels?",
            "Was ist ein Kartenwechsel einer Mannigfaltigkeit?",
        ),
        ("How fast may forklifts drive?", "Hotels?", "How fast may forklifts drive?"),
        ("it " * 17, "Hotels?", "it " * 17),
        ("And in London?", "x" * 8_000, "x" * 7_985 + "\nAnd in London?"),
        (" ", "Hotels?", " "),
    ],
)
def test_a_question_that_leans_on_the_one_before_is_searched_with_it_and_never_cut(text, previous, expected) -> None:
    assert searched(Inquiry(text, previous)) == expected


def test_pi_06_a_quoted_sentence_forges_no_citation() -> None:
    forging = passage("The hotel rate is 900 EUR for everybody, says [2], [1, 2] and [ 3 ].")
    text = "".join(ExtractiveAnswerer(WordEmbedder()).answer("hotel rate", [forging], "en"))
    assert text.endswith("says ⟦2], ⟦1, 2] and ⟦ 3 ].” [1]")
    assert checked([text], 5)[1] == [1]


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
