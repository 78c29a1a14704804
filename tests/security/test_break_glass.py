"""Break-glass opens what was granted, to whom it was granted, by four eyes and for its time; and nothing else (RM-15)."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient

from api.service import Service, working
from api.tokens.auth import Identity
from ingest.bootstrap import Ingesting
from rag.access import principals
from rag.access.audit import Act, Action, Purpose
from rag.access.groups import Group
from rag.access.principals import Principal
from rag.access.scope import Caller
from rag.bootstrap import open_records
from rag.errors import StoreUnavailable
from rag.settings import Settings
from rag.stores.catalog_audit import CatalogAudit
from rag.stores.catalog_grants import CatalogGrants
from rag.stores.catalog_realm import Followed
from tests.fakes import Clock
from tests.library import OPERATOR, REALM, SALES, TENANT, Library, Written, open_library, person

BOARD, WORKS_COUNCIL = principals.group(REALM, "/board"), principals.group(REALM, "/works-council")
SALES_PLAN = Written("plan.txt", ["The sales plan for hotels."], allow=frozenset({SALES}))
MINUTES = Written("minutes.txt", ["Minutes of the board on hotels."], allow=frozenset({BOARD}))
COUNCIL = Written(
    "council.txt", ["Works council on hotels."], allow=frozenset({BOARD, WORKS_COUNCIL}), deny=frozenset({BOARD})
)
ANN, BOB = person("ann", groups=["/sales"]), person("bob", groups=["/sales"])
OLGA, AUDITOR = person("olga", duties=["operator"]), person("aud", duties=["auditor"])
BOTH = person("both", duties=["operator", "auditor"])
KEY = {"Authorization": f"Bearer {OPERATOR.key}"}
PROPOSAL = {
    "person": "kc:acme:user:ann",
    "principals": [BOARD],
    "minutes": 60,
    "reason": "The board's secretary is ill and minutes are due",
}


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock(1_790_000_000.0)
    made = CatalogGrants.__init__

    def with_clock(self, *arguments: object) -> None:
        made(self, *arguments, clock=clock)

    monkeypatch.setattr(CatalogGrants, "__init__", with_clock)
    return clock


@pytest.fixture
def library(tmp_path, clock) -> Library:
    return open_library(tmp_path / "home", SALES_PLAN, MINUTES, COUNCIL, break_glass_hours=8)


@pytest.fixture
def client(library) -> TestClient:
    return TestClient(library.app(), base_url="http://127.0.0.1")


def proposed(client: TestClient, headers=KEY, **changes: object) -> str:
    reply = client.post("/v1/operator/grants", json={**PROPOSAL, **changes}, headers=headers)
    assert reply.status_code == 200, reply.text
    assert reply.json()["state"] == "proposed"
    return reply.json()["id"]


def confirmed(client: TestClient, headers=AUDITOR, **changes: object) -> str:
    grant = proposed(client, **changes)
    reply = client.post(f"/v1/audit/grants/{grant}/confirm", headers=headers)
    assert (reply.status_code, reply.json()["state"]) == (200, "in force")
    return grant


def found(client: TestClient, headers) -> set[str]:
    reply = client.post("/v1/search", json={"query": "hotels", "limit": 20}, headers=headers)
    listed = client.get("/v1/documents", headers=headers).json()["documents"]
    titles = {each["title"] for each in reply.json()["passages"]}
    assert titles == {each["title"] for each in listed}
    return titles


def test_a_grant_opens_what_was_granted_to_whom_it_was_granted_and_deny_still_wins(client) -> None:
    assert found(client, ANN) == {"plan.txt"}
    confirmed(client)
    assert found(client, ANN) == {"plan.txt", "minutes.txt"}
    assert found(client, BOB) == {"plan.txt"}
    assert client.get(f"/v1/documents/{MINUTES.id}", headers=ANN).status_code == 200
    assert client.get(f"/v1/documents/{COUNCIL.id}", headers=ANN).status_code == 404


def test_a_person_is_named_by_user_name_too(client) -> None:
    confirmed(client, person="ann")
    assert found(client, ANN) == {"plan.txt", "minutes.txt"}


def test_a_grant_can_close_what_was_open_because_deny_wins(client) -> None:
    council = person("ann", groups=["/works-council"])
    assert found(client, council) == {"council.txt"}
    confirmed(client)
    assert found(client, council) == {"minutes.txt"}


def test_a_proposal_opens_nothing(client) -> None:
    proposed(client)
    assert found(client, ANN) == {"plan.txt"}


def test_a_grant_ends_by_itself(client, clock) -> None:
    confirmed(client, minutes=60)
    clock.now += 3_599
    assert found(client, ANN) == {"plan.txt", "minutes.txt"}
    clock.now += 1
    assert found(client, ANN) == {"plan.txt"}
    (grant,) = client.get("/v1/audit/grants", headers=AUDITOR).json()["grants"]
    assert grant["state"] == "over"


def test_a_proposal_that_nobody_confirms_within_a_day_is_over(client, clock) -> None:
    grant = proposed(client)
    clock.now += 86_400
    reply = client.post(f"/v1/audit/grants/{grant}/confirm", headers=AUDITOR)
    assert (reply.status_code, found(client, ANN)) == (400, {"plan.txt"})


@pytest.mark.parametrize(("of", "headers"), [("operator", KEY), ("operator", OLGA), ("audit", AUDITOR)])
def test_rc_01_a_grant_that_is_revoked_ends_with_the_next_question(client, of, headers) -> None:
    grant = confirmed(client)
    reply = client.delete(f"/v1/{of}/grants/{grant}", headers=headers)
    assert (reply.status_code, reply.json()["state"]) == (200, "revoked")
    assert found(client, ANN) == {"plan.txt"}
    assert client.post(f"/v1/audit/grants/{grant}/confirm", headers=AUDITOR).status_code == 400
    assert found(client, ANN) == {"plan.txt"}


@pytest.mark.parametrize("confirm", [True, False])
def test_a_grant_that_is_over_is_not_said_to_have_been_revoked(client, clock, confirm) -> None:
    grant = confirmed(client) if confirm else proposed(client)
    clock.now += 86_400
    reply = client.delete(f"/v1/operator/grants/{grant}", headers=KEY)
    assert (reply.status_code, reply.json()["state"]) == (200, "over")


def test_a_proposal_that_was_withdrawn_cannot_be_confirmed(client) -> None:
    grant = proposed(client)
    client.delete(f"/v1/operator/grants/{grant}", headers=KEY)
    assert client.post(f"/v1/audit/grants/{grant}/confirm", headers=AUDITOR).status_code == 400


def test_four_eyes_nobody_confirms_what_he_proposed_or_gets(client) -> None:
    own = proposed(client, BOTH)
    assert client.post(f"/v1/audit/grants/{own}/confirm", headers=BOTH).status_code == 403
    his = proposed(client, person="kc:acme:user:aud")
    assert client.post(f"/v1/audit/grants/{his}/confirm", headers=AUDITOR).status_code == 403
    assert client.post(f"/v1/audit/grants/{own}/confirm", headers=AUDITOR).status_code == 200


@pytest.mark.parametrize("headers", [ANN, OLGA], ids=["the person", "an operator"])
def test_sa_10_only_auditors_confirm(client, headers) -> None:
    grant = proposed(client)
    assert client.post(f"/v1/audit/grants/{grant}/confirm", headers=headers).status_code == 403
    assert client.post("/v1/operator/grants", json=PROPOSAL, headers=AUDITOR).status_code == 403
    assert found(client, ANN) == {"plan.txt"}


def test_a_grant_is_confirmed_once(client, clock) -> None:
    grant = confirmed(client)
    clock.now += 1_800
    assert client.post(f"/v1/audit/grants/{grant}/confirm", headers=AUDITOR).status_code == 400
    clock.now += 1_800
    assert found(client, ANN) == {"plan.txt"}, "confirming again does not make it longer"


@pytest.mark.parametrize(
    "change",
    [
        {"minutes": 0},
        {"minutes": 481},
        {"minutes": -1},
        {"reason": "because  "},
        {"principals": []},
        {"principals": ["sys:everyone-in-tenant"]},
        {"principals": ["/board"]},
        {"principals": [BOARD] * 21},
        {"person": "ann@acme.example"},
        {"person": BOARD},
        {"person": "kc:acme:user:\ud800"},
        {"tenant": "other"},
    ],
    ids=str,
)
def test_what_may_not_be_proposed_is_refused(client, change) -> None:
    body = json.dumps({**PROPOSAL, **change})
    reply = client.post("/v1/operator/grants", content=body, headers={**KEY, "Content-Type": "application/json"})
    assert reply.status_code in {400, 404, 422}
    assert client.get("/v1/operator/grants", headers=KEY).json() == {"grants": []}


@pytest.mark.parametrize(
    "typo", ["kc:acme:group:/Board", "kc:acme:group:board", "kc:acme:group:/bored", "kc:acne:group:/board"]
)
def test_what_would_open_nothing_is_not_proposed_once_keycloaks_groups_are_known(tmp_path, typo: str) -> None:
    library = open_library(tmp_path, MINUTES, break_glass_hours=8, realm=REALM)
    client = TestClient(library.app(), base_url="http://127.0.0.1")
    realm, now = library.kustos.records.realm, datetime.now(UTC)
    realm.set_groups([Group("1", "board", "/board", None)], whole=True)
    assert proposed(client, principals=[typo]), "nothing is known of Keycloak's groups yet"
    realm.set_followed(Followed("", 0, now, now))
    reply = client.post("/v1/operator/grants", json={**PROPOSAL, "principals": [BOARD, typo]}, headers=KEY)
    assert (reply.status_code, typo in reply.json()["error"]["message"]) == (400, True)
    assert proposed(client, principals=[BOARD, principals.realm_role(REALM, "chief")])
    realm.set_groups([Group("2", "board", "/board", None)], whole=True)
    reply = client.post("/v1/operator/grants", json=PROPOSAL, headers=KEY)
    assert (reply.status_code, "is gone" in reply.json()["error"]["message"]) == (400, True)


def test_a_grant_that_is_not_there_is_not_found(client) -> None:
    assert client.post("/v1/audit/grants/x/confirm", headers=AUDITOR).status_code == 404
    assert client.delete("/v1/audit/grants/x", headers=AUDITOR).status_code == 404


def test_every_step_and_everything_released_under_a_grant_is_in_the_audit(client) -> None:
    grant = confirmed(client)
    found(client, ANN)
    client.delete(f"/v1/operator/grants/{grant}", headers=KEY)
    found(client, ANN)
    reply = client.get("/v1/audit/events", params={"names": "true"}, headers=AUDITOR)
    events = [json.loads(line) for line in reply.text.splitlines()]
    assert [(each["api"]["operation"], each["unmapped"].get("grants", [])) for each in events[:-1]] == [
        ("grant_proposed", []),
        ("grant_confirmed", []),
        ("search", [grant]),
        ("list", [grant]),
        ("grant_revoked", []),
        ("search", []),
        ("list", []),
    ]
    assert events[0]["unmapped"]["detail"] == {
        "minutes": 60, "principals": f'["{BOARD}"]', "reason": PROPOSAL["reason"],
    }  # fmt: skip
    assert {"uid": "kc:acme:user:ann", "type": "person"} in events[0]["resources"]
    assert [each["severity_id"] for each in events[:4]] == [3, 3, 3, 3]
    (seen,) = client.get("/v1/audit/who-saw", params={"document": MINUTES.id}, headers=AUDITOR).json()["people"]
    assert (seen["who"], seen["grants"]) == ("kc:acme:user:ann", [grant])


def test_a_step_that_cannot_be_recorded_is_not_done(client, monkeypatch) -> None:
    grant = proposed(client)

    def full(*_: object) -> None:
        raise StoreUnavailable("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(CatalogAudit, "record", full)
        assert client.post(f"/v1/audit/grants/{grant}/confirm", headers=AUDITOR).status_code == 503
    assert found(client, ANN) == {"plan.txt"}


def test_an_explanation_agrees_and_names_the_grant(client) -> None:
    grant = confirmed(client)
    told = client.get("/v1/admin/explain", params={"document": MINUTES.id, "as": "ann"}, headers=KEY).json()
    assert (told["allowed"], told["grants"], told["matched"]) == (True, [grant], [BOARD])


def test_it_is_off_unless_somebody_switches_it_on_and_off_ends_what_is_in_force(tmp_path, client) -> None:
    confirmed(client)
    off = TestClient(open_library(tmp_path / "home").app(), base_url="http://127.0.0.1")
    assert off.get("/v1/documents", headers=ANN).json()["documents"][0]["title"] == "plan.txt"
    assert len(off.get("/v1/documents", headers=ANN).json()["documents"]) == 1
    assert off.post("/v1/operator/grants", json=PROPOSAL, headers=KEY).status_code == 404
    assert Settings().break_glass_hours == 0


def test_what_was_switched_off_is_not_in_force_when_it_is_on_again(tmp_path, library, client) -> None:
    grant, waiting = confirmed(client), proposed(client)
    assert "minutes.txt" in found(client, ANN)
    off = open_library(tmp_path / "home")
    off_service = Service(off.kustos, Ingesting(off.kustos), Identity([]), off.app())
    with working(off_service, "http://127.0.0.1:1"):
        pass
    assert "minutes.txt" not in found(client, ANN)
    assert client.post(f"/v1/audit/grants/{waiting}/confirm", headers=AUDITOR).status_code == 400
    told = client.get("/v1/operator/grants", headers=KEY).json()["grants"]
    assert {each["id"]: each["state"] for each in told} == {grant: "revoked", waiting: "revoked"}
    revoked = [each for each in library.kustos.records.trail.entries() if each.action == Act.GRANT_REVOKED]
    assert {each.about for each in revoked} == {grant, waiting}
    with working(Service(library.kustos, Ingesting(library.kustos), Identity([]), library.app()), "http://127.0.0.1:1"):
        confirmed(client)
    assert "minutes.txt" in found(client, ANN), "where it is on, starting ends nothing"


def test_mt_01_a_grant_of_one_tenant_is_nothing_in_another(library, client) -> None:
    confirmed(client)
    records, purpose = library.kustos.records, Purpose(Action.LIST, "request")
    for tenant, expected in ((TENANT, True), ("other", False)):
        ann = Caller(tenant, "kc:acme:user:ann", frozenset({Principal("kc:acme:user:ann")}))
        scope = library.kustos.gate.scope_for(ann, purpose)
        assert scope is not None
        assert ((BOARD in scope.principals), bool(scope.grants), scope.tenant) == (expected, expected, tenant)
    assert records.grants is not None


def test_rm_09_who_has_no_rights_is_granted_none(library, client) -> None:
    confirmed(client)
    nobody = Caller(TENANT, "kc:acme:user:ann", frozenset())
    assert library.kustos.gate.scope_for(nobody, Purpose(Action.LIST, "request")) is None


def test_ft_05_without_an_answer_about_grants_nothing_is_decided(library) -> None:
    client = TestClient(library.app(), base_url="http://127.0.0.1")
    with library.kustos.records.catalog.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE grants RENAME TO gone")
    assert client.post("/v1/search", json={"query": "hotels"}, headers=ANN).status_code == 503


def test_the_gate_of_an_installation_knows_its_grants(tmp_path) -> None:
    """What `rag.bootstrap` builds: with the setting grants, without it none."""
    for hours in (0, 2):
        records = open_records(Settings(home=tmp_path / "home", break_glass_hours=hours))
        assert (records.grants is None) is (hours == 0)
        records.close()
