"""Fusing the legs: a function of the scores alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rag.documents import Candidate
from rag.fusion import fuse

scores = st.none() | st.floats(-100, 100, allow_nan=False)
candidates = st.lists(st.tuples(scores, scores), max_size=30).map(
    lambda rows: [Candidate(f"{at:02}", dense, lexical) for at, (dense, lexical) in enumerate(rows)]
)


def names(found) -> list[str]:
    return [each.chunk_id for each in found]


def test_what_both_legs_like_comes_first() -> None:
    found = [
        Candidate("both", 0.8, 8.0),
        Candidate("dense", 0.9, None),
        Candidate("lexical", None, 9.0),
        Candidate("low", 0.1, 1.0),
    ]
    assert names(fuse(found))[0] == "both"


def test_a_leg_that_found_nothing_has_no_say() -> None:
    found = [Candidate("a", 0.2, None), Candidate("b", 0.9, None), Candidate("c", 0.5, None)]
    assert names(fuse(found)) == ["b", "c", "a"]


@given(candidates)
def test_fusing_keeps_every_candidate_once(found) -> None:
    assert sorted(names(fuse(found))) == sorted(names(found))


@given(candidates, st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_the_order_of_arrival(found, random) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)
    assert names(fuse(shuffled)) == names(fuse(found))
