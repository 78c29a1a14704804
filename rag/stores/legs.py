"""How two legs become candidates, the same for every engine: one batch, both legs under the same filter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rag.documents import Candidate, Question, SparseVector

MOST_HITS = 8_192
"""So far equal scores are followed; of more than these, the engine chooses which ones it returns."""

DenseVector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """One chunk with its score on one leg; higher is better."""

    chunk_id: str
    score: float


@dataclass(frozen=True, slots=True)
class LegQuery:
    """One search on one leg, best first. The adapter adds the access filter."""

    vector: DenseVector | SparseVector
    limit: int


Ask = Callable[[Sequence[LegQuery]], Sequence[Sequence[Hit]]]
"""Runs searches in one batch: the hits of each, in the order asked."""


def candidates(ask: Ask, question: Question, limit: int) -> list[Candidate]:
    """The best `limit` chunks by dense score, then those that only the lexical leg has among its best `limit`.

    A score is None where the leg has not found the chunk among its best. Equal scores are in order of chunk id. One
    batch is asked, and more only where equal scores cross the cut.
    """
    asked: dict[str, DenseVector | SparseVector] = {}
    if question.dense is not None:
        asked["dense"] = question.dense
    if question.lexical is not None and question.lexical.indices:
        asked["lexical"] = question.lexical
    if limit < 1 or not asked:
        return []
    # One more than wanted shows whether equal scores cross the cut.
    found = ask([LegQuery(vector, limit + 1) for vector in asked.values()])
    legs = {leg: _cut(ask, asked[leg], hits, limit) for leg, hits in zip(asked, found, strict=True)}
    dense, lexical = legs.get("dense", {}), legs.get("lexical", {})
    return [Candidate(each, dense.get(each), lexical.get(each)) for each in dict.fromkeys([*dense, *lexical])]


def _cut(ask: Ask, vector: DenseVector | SparseVector, hits: Sequence[Hit], limit: int) -> dict[str, float]:
    """The best `limit` hits with their scores, whatever order the engine gives to equal ones.

    Which of several equal hits the engine returns depends on how it happens to store them. So those that cross the cut
    are followed to their end, and cut by id. A leg comes out shorter than `limit` only if there is no more on it.
    """
    asked = limit + 1
    while len(hits) == asked < MOST_HITS and hits[limit - 1].score == hits[-1].score:
        asked = min(8 * asked, MOST_HITS)
        (hits,) = ask([LegQuery(vector, asked)])
    return {hit.chunk_id: hit.score for hit in sorted(hits, key=_by_score)[:limit]}


def _by_score(hit: Hit) -> tuple[float, str]:
    return -hit.score, hit.chunk_id
