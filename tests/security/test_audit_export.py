"""An export of the audit is taken slowly: what changes about its auditor meanwhile counts from the next line on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from api.cli import audit_commands, connection
from api.cli.commands import kustos
from api.routes import audit
from api.tokens.auth import AskedOfKeycloak
from api.tokens.freshness import Freshness
from api.tokens.introspection import Introspection
from rag.access.acl import Acl
from rag.access.audit import Act, Deed
from tests.fake_keycloak import CLIENT, SECRET, FakeKeycloak, fake_keycloak
from tests.library import SALES, TENANT, Library, Written, open_library, person

PLAN = Written("plan.txt", ["The moonshot plan."], allow=frozenset({SALES}))
AUDITOR = person("aud", groups=["/sales"], duties=["auditor"])
RECORDS = 6


@pytest.fixture
def library(tmp_path, monkeypatch) -> Library:
    monkeypatch.setattr(audit, "CONFIRMED_S", 0)
    return open_library(tmp_path, PLAN, audit_text="passages")


@pytest.fixture
def keycloak() -> Iterator[FakeKeycloak]:
    with fake_keycloak() as keycloak:
        yield keycloak


@pytest.fixture
def client(library: Library, keycloak: FakeKeycloak) -> TestClient:
    worth = AskedOfKeycloak(Introspection(keycloak.url, CLIENT, SECRET), Freshness(0.0))
    client = TestClient(library.app(worth=worth), base_url="http://127.0.0.1")
    for _ in range(RECORDS):
        assert client.post("/v1/search", json={"query": "plan"}, headers=AUDITOR).status_code == 200
    keycloak.asked.clear()
    return client


def between(keycloak: FakeKeycloak, change: Callable[[], object]) -> None:
    """Does `change` when Keycloak is asked for the second line: the first question is the door's."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        if len(keycloak.asked) == 3:
            change()
        keycloak.answer(handler)

    keycloak.reply = reply


def exported(client: TestClient) -> list[dict]:
    reply = client.get("/v1/audit/events", params={"texts": True}, headers=AUDITOR)
    assert reply.status_code == 200
    return [json.loads(line) for line in reply.text.splitlines()]


def test_rc_05_an_export_ends_once_its_auditor_has_ended(client: TestClient, keycloak: FakeKeycloak) -> None:
    between(keycloak, lambda: setattr(keycloak, "active", False))
    *events, last = exported(client)
    assert [each["metadata"]["sequence"] for each in events] == [1]
    assert last["error"]["code"] == "not_authenticated"


def test_rc_05_an_export_ends_once_its_auditor_has_lost_the_duty(client: TestClient, keycloak: FakeKeycloak) -> None:
    between(keycloak, lambda: setattr(keycloak, "now", {"resource_access": {}}))
    *events, last = exported(client)
    assert (len(events), last["error"]["code"]) == (1, "not_allowed")


def test_rc_05_a_passage_that_the_auditor_may_not_read_any_more_is_withheld_from_the_next_line_on(
    client: TestClient, library: Library, keycloak: FakeKeycloak
) -> None:
    between(keycloak, lambda: library.regrant(PLAN, Acl.nobody()))
    texts = [each["unmapped"]["text"] for each in exported(client)[:RECORDS]]
    assert ["passages" in each for each in texts] == [True] + [False] * (RECORDS - 1)


def test_an_export_ends_with_its_own_asking(client: TestClient, library: Library, keycloak: FakeKeycloak) -> None:
    later = Deed(TENANT, "kc:acme:user:x", Act.EXPLAIN, "later")
    between(keycloak, lambda: library.kustos.records.audit.record(later))
    assert exported(client)[-1]["api"]["operation"] == "audit_exported"
    assert "later" in [each.request_id for each in library.kustos.records.trail.entries()]


def test_the_command_says_that_an_export_is_not_whole(client: TestClient, keycloak: FakeKeycloak, monkeypatch) -> None:
    monkeypatch.setattr(audit_commands, "asked", lambda: None)
    monkeypatch.setattr(connection, "proof", lambda *_: AUDITOR)
    monkeypatch.setattr(connection, "reach", lambda _: nullcontext(client))
    whole = CliRunner().invoke(kustos, ["audit", "export"])
    assert (whole.exit_code, len(whole.stdout.splitlines())) == (0, RECORDS + 1)
    keycloak.asked.clear()
    between(keycloak, lambda: setattr(keycloak, "active", False))
    broken = CliRunner().invoke(kustos, ["audit", "export"])
    assert (broken.exit_code, len(broken.stdout.splitlines())) == (1, 1)
    assert "not whole" in broken.stderr
