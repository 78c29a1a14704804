"""An evaluator measures what he reads himself: through the gate, on record, within limits, and of the rest nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.schemas import MOST_QUERIES
from eval.judged import PATIENCE_S, Benchmark, evaluate_as
from eval.measures import mean_measures
from rag.access import principals
from rag.access.acl import Acl
from rag.access.audit import Action
from rag.access.scope import Caller
from rag.errors import Overloaded
from rag.retrieval import Mode
from tests.library import REALM, SALES, TENANT, CurrentSubjects, Library, Written, open_library, person

HOTELS = Written("hotels.txt", ["A hotel may cost 120 EUR.", "The hotel is paid by card."], allow=frozenset({SALES}))
TRAINS = Written("trains.txt", ["A train may cost 80 EUR."], allow=frozenset({SALES}))
BOARD = Written("board.txt", ["The hotel of the board."], allow=frozenset({principals.group(REALM, "/board")}))
ABSENT = "00000000-0000-4000-8000-000000000000"
EVE = person("eve", groups=["/sales"], duties=["evaluator"])
NOTHING = {"nDCG@10": 0.0, "R@10": 0.0, "MRR@10": 0.0}
ALL = {"nDCG@10": 1.0, "R@10": 1.0, "MRR@10": 1.0}


@pytest.fixture
def library(tmp_path) -> Library:
    return open_library(tmp_path, HOTELS, TRAINS, BOARD)


@pytest.fixture
def client(library: Library) -> TestClient:
    return TestClient(library.app(), base_url="http://127.0.0.1")


def evaluated(client: TestClient, judged: dict[str, int], text: str = "hotel", headers: dict[str, str] = EVE) -> Any:
    body = {"queries": {"q": text}, "qrels": {"q": judged}}
    return client.post("/v1/evaluations", json=body, headers=headers)


def test_an_evaluator_gets_the_measures_of_kustos_eval(client: TestClient) -> None:
    body = {
        "queries": {"q1": "hotel card", "q2": "train", "q3": "hotel"},
        "qrels": {"q1": {HOTELS.uri: 2}, "q2": {TRAINS.id: 1, ABSENT: 1}, "q3": {TRAINS.id: 1}},
    }
    told = client.post("/v1/evaluations", json=body, headers=EVE).json()
    found = {"q1": [HOTELS.uri, TRAINS.id], "q2": [TRAINS.id, HOTELS.id], "q3": [HOTELS.id, TRAINS.id]}
    assert told["measures"] == mean_measures(body["qrels"], found)
    assert told["by_query"]["q1"] == ALL
    assert told["by_query"]["q2"]["R@10"] == 0.5
    assert told["by_query"]["q3"]["MRR@10"] == 0.5
    assert (told["queries"], told["retriever"]) == (3, "hybrid")


def test_rm_15_the_duty_opens_nothing_that_its_holder_does_not_read(client: TestClient) -> None:
    judged = {HOTELS.id: 1}
    assert evaluated(client, judged).json()["measures"] == ALL
    assert evaluated(client, judged, headers=person("ed", duties=["evaluator"])).json()["measures"] == NOTHING
    assert evaluated(client, judged, headers=person("ann", groups=["/sales"])).status_code == 403


@pytest.mark.parametrize("name", ["id", "uri"])
def test_sc_01_a_judged_document_that_is_hidden_is_one_that_is_not_there(client: TestClient, name: str) -> None:
    hidden = evaluated(client, {getattr(BOARD, name): 1, HOTELS.id: 1})
    absent = evaluated(client, {ABSENT: 1, HOTELS.id: 1})
    assert hidden.content == absent.content
    assert hidden.json()["by_query"]["q"]["R@10"] == 0.5
    seen = person("bob", groups=["/board"], duties=["evaluator"])
    assert evaluated(client, {getattr(BOARD, name): 1}, headers=seen).json()["measures"] == ALL


def test_fb_14_a_right_that_the_catalog_took_away_counts_no_more(client: TestClient, library: Library) -> None:
    library.regrant(HOTELS, Acl.nobody())
    assert evaluated(client, {HOTELS.id: 1}).json()["measures"] == NOTHING


@pytest.fixture
def subjects() -> Changing:
    eve = principals.user(REALM, "eve")
    return Changing({eve: frozenset({eve, SALES, principals.client_role(REALM, "kustos", "evaluator")})})


def test_rc_05_who_loses_a_right_while_he_measures_gets_no_figures(library: Library, subjects: Changing) -> None:
    client, key = with_key(library, subjects)
    assert evaluated(client, {HOTELS.id: 1}, headers=key).json()["measures"] == ALL
    subjects.losing = frozenset({SALES})
    assert evaluated(client, {HOTELS.id: 1}, headers=key).status_code == 503
    assert evaluated(client, {HOTELS.id: 1}, headers=key).json()["measures"] == NOTHING


def test_rc_05_who_comes_to_be_denied_while_he_measures_gets_no_figures(library: Library, subjects: Changing) -> None:
    suspended = principals.group(REALM, "/suspended")
    library.regrant(HOTELS, Acl(allow=frozenset({SALES}), deny=frozenset({suspended})))
    client, key = with_key(library, subjects)
    assert evaluated(client, {HOTELS.id: 1}, headers=key).json()["measures"] == ALL
    subjects.gaining = frozenset({suspended})
    assert evaluated(client, {HOTELS.id: 1}, headers=key).status_code == 503
    assert evaluated(client, {HOTELS.id: 1}, headers=key).json()["measures"] == NOTHING


def with_key(library: Library, subjects: Changing) -> tuple[TestClient, dict[str, str]]:
    client = TestClient(library.app(subjects=subjects), base_url="http://127.0.0.1")
    made = client.post("/v1/keys", json={"name": "x", "scopes": ["evaluate"]}, headers=EVE).json()
    return client, {"X-API-Key": made["key"]}


class Changing(CurrentSubjects):
    """Accounts that lose `losing` and come to hold `gaining` once somebody has been told what they hold."""

    losing: frozenset[str] = frozenset()
    gaining: frozenset[str] = frozenset()

    def caller(self, subject: str) -> Caller:
        found = super().caller(subject)
        self.held[subject] = self.held[subject] - self.losing | self.gaining
        return found


def test_each_query_is_on_record_with_the_documents_that_counted_and_without_a_passage(
    client: TestClient, library: Library
) -> None:
    body = {"queries": {"a": "hotel", "b": "train"}, "qrels": {"a": {HOTELS.id: 1}, "b": {BOARD.id: 1}}}
    reply = client.post("/v1/evaluations", json=body, headers=EVE)
    trail = library.kustos.records.trail
    records = [each for each in trail.entries() if each.action == Action.EVALUATE]
    assert {each.request_id for each in records} == {reply.headers["x-request-id"]}
    assert len(records) == 2
    seen = {each.document: each.passages for each in trail.what_saw(principals.user(REALM, "eve")).sights}
    assert seen == {HOTELS.id: set(), TRAINS.id: set()}


def test_sa_05_each_query_counts_as_a_request(tmp_path) -> None:
    library = open_library(tmp_path, HOTELS, requests_per_subject=5)
    client = TestClient(library.app(), base_url="http://127.0.0.1")

    def ask(queries: int) -> Any:
        names = [str(each) for each in range(queries)]
        body = {"queries": dict.fromkeys(names, "hotel"), "qrels": {each: {HOTELS.id: 1} for each in names}}
        return client.post("/v1/evaluations", json=body, headers=EVE)

    assert ask(2).headers["ratelimit"].startswith('"subject";r=3')
    refused = ask(5)
    assert refused.status_code == 429
    assert 12 <= int(refused.headers["retry-after"]) <= 24, "two are left, and four are wanted beside the request"
    never = ask(6)
    assert (never.status_code, never.json()["error"]["code"]) == (400, "bad_input")
    assert "6 requests" in never.text, "waiting would not help"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"queries": {str(at): "x" for at in range(MOST_QUERIES + 1)}, "qrels": {}}, 422),
        ({"queries": {}, "qrels": {}}, 422),
        ({"queries": {"q": "x"}, "qrels": {}}, 400),
        ({"queries": {"q": "x"}, "qrels": {"q": {"d": 1}, "p": {"d": 1}}}, 400),
        ({"queries": {"q": "x"}, "qrels": {"q": {}}}, 422),
        ({"queries": {"q": " "}, "qrels": {"q": {"d": 1}}}, 400),
        ({"queries": {"q": "x" * 8_001}, "qrels": {"q": {"d": 1}}}, 422),
        ({"queries": {"q": "x"}, "qrels": {"q": {"d": 1_001}}}, 422),
        ({"queries": {"q": "x"}, "qrels": {"q": {"d": -1}}}, 422),
        ({"queries": {"q": "x"}, "qrels": {"q": {"d": "1"}}}, 422),
        ({"queries": {"q": "x"}, "qrels": {"q": {"d\0": 1}}}, 422),
        ({"queries": {"q\0": "x"}, "qrels": {"q\0": {"d": 1}}}, 422),
        ({"queries": {"q\ud800": "x"}, "qrels": {"q\ud800": {"d": 1}}}, 422),
        ({"queries": {"q": "x"}, "qrels": {"q": {str(at): 1 for at in range(1_001)}}}, 422),
        ({"queries": {"q": "x"}, "qrels": {"q": {"d": 1}}, "retriever": "raw"}, 422),
        ({"queries": {"q": "x"}, "qrels": {"q": {"d": 1}}, "as": "ann"}, 422),
    ],
    ids=lambda value: str(value)[:60],
)
def test_sa_08_what_is_too_much_or_odd_is_refused_before_anything_is_asked(
    client: TestClient, library: Library, body: dict[str, Any], status: int
) -> None:
    sent = json.dumps(body)
    headers = {**EVE, "Content-Type": "application/json"}
    assert client.post("/v1/evaluations", content=sent, headers=headers).status_code == status
    assert [each for each in library.kustos.records.trail.entries() if each.action == Action.EVALUATE] == []


def test_sa_07_a_run_that_takes_too_long_is_given_up(library: Library) -> None:
    ann = principals.user(REALM, "ann")
    caller = Caller(TENANT, ann, frozenset({ann, SALES}))
    benchmark = Benchmark({"a": "hotel", "b": "hotel"}, {"a": {HOTELS.id: 1}, "b": {HOTELS.id: 1}})
    times = iter([0.0, 0.0, PATIENCE_S + 1])
    with pytest.raises(Overloaded, match="1 of 2"):
        evaluate_as(caller, library.kustos.retrieval, benchmark, Mode.HYBRID, "r", clock=lambda: next(times))
