"""IDF is counted over what the caller may read, and every score that it leads to is exact in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.access.acl import Acl
from rag.access.places import PlacesNow
from rag.access.principals import Principal
from rag.access.scope import AccessScope
from rag.access.term_weights import HIGHEST_IDF, HIGHEST_WEIGHT, LOOKUPS, idf, in_steps, weighed, weight_step
from rag.documents import WEIGHT_STEP, SparseVector
from rag.ports import GoverningPlace

ANN, STAFF = Principal("kc:r:user:ann"), Principal("kc:r:role:staff")
WHO = AccessScope("main", "ann", frozenset({ANN, STAFF}))


@dataclass
class Counts:
    """Places with rights, and how many of their passages hold each term; -1 counts all of them."""

    of: dict[str, tuple[Acl, Mapping[int, int]]]
    revision: int = 1
    asked: list[Sequence[int]] = field(default_factory=list)
    read: int = 0

    def rights_revision(self, tenant: str) -> int:
        return self.revision

    def governing_places(self, tenant: str) -> tuple[int, Sequence[GoverningPlace]]:
        self.read += 1
        return self.revision, [GoverningPlace(name, at, acl) for at, (name, (acl, _)) in enumerate(self.of.items())]

    def term_counts(self, places: Sequence[int], terms: Sequence[int]) -> tuple[int, Mapping[int, int]]:
        self.asked.append(places)
        counted = [counts for at, (_, counts) in enumerate(self.of.values()) if at in places]
        total = {term: sum(each.get(term, 0) for each in counted) for term in (*terms, -1)}
        return total.pop(-1), total


def weights(counts: Counts, *terms: int) -> list[float]:
    asked = SparseVector(terms, (1.0,) * len(terms))
    readable = PlacesNow(counts).of(WHO.tenant).readable(WHO)  # type: ignore[arg-type]  # of the authority, these three
    return list(weighed(counts, readable, asked).values)  # type: ignore[arg-type]


def test_sc_07_only_places_that_the_caller_may_read_are_counted() -> None:
    readable = {"a": (Acl.of({ANN}), {-1: 10, 1: 5}), "b": (Acl.of({STAFF}), {-1: 30, 1: 5, 2: 1})}
    hidden = {
        "c": (Acl.of({Principal("kc:r:user:bob")}), {-1: 1_000, 1: 1_000}),
        "d": (Acl.of({ANN}, {STAFF}), {-1: 1_000, 2: 1_000}),
        "e": (Acl.nobody(), {-1: 1_000, 3: 1_000}),
    }
    expected = [in_steps(idf(40, held), weight_step(3)) for held in (10, 1, 0)]
    assert weights(Counts(readable), 1, 2, 3) == weights(Counts({**hidden, **readable}), 1, 2, 3) == expected


def test_rc_09_a_right_that_was_taken_away_is_counted_no_more_with_the_next_revision() -> None:
    counts = Counts({"a": (Acl.of({ANN}), {-1: 10, 1: 5}), "b": (Acl.of({ANN}), {-1: 10, 1: 10})})
    places = PlacesNow(counts)  # type: ignore[arg-type]  # of the authority, these two
    places.of("main")
    assert [each.id for each in places.of("main").readable(WHO)] == ["a", "b"]
    assert counts.read == 1
    counts.of["b"], counts.revision = (Acl.nobody(), {-1: 10, 1: 10}), 2
    assert [each.id for each in places.of("main").readable(WHO)] == ["a"]


def test_who_is_only_denied_is_named_too_so_that_the_index_leaves_out_what_he_may_not_read() -> None:
    counts = Counts({"a": (Acl.of({ANN}, {STAFF}), {}), "b": (Acl.nobody(), {})})
    other = Principal("kc:r:group:/named/nowhere")
    named = PlacesNow(counts).of("main").named  # type: ignore[arg-type]
    assert AccessScope("main", "ann", WHO.principals | {other}).limited_to(named) == WHO


def test_sc_07_of_very_many_places_always_the_same_ones_are_counted_whatever_is_hidden_between() -> None:
    readable = {f"{at:05}": (Acl.of({ANN}), {-1: at + 1, 1: 1}) for at in range(LOOKUPS)}
    hidden = {f"{at:05}x": (Acl.of({Principal("x")}), {-1: 9, 1: 9}) for at in range(LOOKUPS)}
    counts = Counts(dict(sorted((readable | hidden).items())))
    assert weights(counts, 1) == weights(Counts(readable), 1)
    assert len(counts.asked[0]) == LOOKUPS // 2


def test_a_caller_who_may_read_nothing_is_asked_about_nothing() -> None:
    counts = Counts({"a": (Acl.nobody(), {-1: 5, 1: 5})})
    assert weights(counts, 1) == [in_steps(idf(0, 0), weight_step(1))]
    assert counts.asked == [[]]


@pytest.mark.parametrize(("held", "expected"), [(0, 5.31), (1, 4.21), (10, 2.26), (50, 0.69), (100, 0.005)])
def test_idf_falls_with_the_passages_that_hold_a_term_and_stays_positive(held: int, expected: float) -> None:
    assert idf(100, held) == pytest.approx(expected, abs=0.01)


held = st.integers(1, round(HIGHEST_WEIGHT / WEIGHT_STEP)).map(lambda each: each * WEIGHT_STEP)


@given(st.lists(st.tuples(held, st.floats(0, HIGHEST_IDF)), min_size=1, max_size=284), st.randoms())
def test_sc_07_a_score_is_exact_in_whatever_order_it_is_added(pairs, order) -> None:
    step = weight_step(len(pairs))
    products = [(weight, in_steps(asked, step)) for weight, asked in pairs]
    exact = sum(weight * asked for weight, asked in products)
    for _ in range(3):
        order.shuffle(products)
        total = np.float32(0)
        for weight, asked in products:
            total += np.float32(weight) * np.float32(asked)
        assert total == exact


def test_a_long_question_still_tells_rare_words_from_common_ones() -> None:
    assert [weight_step(number) for number in (1, 8, 30, 284, 5_000)] == [1 / 512, 1 / 64, 1 / 16, 1 / 2, 1 / 2]
