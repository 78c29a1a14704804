"""The measures against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from eval.measures import MEASURES, mean_measures, means, measures_by_query

DISCOUNT_2 = 1 / math.log2(3)
DISCOUNT_3 = 1 / math.log2(4)

CASES = {
    "found first": ({"q": {"a": 1}}, {"q": ["a", "b"]}, 1.0, 1.0, 1.0),
    "found second": ({"q": {"a": 1}}, {"q": ["b", "a"]}, DISCOUNT_2, 1.0, 0.5),
    "one of two": ({"q": {"a": 1, "b": 1}}, {"q": ["a", "x"]}, 1 / (1 + DISCOUNT_2), 0.5, 1.0),
    "grades are gains": (
        {"q": {"a": 1, "b": 3}},
        {"q": ["a", "x", "b"]},
        (1 + 3 * DISCOUNT_3) / (3 + DISCOUNT_2),
        1.0,
        1.0,
    ),
    "grade 0 is not relevant": ({"q": {"a": 0, "b": 1}}, {"q": ["a", "b"]}, DISCOUNT_2, 1.0, 0.5),
    "rank 10 counts": ({"q": {"a": 1}}, {"q": [*"bcdefghij", "a"]}, 1 / math.log2(11), 1.0, 0.1),
    "rank 11 does not": ({"q": {"a": 1}}, {"q": [*"bcdefghijk", "a"]}, 0.0, 0.0, 0.0),
    "a forgotten query counts as zero": ({"q": {"a": 1}, "r": {"a": 1}}, {"q": ["a"]}, 0.5, 0.5, 0.5),
    "an empty ranking counts as zero": ({"q": {"a": 1}, "r": {"a": 1}}, {"q": ["a"], "r": []}, 0.5, 0.5, 0.5),
    "a query without judgements does not count": ({"q": {"a": 1}}, {"q": ["a"], "r": ["b"]}, 1.0, 1.0, 1.0),
}


@pytest.mark.parametrize(("relevance", "rankings", "ndcg", "recall", "mrr"), CASES.values(), ids=CASES.keys())
def test_measures_agree_with_the_formula(
    relevance: dict[str, dict[str, int]], rankings: dict[str, list[str]], ndcg: float, recall: float, mrr: float
) -> None:
    expected = {"nDCG@10": round(ndcg, 4), "R@10": round(recall, 4), "MRR@10": round(mrr, 4)}
    assert mean_measures(relevance, rankings) == expected


@pytest.mark.parametrize(("relevance", "rankings"), [case[:2] for case in CASES.values()], ids=CASES.keys())
def test_each_judged_query_has_measures_and_their_means_are_those_of_all(
    relevance: dict[str, dict[str, int]], rankings: dict[str, list[str]]
) -> None:
    values = measures_by_query(relevance, rankings)
    assert values.keys() == relevance.keys()
    assert all(each.keys() == MEASURES.keys() for each in values.values())
    assert means(values) == mean_measures(relevance, rankings)
