"""API keys and rate limits at the door: a key opens what its subject may read now, for its scope, and nothing more."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api import logs
from api.admission.key_issue import issue
from api.admission.keys import ApiKeys
from api.admission.local_operator import LOCAL_OPERATOR
from rag.access import principals
from rag.access.api_keys import MOST_KEYS, ApiKey, KeyScope, digest, mint
from rag.access.audit import Act, Action
from rag.access.scope import Caller
from rag.errors import NotAllowed, StoreUnavailable, Unavailable
from tests.library import OPERATOR, REALM, SALES, TENANT, CurrentSubjects, Written, open_library, person, token

PLAN = Written("plan.txt", ["The sales plan for hotels."], allow=frozenset({SALES}))
SYNC = principals.user(REALM, "sync")
FOREVER = datetime.now(UTC) + timedelta(days=365)


@pytest.fixture
def subjects() -> CurrentSubjects:
    return CurrentSubjects({SYNC: frozenset({SYNC, SALES})})


@pytest.fixture
def library(tmp_path):
    return open_library(tmp_path, PLAN, failures_per_address=5, requests_per_key=4, requests_per_subject=6)


@pytest.fixture
def client(library, subjects) -> TestClient:
    return TestClient(library.app(subjects=subjects), base_url="http://127.0.0.1", client=("10.0.0.7", 4242))


def given(library, *scopes: KeyScope, **changes) -> str:
    """A key of the subject, kept in the catalog with these changes."""
    made, now = mint(), datetime.now(UTC)
    kept = ApiKey(made.id, TENANT, SYNC, "t", frozenset(scopes), digest(made.text), now, "op", FOREVER)
    library.kustos.records.keys.add(replace(kept, **changes))
    return made.text


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def titles(response) -> list[str]:
    assert response.status_code == 200, response.text
    return [each["title"] for each in response.json()["documents"]]


def documents(client, key: str):
    return client.get("/v1/documents", headers=bearer(key))


def test_a_key_reads_what_its_subject_may_read_by_either_header(client, library) -> None:
    key = given(library, KeyScope.QUERY)
    assert titles(documents(client, key)) == ["plan.txt"]
    assert titles(client.get("/v1/documents", headers={"X-API-Key": key})) == ["plan.txt"]


@pytest.mark.parametrize(
    "headers",
    [
        [("X-API-Key", "{key}"), ("Authorization", "Bearer {key}")],
        [("X-API-Key", "{key}"), ("Authorization", "Bearer {token}")],
        [("X-API-Key", "{key}"), ("X-API-Key", "{key}")],
        [("Authorization", "Bearer {key}"), ("Authorization", "Bearer {key}")],
        [("X-API-Key", ""), ("Authorization", "Bearer {key}")],
    ],
    ids=str,
)
def test_tv_21_two_proofs_are_one_too_many(client, library, headers) -> None:
    key = given(library, KeyScope.QUERY)
    filled = [(name, value.format(key=key, token=token())) for name, value in headers]
    assert client.get("/v1/documents", headers=filled).status_code == 400


def test_tv_21_a_key_is_looked_for_in_its_two_headers_only(client, library) -> None:
    key = given(library, KeyScope.QUERY)
    assert client.get("/v1/documents", params={"api_key": key}).status_code == 401
    assert client.get("/v1/documents", headers={"Cookie": f"X-API-Key={key}"}).status_code == 401
    assert client.get("/v1/documents", headers={"Authorization": f"Basic {key}"}).status_code == 401
    assert client.get("/v1/documents", headers={"X-API-Key": f"Bearer {key}"}).status_code == 401


def test_sa_09_every_refusal_of_a_key_is_the_same(client, library) -> None:
    valid = given(library, KeyScope.QUERY)
    revoked = given(library, KeyScope.QUERY, revoked_at=datetime.now(UTC))
    expired = given(library, KeyScope.QUERY, expires_at=datetime.now(UTC))
    unknown, other_secret = mint().text, given(library, KeyScope.QUERY, digest=digest(valid))
    answers = [documents(client, each) for each in (revoked, expired, unknown, other_secret, valid[:-1] + "-")]
    assert {each.status_code for each in answers} == {401}
    assert len({each.text for each in answers}) == 1
    assert {each.headers["www-authenticate"] for each in answers} == {"Bearer"}


def test_a_key_that_was_revoked_is_refused_by_the_next_request(client, library) -> None:
    key = given(library, KeyScope.QUERY)
    assert documents(client, key).status_code == 200
    library.kustos.records.keys.revoke(key[7:19], datetime.now(UTC))
    assert documents(client, key).status_code == 401


def test_a_right_that_its_subject_lost_is_lost_in_the_next_request(client, library, subjects) -> None:
    key = given(library, KeyScope.QUERY)
    assert titles(documents(client, key)) == ["plan.txt"]
    subjects.held[SYNC] = frozenset({SYNC})
    assert titles(documents(client, key)) == []


def test_a_disabled_or_deleted_account_has_no_key(client, library, subjects) -> None:
    key = given(library, KeyScope.QUERY)
    del subjects.held[SYNC]
    assert documents(client, key).status_code == 401


@pytest.mark.parametrize("failure", [Unavailable("10.0.0.5 is down"), NotAllowed("the client kustos-service may not")])
def test_ft_02_without_knowing_the_subjects_rights_a_key_is_a_503(client, library, subjects, failure) -> None:
    key = given(library, KeyScope.QUERY)
    subjects.failure = failure
    response = documents(client, key)
    assert response.status_code == 503
    assert str(failure) not in response.text


@pytest.mark.parametrize("scope", [KeyScope.PUSH, KeyScope.EVALUATE])
def test_sa_03_a_key_for_something_else_reads_nothing(client, library, scope) -> None:
    response = documents(client, given(library, scope))
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "not_allowed"


def test_rm_15_a_key_of_an_operator_does_not_operate(client, library, subjects) -> None:
    subjects.held[SYNC] |= {principals.client_role(REALM, "kustos", "operator")}
    key = given(library, *KeyScope)
    assert client.get("/v1/operator/status", headers=bearer(key)).status_code == 403


def test_sc_15_no_log_line_holds_a_key(client, library, caplog) -> None:
    key = given(library, KeyScope.QUERY)
    with caplog.at_level(logging.DEBUG):
        documents(client, key)
        documents(client, key[:-1] + "-")
        client.get("/v1/operator/status", headers=bearer(key))
        client.get("/v1/documents", headers=[*bearer(key).items(), ("X-API-Key", key)])
    assert "not an API key" in caplog.text
    assert key[20:-1] not in caplog.text


def test_what_is_left_is_told_by_key_and_by_account(client, library) -> None:
    response = documents(client, given(library, KeyScope.QUERY))
    assert response.headers["ratelimit-policy"] == '"key";q=4;w=60, "subject";q=6;w=60'
    assert response.headers["ratelimit"].startswith('"key";r=3;t=15, "subject";r=5;t=10')


def test_a_key_has_a_limit_of_its_own_and_its_subject_one_over_all_keys(client, library) -> None:
    first, second = given(library, KeyScope.QUERY), given(library, KeyScope.QUERY)
    assert [documents(client, first).status_code for _ in range(5)] == [200] * 4 + [429]
    assert [documents(client, second).status_code for _ in range(3)] == [200] * 2 + [429]
    refused = documents(client, second)
    assert 1 <= int(refused.headers["retry-after"]) <= 10
    assert refused.json()["error"]["code"] == "rate_limited"
    assert refused.headers["ratelimit-policy"] == '"subject";q=6;w=60'
    assert refused.headers["ratelimit"].startswith('"subject";r=0;t=')


def test_sa_06_another_token_address_or_header_is_no_way_round(client, library) -> None:
    def ask(number: int) -> int:
        headers = {**person("ann"), "X-Forwarded-For": f"10.9.9.{number}", "X-Request-Id": str(number)}
        return client.get("/v1/documents", headers=headers).status_code

    assert [ask(number) for number in range(7)] == [200] * 6 + [429]
    assert client.get("/v1/documents", headers=person("bea")).status_code == 200


def test_sa_05_whoever_has_stolen_keys_cannot_keep_their_owner_from_taking_them_back(client, library) -> None:
    stolen, owner = [given(library, KeyScope.QUERY) for _ in range(2)], person("sync")
    assert {documents(client, key).status_code for key in stolen * 6} == {200, 429}
    assert client.get("/v1/documents", headers=owner).status_code == 429
    first, _ = client.get("/v1/keys", headers=owner).json()["keys"]
    assert client.delete(f"/v1/keys/{first['id']}", headers=owner).status_code == 204
    assert [client.get("/v1/keys", headers=owner).status_code for _ in range(8)][-1] == 429, "counted all the same"


def test_sa_05_sa_07_a_loop_without_end_ends_in_a_429_and_the_next_person_is_answered(client) -> None:
    looping = [client.get("/v1/documents", headers=person("loop")).status_code for _ in range(100)]
    assert looping.count(200) in {6, 7, 8}  # six, and one more each ten seconds
    assert set(looping[8:]) == {429}
    assert client.get("/v1/documents", headers=person("ann", groups=["/sales"])).status_code == 200


def test_the_operators_own_key_is_not_counted(client) -> None:
    assert {client.get("/v1/operator/status", headers=bearer(OPERATOR.key)).status_code for _ in range(8)} == {200}


def test_failures_are_counted_by_address_and_shut_nobody_out(client, library) -> None:
    key = given(library, KeyScope.QUERY)
    assert [client.get("/v1/documents").status_code for _ in range(7)] == [401] * 5 + [429] * 2
    assert client.get("/v1/documents", headers=bearer(OPERATOR.key)).status_code == 429
    assert documents(client, key).status_code == 200, "who has a valid key passes, whoever else is at his address"
    assert client.get("/v1/documents", headers=person("ann")).status_code == 200


def test_failures_over_the_limit_leave_no_line_of_their_own(client, caplog) -> None:
    with caplog.at_level(logging.INFO, "api.errors"):
        for _ in range(50):
            client.get("/v1/documents")
    assert len(caplog.messages) == 5


def test_ft_05_without_the_catalog_nobody_is_let_through_uncounted(client, library) -> None:
    key = given(library, KeyScope.QUERY)
    library.kustos.records.catalog.close()
    (library.kustos.records.settings.home / "catalog.db").rename(library.kustos.records.settings.home / "gone.db")
    assert documents(client, key).status_code == 503
    assert client.get("/v1/models", headers=person("ann")).status_code == 503


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("10.0.0.8", False),
        ("::ffff:10.0.0.7", True),
        ("2001:db8::1", False),
        ("not an address", False),
    ],
)
def test_addresses_are_counted_apart(library, subjects, address, same) -> None:
    app = library.app(subjects=subjects)
    first, other = (TestClient(app, base_url="http://127.0.0.1", client=(each, 1)) for each in ("10.0.0.7", address))
    for _ in range(5):
        first.get("/v1/documents")
    assert other.get("/v1/documents").status_code == (429 if same else 401)


def test_an_ipv6_network_counts_as_one_address(library, subjects) -> None:
    app = library.app(subjects=subjects)
    asked = [
        TestClient(app, base_url="http://127.0.0.1", client=(f"2001:db8::{each:x}%eth0", 1)).get("/v1/documents")
        for each in range(1, 8)
    ]
    assert [each.status_code for each in asked] == [401] * 5 + [429] * 2


def own(client, method: str = "GET", path: str = "", who: str = "ann", **body):
    options = {"json": body} if body else {}
    return client.request(method, f"/v1/keys{path}", headers=person(who, groups=["/sales"]), **options)


def test_a_person_makes_lists_and_ends_keys_of_her_own(client, library, subjects) -> None:
    ann = principals.user(REALM, "ann")
    subjects.held[ann] = frozenset({ann, SALES})
    made = own(client, "POST", name="notebook", days=7).json()
    assert titles(documents(client, made["key"])) == ["plan.txt"]
    (listed,) = own(client).json()["keys"]
    assert {**listed, "last_used_at": None, "key": made["key"]} == made
    assert listed["last_used_at"] is not None
    assert own(client, "DELETE", f"/{made['id']}").status_code == 204
    assert documents(client, made["key"]).status_code == 401
    assert own(client).json()["keys"][0]["state"] == "revoked"


def test_sa_09_anothers_key_is_neither_listed_nor_ended(client, library) -> None:
    key = given(library, KeyScope.QUERY)
    foreign, absent = (own(client, "DELETE", f"/{each}") for each in (key[7:19], "0" * 12))
    assert own(client).json() == {"keys": []}
    assert foreign.status_code == absent.status_code == 404
    assert foreign.text.replace(key[7:19], "") == absent.text.replace("0" * 12, "")
    assert documents(client, key).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "x", "scopes": ["push"]}, 422),
        ({"name": "x", "scopes": ["operate"]}, 422),
        ({"name": "x", "scopes": []}, 422),
        ({"name": "x", "scopes": ["evaluate"]}, 403),
        ({"name": "x", "days": 367}, 422),
        ({"name": "x", "days": 0}, 422),
        ({"name": ""}, 422),
        ({"name": "x", "subject": SYNC}, 422),
    ],
    ids=str,
)
def test_nobody_makes_a_key_that_is_wider_than_himself(client, body, status) -> None:
    assert own(client, "POST", **body).status_code == status


def test_an_evaluators_key_may_be_for_measuring(client) -> None:
    headers = person("eva", duties=["evaluator"])
    made = client.post("/v1/keys", headers=headers, json={"name": "bench", "scopes": ["evaluate"]})
    assert made.json()["scopes"] == ["evaluate"]


def test_no_key_makes_lists_or_ends_keys(client, library) -> None:
    key = given(library, *KeyScope)
    calls = (("POST", "/v1/keys"), ("GET", "/v1/keys"), ("DELETE", f"/v1/keys/{key[7:19]}"))
    assert {client.request(*each, headers=bearer(key)).status_code for each in calls} == {403}
    assert documents(client, key).status_code == 200


def test_a_person_has_so_many_valid_keys_and_no_more(tmp_path) -> None:
    client = TestClient(open_library(tmp_path).app(), base_url="http://127.0.0.1")
    made = [own(client, "POST", name=str(number)) for number in range(MOST_KEYS + 1)]
    assert [each.status_code for each in made] == [200] * MOST_KEYS + [400]
    assert own(client, "DELETE", f"/{made[0].json()['id']}").status_code == 204
    assert own(client, "POST", name="again").status_code == 200


def test_sc_15_the_services_log_cuts_keys_down_wherever_they_were_put() -> None:
    key = mint().text
    try:
        int(key)
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "GET /v1/keys/%s", (key,), sys.exc_info())
    written = logs.WithoutKeys(logs.FORMAT).format(record)
    assert written.count(f"kustos_{key[7:19]}_...") == 2  # in the message, and in the exception
    assert key[20:] not in written


def events(library, wanted: Act) -> list[Any]:
    return [each for each in library.kustos.records.trail.entries() if each.action == wanted]


def test_making_first_use_and_revocation_of_a_key_are_on_record(client, library, subjects) -> None:
    ann = principals.user(REALM, "ann")
    subjects.held[ann] = frozenset({ann, SALES})
    made = own(client, "POST", name="notebook").json()
    documents(client, made["key"])
    documents(client, made["key"])
    own(client, "DELETE", f"/{made['id']}")
    for act in (Act.KEY_MADE, Act.KEY_FIRST_USED, Act.KEY_REVOKED):
        (event,) = events(library, act)
        assert event.about == made["id"]
        assert event.request_id
        assert made["key"][20:] not in repr(event)


def test_many_first_requests_of_a_key_at_once_are_one_first_use(library) -> None:
    people, key = 8, given(library, KeyScope.QUERY)
    together = Barrier(people, timeout=30)

    class Together(CurrentSubjects):
        def caller(self, subject: str) -> Caller:
            together.wait()  # everybody has found the key unused by now
            return super().caller(subject)

    keys = ApiKeys(library.kustos.records.keys, Together({SYNC: frozenset({SYNC})}), library.kustos.records.audit)
    asked = [keys.unconfirmed(keys.verified(key), str(number)) for number in range(people)]
    assert {each.wait().subject for each in asked} == {SYNC}
    assert len(events(library, Act.KEY_FIRST_USED)) == 1


def test_a_first_use_that_cannot_be_recorded_opens_nothing_and_is_recorded_by_the_next(
    client, library, monkeypatch
) -> None:
    key, audit = given(library, KeyScope.QUERY), library.kustos.records.audit

    def full(*_: object) -> None:
        raise StoreUnavailable("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(audit, "append", full)
        assert documents(client, key).status_code == 503
    assert library.kustos.records.keys.find(key[7:19]).last_used_at is None
    assert titles(documents(client, key)) == ["plan.txt"]
    assert len(events(library, Act.KEY_FIRST_USED)) == 1


def test_a_record_says_by_which_key_or_client_something_was_read(client, library, subjects) -> None:
    ann = principals.user(REALM, "ann")
    subjects.held[ann] = frozenset({ann, SALES})
    made = own(client, "POST", name="notebook").json()
    documents(client, made["key"])
    client.get("/v1/documents", headers=person("ann", groups=["/sales"]))
    read = [each for each in library.kustos.records.trail.entries() if each.action == Action.LIST]
    assert [json.loads(each.detail) for each in read] == [{"client": f"key:{made['id']}"}, {"client": "web"}]
    assert len({each.person for each in read}) == 1


def test_a_key_that_an_operator_makes_for_somebody_names_both(library) -> None:
    issue(library.kustos.records, SYNC, {KeyScope.PUSH}, name="", days=1, by=LOCAL_OPERATOR)
    (event,) = events(library, Act.KEY_MADE)
    assert event.person == LOCAL_OPERATOR
    assert event.concerning
    assert '"push"' in event.detail
