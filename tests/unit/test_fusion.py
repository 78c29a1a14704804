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


@given(candidates, st.floats(0.5, 4), st.floats(-5, 5))
def test_the_scale_of_a_leg_does_not_matter(found, factor, shift) -> None:
    rescaled = [
        Candidate(each.chunk_id, each.dense, None if each.lexical is None else round(each.lexical, 3) * factor + shift)
        for each in found
    ]
    rounded = [
        Candidate(each.chunk_id, each.dense, None if each.lexical is None else round(each.lexical, 3)) for each in found
    ]
    first = names(fuse(rescaled))[:1]
    assert first == names(fuse(rounded))[:1] or _tied(rounded, first[0])


def _tied(found, name) -> bool:
    """Whether rounding alone decides between `name` and the winner."""
    best = fuse(found)[0].chunk_id
    return abs(_total(found, best) - _total(found, name)) < 1e-6


def _total(found, name) -> float:
    from rag.fusion import _standardised

    at = [each.chunk_id for each in found].index(name)
    return _standardised([each.dense for each in found])[at] + _standardised([each.lexical for each in found])[at]
