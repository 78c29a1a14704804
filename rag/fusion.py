"""One ranking out of the two legs of a hybrid search."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum

from rag.documents import Candidate


def fuse(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates in order of their summed z-scores, best first (docs/decisions/0006-fusion.md).

    Both scores are brought to mean 0 and deviation 1 over all candidates. One that only the lexical leg found gets the
    lowest dense score that was found, since every passage has some similarity; one that only the dense leg found gets
    the lexical score 0, which is what BM25 gives to a text without a word of the question. A leg that found nothing has
    no say. Ties are broken by chunk id, so the order does not depend on how the engine happens to store the points.
    """
    lowest = min((each.dense for each in candidates if each.dense is not None), default=0.0)
    dense = _standardised([lowest if each.dense is None else each.dense for each in candidates])
    lexical = _standardised([each.lexical or 0.0 for each in candidates])
    totals = [a + b for a, b in zip(dense, lexical, strict=True)]
    order = sorted(range(len(candidates)), key=lambda at: (-totals[at], candidates[at].chunk_id))
    return [candidates[at] for at in order]


def _standardised(scores: Sequence[float]) -> list[float]:
    if not scores:
        return []
    # fsum rounds once, so the result does not depend on the order of the candidates either.
    mean = fsum(scores) / len(scores)
    deviation = (fsum((score - mean) ** 2 for score in scores) / len(scores)) ** 0.5
    return [(score - mean) / deviation if deviation else 0.0 for score in scores]
