"""One ranking out of the two legs of a hybrid search."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum

from rag.documents import Candidate


def fuse(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates in order of their summed z-scores, best first.

    Each leg's scores are brought to mean 0 and deviation 1 over the candidates that it found; a candidate that a leg
    did not find gets that leg's lowest score. A leg that found nothing has no say. Ties are broken by chunk id, so the
    order does not depend on how the engine happened to store the points.
    """
    dense = _standardised([each.dense for each in candidates])
    lexical = _standardised([each.lexical for each in candidates])
    totals = [a + b for a, b in zip(dense, lexical, strict=True)]
    order = sorted(range(len(candidates)), key=lambda at: (-totals[at], candidates[at].chunk_id))
    return [candidates[at] for at in order]


def _standardised(scores: Sequence[float | None]) -> list[float]:
    found = [score for score in scores if score is not None]
    if not found:
        return [0.0] * len(scores)
    # fsum rounds once, so the result does not depend on the order of the candidates either.
    mean = fsum(found) / len(found)
    deviation = (fsum((score - mean) ** 2 for score in found) / len(found)) ** 0.5 or 1.0
    lowest = min(found)
    return [((lowest if score is None else score) - mean) / deviation for score in scores]
