"""Retrieval measures by ir-measures, the only module that knows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

import ir_measures
from ir_measures import RR, R, nDCG

MEASURES = {"nDCG@10": nDCG @ 10, "R@10": R @ 10, "MRR@10": RR @ 10}
DIGITS = 4

Relevance = Mapping[str, Mapping[str, int]]
"""Query id to document id to grade."""
Rankings = Mapping[str, Sequence[str]]
"""Query id to document ids, best first, without duplicates."""
ByQuery = Mapping[str, Mapping[str, float]]
"""Query id to name of a measure to its value, not rounded."""


def mean_measures(relevance: Relevance, rankings: Rankings) -> dict[str, float]:
    """nDCG@10, R@10 and MRR@10, means over every judged query, rounded to 4 digits.

    A query without a ranking counts as zero; a ranking without judgements does not count. nDCG with the grade as gain
    and log2 of the rank plus one as discount, as trec_eval has it.
    """
    return means(measures_by_query(relevance, rankings))


def means(values: ByQuery) -> dict[str, float]:
    """Means over at least one query, rounded to 4 digits."""
    return {name: round(fmean(each[name] for each in values.values()), DIGITS) for name in MEASURES}


def measures_by_query(relevance: Relevance, rankings: Rankings) -> dict[str, dict[str, float]]:
    """The measures of every judged query, as `mean_measures` takes the means of them."""
    judgements = [
        ir_measures.Qrel(query, document, grade)
        for query, graded in relevance.items()
        for document, grade in graded.items()
    ]
    found = [scored for query in relevance for scored in _scored(query, rankings.get(query, ()))]
    names = {measure: name for name, measure in MEASURES.items()}
    values = {query: dict.fromkeys(MEASURES, 0.0) for query in relevance}
    for each in ir_measures.iter_calc(MEASURES.values(), judgements, found):
        values[each.query_id][names[each.measure]] = float(each.value)
    return values


def _scored(query: str, ranking: Sequence[str]) -> Iterable[ir_measures.ScoredDoc]:
    """The ranking as scores, because ties of equal scores would be broken by document id."""
    return (ir_measures.ScoredDoc(query, document, float(-rank)) for rank, document in enumerate(ranking))
