"""How two legs become candidates with both scores, the same for every engine.

Fusing needs the dense and the lexical score of every candidate, also of one that only the other leg proposed. The order
of the questions below makes that nearly free: IDF over a caller's corpus is the expensive part of the lexical leg, and
an engine computes it once for a batch. So the dense leg goes first, the second batch asks the lexical leg for its best
and for the dense leg's finds, the third scores what only the lexical leg found (docs/decisions/0002-index-search.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rag.documents import Candidate, Question, SparseVector

MOST_HITS = 8_192
"""So far a tie at the cut is followed; beyond, equal scores are cut as the engine returns them."""

DenseVector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """One chunk with its score on one leg; higher is better."""

    chunk_id: str
    score: float


@dataclass(frozen=True, slots=True)
class LegQuery:
    """One search on one leg, best first. `among` restricts it to those chunks. The adapter adds the access filter."""

    vector: DenseVector | SparseVector
    limit: int
    among: frozenset[str] | None = None


Ask = Callable[[Sequence[LegQuery]], Sequence[Sequence[Hit]]]
"""Runs searches in one batch: the hits of each, in the order asked."""


def candidates(ask: Ask, question: Question, limit: int) -> list[Candidate]:
    """The best `limit` chunks by dense score, then those that only the lexical leg has among its best `limit`.

    Every candidate has both scores if both legs were asked; a lexical score is None where no term is shared. Equal
    scores are in order of chunk id, also at the cut.
    """
    dense: dict[str, float] = {}
    lexical: dict[str, float] = {}
    if limit < 1:
        return []
    if question.dense is not None:
        dense = _scores(_best(ask, LegQuery(question.dense, limit)))
    if question.lexical is not None and question.lexical.indices:
        also = LegQuery(question.lexical, len(dense), frozenset(dense)) if dense else None
        lexical = _scores(_best(ask, LegQuery(question.lexical, limit), also))
        if question.dense is not None and (rest := lexical.keys() - dense.keys()):
            dense |= _scores(*ask([LegQuery(question.dense, len(rest), frozenset(rest))]))
    order = dict.fromkeys([*dense, *lexical])
    return [Candidate(each, dense.get(each), lexical.get(each)) for each in order]


def _best(ask: Ask, query: LegQuery, also: LegQuery | None = None) -> list[Hit]:
    """The best hits of `query`, then those of `also`. One more is asked for than wanted, to see a tie at the cut."""
    asked = query.limit + 1
    while True:
        hits, *extra = ask([LegQuery(query.vector, asked), *([also] if also else [])])
        tied = len(hits) == asked and hits[-1].score == hits[query.limit - 1].score
        if not tied or asked >= MOST_HITS:
            break
        asked = min(8 * asked, MOST_HITS)
    ordered = sorted(hits, key=_by_score)
    return [*ordered[: query.limit], *(hit for each in extra for hit in each)]


def _scores(hits: Sequence[Hit]) -> dict[str, float]:
    return {hit.chunk_id: hit.score for hit in hits}


def _by_score(hit: Hit) -> tuple[float, str]:
    return -hit.score, hit.chunk_id
