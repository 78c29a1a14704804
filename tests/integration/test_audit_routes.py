"""What auditors ask over HTTP, what that leaves in the audit, and that nobody else gets it."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient

from rag.access.acl import Acl
from rag.access.audit_chain import Entry, Seal
from rag.access.principals import EVERYONE_IN_TENANT
from tests.library import OPERATOR, SALES, Library, NamedSubjects, Written, open_library, person

PLAN = Written("plan.txt", ["The sales plan for hotels.", "Its second part."], allow=frozenset({SALES}), title="Secret")
OPEN = Written("open.txt", ["The canteen opens at eleven."], allow=frozenset({EVERYONE_IN_TENANT}))
ANN, AUDITOR = person("ann", groups=["/sales"]), person("aud", duties=["auditor"])
ANN_TOO = person("anna", groups=["/sales"], duties=["auditor"])
KEY = {"Authorization": f"Bearer {OPERATOR.key}"}
SUBJECT = "kc:acme:user:ann"


@pytest.fixture
def library(tmp_path) -> Library:
    return open_library(tmp_path / "home", PLAN)


@pytest.fixture
def client(library) -> TestClient:
    return TestClient(library.app(), base_url="http://127.0.0.1")


def asked(client: TestClient, path: str, **parameters: object) -> dict:
    reply = client.get(f"/v1/audit/{path}", params=parameters, headers=AUDITOR)
    assert reply.status_code == 200, reply.text
    return reply.json()


def exported(client: TestClient, who: dict[str, str] | None = None, **parameters: object) -> list[dict]:
    reply = client.get("/v1/audit/events", params=parameters, headers=who or AUDITOR)
    assert reply.status_code == 200, reply.text
    return [json.loads(line) for line in reply.text.splitlines()]


def test_who_saw_what_is_answered_from_what_was_released(client) -> None:
    for _ in range(2):
        client.post("/v1/search", json={"query": "sales plan"}, headers=ANN)
    client.get(f"/v1/documents/{PLAN.id}", headers=ANN)
    client.get(f"/v1/documents/{PLAN.id}", headers=person("bob"))
    (seen,) = asked(client, "who-saw", document=PLAN.id)["people"]
    assert (seen["who"], seen["times"], seen["passages"], len(seen["versions"])) == (SUBJECT, 3, 2, 1)
    assert asked(client, "who-saw", document=PLAN.uri)["people"] == [seen]
    (same,) = asked(client, "what-saw", person=SUBJECT)["documents"]
    assert same == seen == asked(client, "what-saw", person="ann")["documents"][0]
    assert client.get("/v1/audit/what-saw", params={"person": "%"}, headers=AUDITOR).status_code == 404


def test_what_one_request_was_shown_counts_once(client) -> None:
    ask = {"model": "extractive", "messages": [{"role": "user", "content": "sales plan for hotels"}]}
    answer = client.post("/v1/chat/completions", json=ask, headers=ANN)
    records = [each for each in exported(client) if each["api"]["request"]["uid"] == answer.headers["x-request-id"]]
    assert [each["api"]["operation"] for each in records] == ["answer", "read"]
    (seen,) = asked(client, "who-saw", document=PLAN.id)["people"]
    assert seen["times"] == 1


@pytest.mark.parametrize("document", ["plan.txt", PLAN.id[:8], f"{PLAN.uri}x"])
def test_what_is_neither_an_address_nor_an_id_is_not_a_document_that_nobody_saw(client, document) -> None:
    client.get(f"/v1/documents/{PLAN.id}", headers=ANN)
    reply = client.get("/v1/audit/who-saw", params={"document": document}, headers=AUDITOR)
    assert (reply.status_code, "address as `kustos documents` shows it" in reply.text) == (404, True)
    asking = exported(client)[1]
    assert (asking["api"]["operation"], asking["resources"]) == ("audit_read", [{"uid": document, "type": "asked for"}])


def test_a_document_that_is_gone_is_asked_about_by_its_id(client) -> None:
    gone = "5C1E9A6E-0000-5000-8000-00000000ABCD"
    assert asked(client, "who-saw", document=gone) == {"document": gone.lower(), "people": [], "next": None}


class AccountOfAnn(NamedSubjects):
    """One account, with the user name `anna`."""

    def subject(self, who: str) -> str:
        return SUBJECT if who == "anna" else super().subject(who)


def test_people_are_asked_about_and_forgotten_by_their_user_name_too(library) -> None:
    client = TestClient(library.app(subjects=AccountOfAnn({})), base_url="http://127.0.0.1")
    client.post("/v1/search", json={"query": "sales plan"}, headers=ANN)
    (seen,) = asked(client, "what-saw", person="anna")["documents"]
    assert seen["times"] == 1
    forgotten = client.post("/v1/audit/forget", json={"person": "anna"}, headers=AUDITOR)
    assert forgotten.json() == {"days": 1}
    assert asked(client, "what-saw", person="anna")["documents"] == []
    assert client.post("/v1/audit/forget", json={"person": "nobody"}, headers=AUDITOR).status_code == 404


def test_rm_15_an_auditor_learns_no_title_address_or_text(client) -> None:
    client.post("/v1/search", json={"query": "sales plan"}, headers=ANN)
    told = [asked(client, "who-saw", document=PLAN.id), asked(client, "what-saw", person="ann"), exported(client)]
    assert not [each for each in ("Secret", "hotels", "plan.txt") if each in json.dumps(told)]


def test_what_an_auditor_asks_is_recorded_before_it_is_answered(client) -> None:
    asked(client, "who-saw", document=PLAN.id)
    asked(client, "what-saw", person=SUBJECT)
    events = exported(client, names=True)
    assert [(each["api"]["operation"], each["unmapped"]["detail"]["what"]) for each in events] == [
        ("audit_read", "who-saw"),
        ("audit_read", "what-saw"),
        ("audit_exported", "events"),
    ]
    assert {each["actor"]["user"]["uid"] for each in events} == {"kc:acme:user:aud"}
    assert [each["resources"] for each in events[:2]] == [
        [{"uid": PLAN.id, "type": "asked for"}],
        [{"uid": SUBJECT, "type": "person"}],
    ]


def test_who_asks_whether_there_is_something_is_recorded_also_if_there_is_nothing(client) -> None:
    olga, gone = person("olga", duties=["operator"]), "file:///share/board/closure.pdf"
    for who, document in (("ann", gone), ("nobody", PLAN.uri)):
        ask = {"document": document, "as": who}
        assert client.get("/v1/admin/explain", params=ask, headers=olga).status_code == 404
    assert client.get("/v1/audit/who-saw", params={"document": gone}, headers=AUDITOR).status_code == 404
    events = exported(client, names=True)[:3]
    asked_for = [(each["api"]["operation"], [one["uid"] for one in each["resources"]]) for each in events]
    assert asked_for == [("explain", [gone, SUBJECT]), ("explain", [PLAN.uri]), ("audit_read", [gone])]


def test_an_explanation_and_a_sync_are_recorded_with_who_asked_for_them(client) -> None:
    olga = person("olga", duties=["operator"])
    ask = {"document": PLAN.id, "as": "ann"}
    assert client.get("/v1/admin/explain", params=ask, headers=olga).status_code == 200
    client.post("/v1/operator/ingest", json={"source": "share", "path": "/nowhere"}, headers=KEY)
    explained, begun, _ = exported(client, names=True)
    assert (explained["actor"]["user"]["uid"], explained["api"]["operation"]) == ("kc:acme:user:olga", "explain")
    assert {"uid": SUBJECT, "type": "person"} in explained["resources"]
    assert (begun["actor"]["user"]["uid"], begun["api"]["operation"]) == ("sys:local-operator", "ingest")


def test_an_export_names_people_only_where_that_is_asked_for(client) -> None:
    client.post("/v1/search", json={"query": "sales plan"}, headers=ANN)
    assert "kc:acme" not in json.dumps(exported(client))
    assert exported(client, names=True)[0]["actor"]["user"]["uid"] == SUBJECT


def test_an_event_has_what_ocsf_requires_of_an_api_activity(client) -> None:
    client.post("/v1/search", json={"query": "sales plan"}, headers=ANN)
    event, _ = exported(client)
    assert (event["class_uid"], event["category_uid"], event["type_uid"]) == (6003, 6, 600302)
    assert {"activity_id", "severity_id", "time", "metadata", "actor", "api", "src_endpoint"} <= set(event)
    assert event["metadata"]["version"] == "1.3.0"
    assert event["resources"][0] | {"version": ""} == {
        "uid": PLAN.id, "type": "document", "version": "", "data": event["resources"][0]["data"],
    }  # fmt: skip
    assert len(event["resources"][0]["data"]["passages"]) == 2


def test_an_export_can_be_verified_with_the_key_alone(client, library) -> None:
    client.post("/v1/search", json={"query": "sales plan"}, headers=ANN)
    secret = (library.kustos.records.settings.home / "audit" / "key").read_bytes().strip()
    before = Entry.__dataclass_fields__ and "0" * 64
    for event in exported(client):
        before = Seal(secret).mac(before, json.loads(event["raw_data"]))
        assert before == event["unmapped"]["mac"]


def test_a_span_of_time_needs_its_zone(client) -> None:
    client.get("/v1/documents", headers=ANN)
    assert exported(client, since="2099-01-01T00:00:00Z") == []
    assert exported(client, until="2099-01-01T00:00:00+02:00")[0]["api"]["operation"] == "list"
    assert client.get("/v1/audit/events?since=2026-01-01T00:00:00", headers=AUDITOR).status_code == 422


def test_the_verdict_names_what_does_not_fit_and_takes_a_head_that_was_kept(client, library) -> None:
    first = asked(client, "verdict")
    assert (first["intact"], first["records"], first["faults"]) == (True, 1, [])
    assert asked(client, "verdict", noted=first["head"])["intact"]
    wrong = asked(client, "verdict", noted=f"2:{'0' * 64}")
    assert [each["number"] for each in wrong["faults"]] == [2]
    assert client.get("/v1/audit/verdict?noted=1", headers=AUDITOR).status_code == 422


def test_old_records_go_and_the_chain_still_fits(client, library) -> None:
    for _ in range(5):
        client.post("/v1/search", json={"query": "sales plan"}, headers=ANN)
    now = datetime.now(UTC).isoformat()
    refused = client.post("/v1/audit/prune", json={"before": now}, headers=AUDITOR)
    assert (refused.status_code, "last 30 days stay" in refused.text) == (400, True)
    library.kustos.records.keeping._clock = lambda: time.time() + 31 * 86_400
    reply = client.post("/v1/audit/prune", json={"before": now}, headers=AUDITOR)
    assert reply.json() == {"removed": 4}
    after = asked(client, "verdict")
    assert (after["intact"], after["removed_through"], after["records"]) == (True, 4, 3)
    assert asked(client, "what-saw", person="ann")["documents"][0]["times"] == 1
    pruned = next(each for each in exported(client) if each["api"]["operation"] == "audit_pruned")
    assert (pruned["unmapped"]["detail"]["through"], pruned["unmapped"]["detail"]["faults"]) == (4, 0)


def test_a_person_is_forgotten_and_the_chain_still_fits(client) -> None:
    client.post("/v1/search", json={"query": "sales plan"}, headers=ANN)
    reply = client.post("/v1/audit/forget", json={"person": "ann"}, headers=AUDITOR)
    assert reply.json() == {"days": 1}
    assert asked(client, "what-saw", person="ann")["documents"] == []
    (seen,) = asked(client, "who-saw", document=PLAN.id)["people"]
    assert "ann" not in seen["who"]
    assert asked(client, "verdict")["intact"]
    assert "ann" not in json.dumps(exported(client)[:2])


@pytest.mark.parametrize("person", ["", "a\x00b", "\ud800", "x" * 401])
def test_a_name_that_no_database_takes_is_refused(client, person) -> None:
    body = json.dumps({"person": person})
    reply = client.post("/v1/audit/forget", content=body, headers={**AUDITOR, "Content-Type": "application/json"})
    assert reply.status_code == 422
    assert client.get("/v1/audit/what-saw", params={"person": person.encode("utf-8", "replace")}, headers=AUDITOR)


@pytest.mark.parametrize("path", ["who-saw?document=a/b", "who-saw?document=", "what-saw?person=a%00b"])
def test_what_is_not_there_is_not_found(client, path) -> None:
    assert client.get(f"/v1/audit/{path}", headers=AUDITOR).status_code in {404, 422}


def test_sa_10_an_operator_reads_nothing_of_the_audit_and_takes_nothing_away(client) -> None:
    for headers, status in ((person("olga", duties=["operator"]), 403), (KEY, 401)):
        assert client.get("/v1/audit/events", headers=headers).status_code == status
        assert (
            client.post("/v1/audit/prune", json={"before": "2099-01-01T00:00:00Z"}, headers=headers).status_code
            == status
        )


def test_text_that_the_settings_keep_is_exported_to_who_asks_for_it(tmp_path) -> None:
    library = open_library(tmp_path / "kept", PLAN, audit_text="passages")
    client = TestClient(library.app(), base_url="http://127.0.0.1")
    client.post("/v1/search", json={"query": "sales plan"}, headers=ANN)
    assert "hotels" not in json.dumps(exported(client))
    found = exported(client, ANN_TOO, texts=True)[0]["unmapped"]["text"]
    assert found["question"] == "sales plan"
    assert sorted(found["passages"]) == sorted(PLAN.passages)
    assert exported(client)[2]["unmapped"]["detail"]["texts"] == 1


def test_rm_15_passages_that_the_settings_keep_are_no_way_round_the_gate_for_an_auditor(tmp_path) -> None:
    library = open_library(tmp_path / "kept", PLAN, OPEN, audit_text="passages")
    client = TestClient(library.app(), base_url="http://127.0.0.1")
    for text in ("sales plan", "canteen"):
        client.post("/v1/search", json={"query": text, "narrow": {"language": ["en"]}}, headers=ANN)
    client.post("/v1/search", json={"query": "canteen"}, headers=person("bob"))
    texts = [each["unmapped"].get("text") for each in exported(client, texts=True)]
    assert [each for each in texts if each] == [
        {"question": "sales plan", "withheld": True},
        {"question": "canteen", "withheld": True},
        {"question": "canteen", "passages": list(OPEN.passages)},
    ]
    seen = {each["document"] for each in asked(client, "what-saw", person="kc:acme:user:aud")["documents"]}
    assert seen == {OPEN.id}, "what he was shown is on record too"
    library.regrant(OPEN, Acl.nobody())
    assert "eleven" not in json.dumps(exported(client, texts=True))


def test_ft_05_while_the_catalog_is_locked_nothing_is_released_and_then_it_goes_on(library, client) -> None:
    home = library.kustos.records.settings.home
    with library.kustos.records.catalog.writing() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=0")
    with closing(sqlite3.connect(home / "catalog.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        replies = [
            client.post("/v1/search", json={"query": "sales plan"}, headers=ANN),
            client.get("/v1/documents", headers=ANN),
            client.get(f"/v1/documents/{PLAN.id}", headers=ANN),
            client.get("/v1/audit/events", headers=AUDITOR),
        ]
    assert [each.status_code for each in replies] == [503] * 4
    assert not [each for each in replies if "hotels" in each.text or "Secret" in each.text]
    assert client.get(f"/v1/documents/{PLAN.id}", headers=ANN).status_code == 200
    assert asked(client, "verdict")["intact"]


def test_a_home_with_another_key_than_the_chains_releases_nothing(library, client) -> None:
    assert client.get(f"/v1/documents/{PLAN.id}", headers=ANN).status_code == 200
    with library.kustos.records.catalog.writing() as connection:
        connection.exec_driver_sql("UPDATE audit_chains SET key_id = 'another'")
    library.kustos.records.audit._checked.clear()
    refused = client.get(f"/v1/documents/{PLAN.id}", headers=ANN)
    assert (refused.status_code, "Secret" in refused.text) == (500, False)


def test_whoever_is_forgotten_by_his_subject_is_so_as_he_was_asked_about_too(client) -> None:
    asked(client, "what-saw", person="ann")
    reply = client.post("/v1/audit/forget", json={"person": SUBJECT}, headers=AUDITOR)
    assert reply.json()["days"] >= 1
    assert "ann" not in client.app.state.kustos.records.trail.names().values()
