"""Nothing of a document leaves before Keycloak has said what the caller may read now, and nothing if it does not say so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from api.access_table import TABLE, Duty, Row
from api.admission.limits import REFUSALS_OF_A_TOKEN
from api.tokens.auth import AskedOfKeycloak
from api.tokens.freshness import Freshness
from api.tokens.introspection import Introspection
from tests.fake_keycloak import CLIENT, SECRET, FakeKeycloak, fake_keycloak, say
from tests.integration.serving import served
from tests.library import SALES, Library, Written, open_library, person, token

PLAN = Written("plan.txt", ["The moonshot plan."], frozenset({SALES}))
ANN = person("ann", groups=["/sales"])
SEARCH = {"query": "plan"}
CHAT = {"model": "extractive", "messages": [{"role": "user", "content": "what is in the plan?"}]}
BODIES = {"/v1/search": SEARCH, "/v1/chat/completions": CHAT}
READERS = [row for row in TABLE if row.duty is Duty.READER]
ON_DUTY = [row for row in TABLE if row.duty in {Duty.OPERATOR, Duty.AUDITOR, Duty.EVALUATOR}]


@dataclass
class World:
    """The service, its Keycloak, and Ann, whose token names /sales."""

    library: Library
    keycloak: FakeKeycloak
    client: TestClient

    def ask(self, row: Row) -> httpx.Response:
        path = re.sub(r"\{\w+\}", "1", row.path.replace("{document_id}", PLAN.id))
        return self.client.request(row.method, path, json=BODIES.get(row.path), headers=ANN)


@contextmanager
def opened(home: Path, **settings: int) -> Iterator[World]:
    library = open_library(home, PLAN, **settings)
    with fake_keycloak() as keycloak:
        worth = AskedOfKeycloak(Introspection(keycloak.url, CLIENT, SECRET), Freshness(0.0))
        yield World(library, keycloak, TestClient(library.app(worth=worth), base_url="http://127.0.0.1"))
    library.kustos.records.catalog.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with opened(tmp_path / "home") as world:
        yield world


def named(row: Row) -> str:
    return f"{row.method} {row.path}"


def test_whoever_is_confirmed_is_answered(world: World) -> None:
    for row in READERS:
        reply = world.ask(row)
        assert reply.status_code not in {401, 403, 503}, reply.text


@pytest.mark.parametrize("row", [*READERS, *ON_DUTY], ids=named)
def test_rc_01_a_token_that_keycloak_has_ended_opens_no_address(world: World, row: Row) -> None:
    world.keycloak.active = False
    reply = world.ask(row)
    assert reply.status_code == 401
    assert "moonshot" not in reply.text
    assert world.library.index.searched == 0


@pytest.mark.parametrize("row", [*READERS, *ON_DUTY], ids=named)
def test_ft_02_without_an_answer_of_keycloak_every_address_is_503(world: World, row: Row) -> None:
    world.keycloak.reply = say(b"<html>Bad Gateway</html>")
    reply = world.ask(row)
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "unavailable")
    assert reply.headers["Retry-After"]
    assert "Traceback" not in reply.text
    assert world.library.index.searched == 0
    world.keycloak.reply = None
    assert world.ask(row).status_code != 503


@pytest.mark.parametrize("row", [row for row in READERS if row.early], ids=named)
def test_rc_06_a_question_is_searched_with_the_rights_of_now(world: World, row: Row) -> None:
    assert "moonshot" in world.ask(row).text
    world.keycloak.now = {"groups": []}
    reply = world.ask(row)
    assert reply.status_code == 200
    assert "moonshot" not in reply.text


@pytest.mark.parametrize("row", [row for row in READERS if row.early], ids=named)
def test_nothing_is_searched_before_keycloak_has_answered(world: World, row: Row) -> None:
    world.keycloak.reply = world.keycloak.hang
    with ThreadPoolExecutor(1) as other:
        asked = other.submit(world.ask, row)
        assert world.keycloak.questioned.wait(30)
        assert world.library.index.searched == 0
        world.keycloak.now = {"groups": []}
        world.keycloak.released.set()
        assert "moonshot" not in asked.result(30).text


@pytest.mark.parametrize("stream", [False, True])
def test_rc_05_citations_are_those_that_the_caller_may_read_when_the_answer_is_written(
    world: World, stream: bool
) -> None:
    def ask() -> httpx.Response:
        return world.client.post("/v1/chat/completions", json={**CHAT, "stream": stream}, headers=ANN)

    assert '"citations": [{' in ask().text.replace('":[{', '": [{')
    answer = world.library.answerer.answer

    def answer_and_take_away(*arguments):
        yield from answer(*arguments)
        world.keycloak.active = False

    world.library.answerer.answer = answer_and_take_away
    reply = ask()
    assert '"citations"' not in reply.text
    assert "not_authenticated" in reply.text
    assert reply.status_code == (200 if stream else 401)


@pytest.mark.parametrize("address", ["/v1/documents", "/v1/keys"])
def test_sa_05_a_token_that_keycloak_refuses_uses_up_nothing_of_its_persons(tmp_path: Path, address: str) -> None:
    """Somebody stole it, and its owner has ended its session: she goes on with another one."""
    with opened(tmp_path / "home", requests_per_subject=6) as world:
        world.keycloak.active = False
        stolen = [world.client.get(address, headers=ANN).status_code for _ in range(REFUSALS_OF_A_TOKEN + 20)]
        assert stolen == [401] * REFUSALS_OF_A_TOKEN + [429] * 20
        assert len(world.keycloak.asked) == REFUSALS_OF_A_TOKEN, "nor is Keycloak asked without end"
        world.keycloak.active = True
        another = {"Authorization": f"Bearer {token(sub='ann', groups=['/sales'], jti='another')}"}
        assert [world.client.get(address, headers=another).status_code for _ in range(7)] == [200] * 6 + [429]


def test_sa_05_a_token_that_keycloak_confirms_is_counted_all_the_same(tmp_path: Path) -> None:
    with opened(tmp_path / "home", requests_per_subject=6) as world:
        assert [world.client.get("/v1/documents", headers=ANN).status_code for _ in range(7)] == [200] * 6 + [429]
        assert len(world.keycloak.asked) == 6, "beyond it Keycloak is not asked"
        world.keycloak.reply = say(b"<html>Bad Gateway</html>")
        other = person("bob")
        assert [world.client.get("/v1/documents", headers=other).status_code for _ in range(7)] == [503] * 6 + [429]


def test_ft_03_a_silent_keycloak_does_not_stop_what_needs_none(world: World) -> None:
    """More requests wait than the service has threads."""
    world.keycloak.reply = world.keycloak.hang
    waiting = 100
    with (
        served(world.client.app) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=60, limits=httpx.Limits()) as client,
        ThreadPoolExecutor(waiting) as people,
    ):
        asked = [people.submit(client.post, "/v1/search", json=SEARCH, headers=ANN) for _ in range(waiting)]
        assert world.keycloak.questioned.wait(30)
        for address in ("/healthz", "/readyz", "/"):
            assert client.get(address).status_code == 200
        assert not any(each.done() and each.result().status_code == 200 for each in asked)
        world.keycloak.released.set()
        assert {each.result(60).status_code for each in asked} <= {200, 503}
