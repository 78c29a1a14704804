"""The cut of a leg, over an engine that returns equal scores in any order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.documents import Question, SparseVector
from rag.stores.legs import MOST_HITS, Hit, LegQuery, candidates

QUESTION = Question((1.0,), SparseVector((1,), (1.0,)), "en")


@dataclass
class Engine:
    """Both legs score alike. Which of equal hits come first is another matter with each question."""

    scores: Sequence[float]
    batches: list[list[int]] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    def ask(self, queries: Sequence[LegQuery]) -> list[list[Hit]]:
        self.batches.append([each.limit for each in queries])
        hits = [Hit(f"{number:05}", score) for number, score in enumerate(self.scores)]
        return [sorted(hits, key=self._order)[: each.limit] for each in queries]

    def best(self, limit: int) -> list[str]:
        return [each.chunk_id for each in candidates(self.ask, QUESTION, limit)]

    def _order(self, hit: Hit) -> tuple[float, float]:
        return -hit.score, self.chance.random()


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0]), max_size=60), st.integers(1, 20))
def test_a_leg_is_full_and_the_same_each_time_whatever_is_equal(scores: list[float], limit: int) -> None:
    ranked = sorted(range(len(scores)), key=lambda number: (-scores[number], number))
    assert Engine(scores).best(limit) == [f"{number:05}" for number in ranked[:limit]]


@pytest.mark.parametrize("scores", [[*range(500)], [1.0] * 100, [*range(200, 100, -1), *[1.0] * 400]], ids=len)
def test_where_nothing_equal_crosses_the_cut_one_batch_is_asked(scores: list[float]) -> None:
    engine = Engine(scores)
    assert len(engine.best(100)) == 100
    assert engine.batches == [[101, 101]]


def test_more_equal_scores_than_are_followed_still_fill_the_leg() -> None:
    engine = Engine([2.0, *[1.0] * (MOST_HITS + 10)])
    assert len(engine.best(50)) >= 50
    assert max(map(max, engine.batches)) == MOST_HITS


def test_a_cut_beyond_what_is_followed_is_asked_for_once() -> None:
    engine = Engine([1.0] * (MOST_HITS + 10))
    assert len(engine.best(MOST_HITS + 1)) >= MOST_HITS + 1
    assert len(engine.batches) == 1
