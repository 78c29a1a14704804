"""IDF of a question's terms, counted over what the caller may read and over nothing else (SC-07).

Counted in the catalog, by governing place, so that a ranking is the one that a service holding only his documents would
give, also while the index still shows passages that he has lost. And put into the question's weights in steps so coarse
that every score is a sum of few bits: the engine adds in the order in which terms first came into its storage, hidden
ones included, and a sum that needs rounding would tell of that order (docs/decisions/0016-term-weights.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rag.documents import WEIGHT_STEP, SparseVector
from rag.ports import Authority, GoverningPlace

LOOKUPS = 10_000
"""Of places times terms; a caller with more readable places has IDF from as many of these, always the same ones."""

HIGHEST_IDF = 17  # of a term in one of ten million passages
MOST_TERMS = 284  # BM25's weights of one passage sum up to that of so many terms at most, however long it is
HIGHEST_WEIGHT = 2.2  # k1 + 1
EXACT_BITS = 24  # of a float32


def weighed(authority: Authority, readable: Sequence[GoverningPlace], question: SparseVector) -> SparseVector:
    """The question's terms, each with its IDF over the passages of these places.

    Raises:
        StoreUnavailable: the catalog does not answer.
    """
    terms = question.indices
    counted = [each.number for each in readable[: max(1, LOOKUPS // (len(terms) + 1))]]
    passages, held = authority.term_counts(counted, terms)
    step = weight_step(len(terms))
    return SparseVector(terms, tuple(in_steps(idf(passages, held.get(each, 0)), step) for each in terms))


def idf(passages: int, held: int) -> float:
    """Inverse document frequency as BM25 has it (Robertson and Zaragoza 2009), with 1 inside to keep it positive."""
    return math.log(1 + (passages - held + 0.5) / (held + 0.5))


def weight_step(terms: int) -> float:
    """The finest power of two in whose multiples every score of a question of so many terms is exact in float32."""
    most = min(max(terms, 1), MOST_TERMS) * HIGHEST_IDF * HIGHEST_WEIGHT / WEIGHT_STEP
    return 2.0 ** -math.floor(EXACT_BITS - math.log2(most))


def in_steps(value: float, step: float) -> float:
    """The multiple of `step` nearest to `value`, never zero."""
    return max(1, round(value / step)) * step
