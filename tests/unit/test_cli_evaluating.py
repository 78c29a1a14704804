"""`kustos eval service` sends any number of judged queries, as fast as it may, and measures as one run would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete

from api.cli.evaluating import MOST_BYTES, batches, measured
from api.schemas import MOST_QUERIES
from eval.datasets import Judgements, Query
from eval.measures import mean_measures
from rag.errors import BadInput, Unavailable
from rag.stores.catalog_schema import rate_buckets
from tests.library import SALES, Library, Written, open_library, person

HOTELS = Written("hotels.txt", ["A hotel may cost 120 EUR."], allow=frozenset({SALES}))
TRAINS = Written("trains.txt", ["A train may cost 80 EUR."], allow=frozenset({SALES}))
EVE = person("eve", groups=["/sales"], duties=["evaluator"])


def judgements(number: int, relevant: str = HOTELS.id) -> Judgements:
    """Every third query asks for trains."""
    queries = [Query(str(at), "train" if at % 3 == 0 else "hotel") for at in range(number)]
    return Judgements("made", tuple(queries), {each.id: {relevant: 1, "other": 0} for each in queries})


def opened(home: Path, **limits: int) -> tuple[Library, httpx.Client]:
    library = open_library(home, HOTELS, TRAINS, **limits)
    return library, cast(httpx.Client, TestClient(library.app(), base_url="http://127.0.0.1"))


def report(client: httpx.Client, given: Judgements, **more: Any) -> dict[str, Any]:
    return measured(client, lambda: EVE, given, "hybrid", lambda _: None, **more)


def test_a_run_in_portions_measures_as_one(tmp_path) -> None:
    _, client = opened(tmp_path)
    given = judgements(2 * MOST_QUERIES + 7)
    told = report(client, given)
    found = {each.id: [TRAINS.id, HOTELS.id] if each.text == "train" else [HOTELS.id] for each in given.queries}
    assert told["queries"] == 2 * MOST_QUERIES + 7
    assert told["measures"] == mean_measures(given.relevance, found)
    assert 0.5 < told["measures"]["MRR@10"] < 1


def test_it_waits_as_long_as_the_limits_say(tmp_path) -> None:
    library, client = opened(tmp_path, requests_per_subject=MOST_QUERIES + 2)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        with library.kustos.records.catalog.writing() as connection:
            connection.execute(delete(rate_buckets))  # the bucket is full again

    assert report(client, judgements(MOST_QUERIES + 5), wait=wait)["queries"] == MOST_QUERIES + 5
    assert len(waited) == 1
    assert 1 <= waited[0] <= 10


class Slow:
    """A service that bears two queries at a time, and notes how many it was sent."""

    def __init__(self, bears: int = 2) -> None:
        self.bears = bears
        self.sent: list[int] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        names = list(json.loads(request.content)["queries"])
        self.sent.append(len(names))
        if len(names) > self.bears:
            error = {"message": "m", "type": "server_error", "code": "overloaded", "param": None}
            return httpx.Response(503, json={"error": error}, headers={"Retry-After": "5"})
        found = {each: {"nDCG@10": 1.0, "R@10": 1.0, "MRR@10": int(each) / 10} for each in names}
        return httpx.Response(200, json={"by_query": found, "model": "m"})


def test_where_the_service_is_slow_it_is_sent_fewer_queries_at_a_time() -> None:
    slow, waited = Slow(), list[float]()
    client = httpx.Client(transport=httpx.MockTransport(slow), base_url="http://x")
    told = report(client, judgements(5), wait=waited.append)
    assert list(told["by_query"]) == ["0", "1", "2", "3", "4"]
    assert told["measures"]["MRR@10"] == 0.2
    assert (slow.sent, waited) == ([5, 2, 3, 1, 2], [5.0, 5.0])


def test_where_one_query_is_too_much_it_ends() -> None:
    client = httpx.Client(transport=httpx.MockTransport(Slow(bears=0)), base_url="http://x")
    with pytest.raises(Unavailable):
        report(client, judgements(3), wait=lambda _: None)


def test_a_refusal_ends_it(tmp_path) -> None:
    _, client = opened(tmp_path)
    with pytest.raises(BadInput, match="role 'evaluator'"):
        measured(client, lambda: person("ann"), judgements(1), "hybrid", lambda _: None)


def test_portions_are_small_enough_and_hold_what_is_relevant() -> None:
    long = "x" * 3_000
    queries = tuple(Query(str(at), "text") for at in range(60))
    graded = {each.id: {f"{at}{long}": at % 2 for at in range(20)} for each in queries}
    given = list(batches(Judgements("made", queries, graded)))
    assert [each for texts, _ in given for each in texts] == [each.id for each in queries]
    assert all(len(str(qrels)) < 2 * MOST_BYTES for _, qrels in given)
    assert len(given) > 2
    assert {grade for _, qrels in given for each in qrels.values() for grade in each.values()} == {1}


def test_a_query_to_which_nothing_is_relevant_still_counts() -> None:
    ((_, qrels),) = batches(Judgements("made", (Query("q", "text"),), {"q": {"a": 0, "b": -1}}))
    assert qrels == {"q": {"a": 0}}
