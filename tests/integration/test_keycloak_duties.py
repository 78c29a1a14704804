"""Duties from a real Keycloak: roles of the client kustos open the operator's and the auditor's addresses, and no document."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from rag.access import principals
from tests.keycloak_realm import QUALIFIER, KeycloakRealm
from tests.library import OPERATOR, Library, Written, open_library

BOARD = principals.group(QUALIFIER, "/leitung")
MINUTES = Written("minutes.txt", ["Minutes of the board."], allow=frozenset({BOARD}))
ADDRESSES = ("/v1/operator/status", "/v1/audit/events")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return open_library(tmp_path_factory.mktemp("duties"), MINUTES, break_glass_hours=1)


@pytest.fixture(scope="module")
def client(library: Library, realm: KeycloakRealm) -> TestClient:
    return TestClient(create_app(library.kustos, realm.identity(), None, OPERATOR), base_url="http://127.0.0.1")


def headers(realm: KeycloakRealm, person: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {realm.token(person)}"}


@pytest.mark.parametrize(
    ("duties", "expected"),
    [([], (403, 403)), (["operator"], (200, 403)), (["auditor"], (403, 200)), (["evaluator", "reader"], (403, 403))],
    ids=str,
)
def test_fb_19_a_duty_opens_its_own_addresses_and_no_document(
    realm: KeycloakRealm, client: TestClient, duties: list[str], expected: tuple[int, int]
) -> None:
    who = headers(realm, realm.person(duties=duties))
    assert tuple(client.get(address, headers=who).status_code for address in ADDRESSES) == expected
    assert client.get("/v1/documents", headers=who).json()["documents"] == []
    assert client.get(f"/v1/documents/{MINUTES.id}", headers=who).status_code == 404


def test_rm_15_the_service_account_for_evaluation_measures_and_finds_what_was_granted_to_it(
    realm: KeycloakRealm, client: TestClient
) -> None:
    account = "service-account-kustos-eval"
    body = {"queries": {"q": "minutes of the board"}, "qrels": {"q": {MINUTES.id: 1}}}

    def recall() -> float:
        proof = {"Authorization": f"Bearer {realm.service_token('kustos-eval')}"}
        told = client.post("/v1/evaluations", json=body, headers=proof).json()
        return float(told["measures"]["R@10"])

    assert recall() == 0
    realm.join(account, "/leitung")
    assert recall() == 1
    realm.leave(account, "/leitung")
    assert recall() == 0
    proof = {"Authorization": f"Bearer {realm.service_token('kustos-sync')}"}
    assert client.post("/v1/evaluations", json=body, headers=proof).status_code == 403


def test_rm_06_a_duty_of_another_client_or_of_the_realm_is_none(realm: KeycloakRealm, client: TestClient) -> None:
    person = realm.person()
    realm.admin.create_realm_role({"name": "operator"}, skip_exists=True)
    realm.give_role(person, "operator")
    other = realm.client_id("kustos-page")
    realm.admin.create_client_role(other, {"name": "operator"}, skip_exists=True)
    realm.admin.assign_client_role(realm.subject(person), other, [realm.admin.get_client_role(other, "operator")])
    assert client.get("/v1/operator/status", headers=headers(realm, person)).status_code == 403


def test_rc_06_a_duty_that_is_taken_away_is_gone_with_the_next_request(
    realm: KeycloakRealm, client: TestClient
) -> None:
    person = realm.person(duties=["auditor"])
    who = headers(realm, person)
    assert client.get("/v1/audit/events", headers=who).status_code == 200
    realm.take_duty(person, "auditor")
    assert client.get("/v1/audit/events", headers=who).status_code == 403


def test_break_glass_takes_an_operator_and_an_auditor_whom_keycloak_knows(
    realm: KeycloakRealm, client: TestClient
) -> None:
    reader, operator, auditor = realm.person(), realm.person(duties=["operator"]), realm.person(duties=["auditor"])
    proposal = {
        "person": principals.user(QUALIFIER, realm.subject(reader)),
        "principals": [BOARD],
        "minutes": 30,
        "reason": "The board's secretary is ill",
    }
    proposed = client.post("/v1/operator/grants", json=proposal, headers=headers(realm, operator))
    confirm = f"/v1/audit/grants/{proposed.json()['id']}/confirm"
    assert client.post(confirm, headers=headers(realm, operator)).status_code == 403
    assert client.get(f"/v1/documents/{MINUTES.id}", headers=headers(realm, reader)).status_code == 404
    assert client.post(confirm, headers=headers(realm, auditor)).status_code == 200
    assert client.get(f"/v1/documents/{MINUTES.id}", headers=headers(realm, reader)).status_code == 200
