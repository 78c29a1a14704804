"""Retrieval measures by ir-measures, the only module that knows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import ir_measures
from ir_measures import RR, R, nDCG

MEASURES = {"nDCG@10": nDCG @ 10, "R@10": R @ 10, "MRR@10": RR @ 10}
DIGITS = 4

Relevance = Mapping[str, Mapping[str, int]]
"""Query id to document id to grade."""
Rankings = Mapping[str, Sequence[str]]
"""Query id to document ids, best first, without duplicates."""


def mean_measures(relevance: Relevance, rankings: Rankings) -> dict[str, float]:
    """nDCG@10, R@10 and MRR@10, means over every judged query, rounded to 4 digits.

    A query without a ranking counts as zero; a ranking without judgements does not count. nDCG with the grade as gain
    and log2 of the rank plus one as discount, as trec_eval has it.
    """
    judgements = [
        ir_measures.Qrel(query, document, grade)
        for query, graded in relevance.items()
        for document, grade in graded.items()
    ]
    found = [scored for query in relevance for scored in _scored(query, rankings.get(query, ()))]
    values = ir_measures.calc_aggregate(MEASURES.values(), judgements, found)
    return {name: round(float(values[measure]), DIGITS) for name, measure in MEASURES.items()}


def _scored(query: str, ranking: Sequence[str]) -> Iterable[ir_measures.ScoredDoc]:
    """The ranking as scores, because ties of equal scores would be broken by document id."""
    return (ir_measures.ScoredDoc(query, document, float(-rank)) for rank, document in enumerate(ranking))
