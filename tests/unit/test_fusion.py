"""Fusing the legs: a function of the scores alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rag.documents import Candidate
from rag.fusion import fuse as fuse_for


def fuse(found):
    return fuse_for(found, "en", lambda _: True)


scores = st.none() | st.floats(-100, 100, allow_nan=False)
candidates = st.lists(st.tuples(scores, scores), max_size=30).map(
    lambda rows: [Candidate(f"{at:02}", dense, lexical, "en") for at, (dense, lexical) in enumerate(rows)]
)


def names(found) -> list[str]:
    return [each.chunk_id for each in found]


def test_what_both_legs_like_comes_first() -> None:
    found = [
        Candidate("both", 0.85, 8.5, "en"),
        Candidate("dense", 0.9, None, "en"),
        Candidate("lexical", 0.2, 9.0, "en"),
        Candidate("low", 0.1, 1.0, "en"),
    ]
    assert names(fuse(found))[0] == "both"


def test_a_leg_that_found_nothing_has_no_say() -> None:
    found = [Candidate(name, score, None, "en") for name, score in (("a", 0.2), ("b", 0.9), ("c", 0.5))]
    assert names(fuse(found)) == ["b", "c", "a"]


@given(candidates)
def test_fusing_keeps_every_candidate_once(found) -> None:
    assert sorted(names(fuse(found))) == sorted(names(found))


@given(candidates, st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_the_order_of_arrival(found, random) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)
    assert names(fuse(shuffled)) == names(fuse(found))


GERMAN_AND_ENGLISH = [
    Candidate("de", 0.9, None, "de"),
    Candidate("en", 0.8, 9.0, "en"),
    Candidate("en-2", 0.2, 8.0, "en"),
    Candidate("de-2", 0.1, None, "de"),
]


def test_words_that_a_text_in_another_language_cannot_have_do_not_count_against_it() -> None:
    assert names(fuse_for(GERMAN_AND_ENGLISH, "en", lambda _: True)) == ["de", "en", "en-2", "de-2"]


def test_an_embedder_that_does_not_know_the_language_has_no_say() -> None:
    found = [Candidate("near", 0.9, 1.0, "de"), Candidate("words", 0.1, 9.0, "de")]
    assert names(fuse_for(found, "de", lambda language: language == "en")) == ["words", "near"]
    assert names(fuse_for(found, "en", lambda language: language == "en")) == ["words", "near"]


def test_an_embedder_alone_ranks_even_what_it_does_not_know() -> None:
    found = [Candidate("near", 0.9, None, "de"), Candidate("far", 0.1, None, "de")]
    assert names(fuse_for(found, "de", lambda _: False)) == ["near", "far"]
