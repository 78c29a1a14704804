"""Whether the identity provider answers: known to a few seconds, asked once for however many want to know."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Barrier, Event

import httpx
import pytest
from fastapi.testclient import TestClient

from api import logs
from api.admission.doors import Doors
from api.keycloak_realm.standing import AskedAsUs
from api.readiness import SILENT, SILENT_TO_SOME, SharedLook, look
from api.tokens.auth import LEEWAY_S
from api.tokens.claims import Claims
from api.tokens.discovery import KNOWN_S, Provider
from rag.access.groups import Group
from rag.errors import KustosError, NotAllowed, NotAuthenticated, Unavailable
from tests.fake_provider import FakeProvider
from tests.fakes import Clock
from tests.houses import street
from tests.library import open_library

BASE = "https://id.example/realms/acme"


@dataclass
class World:
    """A provider whose answers and clock a test sets."""

    now: float = 0.0
    asked: int = 0
    answer: Callable[[], httpx.Response] = lambda: httpx.Response(200, json={"issuer": BASE})
    refused: KustosError | None = None
    ahead_s: float = 0.0
    released: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        http = httpx.Client(transport=httpx.MockTransport(self._serve))
        self.provider = Provider(BASE, http, clock=lambda: self.now, ask_as_us=self._ask_as_us)

    def _serve(self, request: httpx.Request) -> httpx.Response:
        assert str(request.url) == f"{BASE}/.well-known/openid-configuration"
        self.asked += 1
        return self.answer()

    def _ask_as_us(self) -> float:
        if self.refused:
            raise self.refused
        return self.ahead_s

    def refuse(self) -> httpx.Response:
        raise httpx.ConnectError("Connection refused")

    def hang(self) -> httpx.Response:
        self.released.wait(30)
        return httpx.Response(200, json={"issuer": BASE})


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.released.set()


def test_it_is_asked_once_within_a_few_seconds_however_many_want_to_know(world: World) -> None:
    assert [world.provider.answers(1.0) for _ in range(100)] == [True] * 100
    assert world.asked == 1
    world.now += KNOWN_S
    assert world.provider.answers(1.0)
    assert world.asked == 2


def test_ft_02_silence_and_its_end_are_noticed_and_each_is_one_line_of_the_log(world: World, caplog) -> None:
    caplog.set_level(logging.INFO, "api.tokens.discovery")
    told = []
    for answer in (world.refuse, world.refuse, World.answer, World.answer):
        world.answer = answer
        told.append(world.provider.answers(1.0))
        world.now += KNOWN_S
    assert told == [False, False, True, True]
    assert [each.levelname for each in caplog.records] == ["WARNING", "INFO"]
    assert "nobody can be admitted" in caplog.messages[0]
    assert "Connection refused" in caplog.messages[0]


def test_its_silence_is_logged_under_the_tenant_for_whom_it_was_opened_whoever_asks(caplog) -> None:
    caplog.handler.setFormatter(logs.WithoutKeys("%(message)s"))
    with logs.lines_of("north"):
        world = World()
    world.answer = world.refuse
    assert not world.provider.answers(1.0)
    assert caplog.text.startswith("[north] nobody can be admitted")


@pytest.mark.parametrize("error", [Unavailable("status 401; check KUSTOS_SERVICE_SECRET"), NotAllowed("no roles")])
def test_one_that_answers_others_and_not_this_service_does_not_answer(world: World, caplog, error) -> None:
    world.refused = error
    assert not world.provider.answers(1.0)
    assert str(error) in caplog.text
    world.refused, world.now = None, world.now + KNOWN_S
    assert world.provider.answers(1.0)


def test_ft_03_who_asks_while_it_hangs_waits_so_long_and_who_comes_later_not_at_all(world: World) -> None:
    world.answer = world.hang
    assert not world.provider.answers(0.01)
    world.now += KNOWN_S
    assert not world.provider.answers(KNOWN_S)
    assert world.asked == 1
    world.released.set()
    assert world.provider.answers(KNOWN_S + 30)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"issuer": 1}', b"<html>", b'"' + b"x" * 300_000 + b'"'])
def test_what_is_no_description_names_no_issuer(world: World, body: bytes) -> None:
    world.answer = lambda: httpx.Response(200, content=body)
    with pytest.raises(Unavailable, match="does not answer"):
        world.provider.issuer()
    assert not world.provider.answers(1.0)


def with_provider(doors: Doors, provider: Provider) -> Doors:
    return Doors(**{name: getattr(doors, name) for name in doors.__slots__} | {"provider": provider})


@pytest.fixture
def client(world: World, tmp_path: Path) -> TestClient:
    library = open_library(tmp_path)
    sessions = FakeProvider(Clock()).sessions(library.kustos.records.sessions)
    app = library.app(sessions=sessions)
    app.state.doors = with_provider(app.state.doors, world.provider)
    app.state.look = SharedLook(lambda: look([(library.kustos, app.state.doors)]), clock=lambda: world.now)
    return TestClient(app, base_url="http://127.0.0.1", follow_redirects=False)


def test_ft_02_while_the_provider_is_silent_the_service_stays_ready_and_says_that_nobody_is_admitted(
    world: World, client: TestClient
) -> None:
    assert client.get("/readyz").json() == {"status": "ready", "admits": True, "reason": None}
    world.answer, world.now = world.refuse, world.now + KNOWN_S
    reply = client.get("/readyz")
    assert reply.status_code == 200
    assert reply.json()["admits"] is False
    assert reply.json()["reason"] == SILENT


def test_ft_02_of_several_tenants_the_silent_ones_are_all_found_and_outsiders_hear_no_names(
    world: World, tmp_path: Path
) -> None:
    silent = [World(), World()]
    with street(tmp_path, ["north", "south", "west"]) as found:
        opened = zip(found.houses, [*silent, world], strict=True)
        services = [(house.kustos, with_provider(house.app.state.doors, each.provider)) for house, each in opened]
        assert look(services).admits
        for each in silent:
            each.answer, each.now = each.refuse, KNOWN_S
        told = look(services)
    assert (told.admits, told.reason) == (False, SILENT_TO_SOME)
    assert not any(each.provider.answers(1.0) for each in silent), "as was found"
    assert [each.asked for each in silent] == [2, 2]


@pytest.mark.parametrize(
    ("ahead_s", "told"), [(-LEEWAY_S, None), (LEEWAY_S, None), (300.2, "300 s behind"), (-300.9, "301 s ahead of")]
)
def test_tv_18_readiness_says_how_far_the_clocks_are_apart(
    world: World, client: TestClient, caplog, ahead_s, told
) -> None:
    world.ahead_s = ahead_s
    for _ in range(2):
        reply = client.get("/readyz").json()
        assert (reply["status"], reply["admits"]) == ("ready", True)
        assert reply["reason"] is None if told is None else told in reply["reason"]
        world.now += KNOWN_S
    assert len([each for each in caplog.messages if "clock" in each]) == bool(told)
    world.ahead_s = 0.0
    assert client.get("/readyz").json()["reason"] is None


@dataclass
class OwnTokens:
    """What Keycloak gives the service, and what it says of that; `issued` counts by Keycloak's clock."""

    token: str = "first"
    issued: object = 1_000
    ended: list[str] = field(default_factory=list)
    may_not_look: bool = False

    def credentials(self) -> str:
        return self.token

    def renew(self) -> None:
        self.token += " again"

    def claims(self, token: str) -> Claims:
        assert token == self.token
        if token in self.ended:
            raise NotAuthenticated("not any more")
        return {"active": True, "iat": self.issued, "sub": "service"}

    def groups_of(self, subject: str) -> list[Group]:
        assert subject == "service"
        if self.may_not_look:
            raise NotAllowed("view-users")
        return []


def test_tv_18_the_clock_is_read_from_a_new_token_and_not_from_one_that_has_grown_old() -> None:
    own, now = OwnTokens(), [1_001.0]
    asked = AskedAsUs(own, own, lambda: now[0])
    assert asked() == -1
    now[0] += 50
    assert asked() == -1
    own.token, own.issued = "second", 1_351
    assert asked() == 300


def test_rc_04_a_not_before_that_was_pushed_ends_its_own_token_and_not_the_service() -> None:
    own = OwnTokens(ended=["first"])
    AskedAsUs(own, own)()
    assert own.token == "first again"
    own.ended.append(own.token)
    own.ended.append(f"{own.token} again")
    with pytest.raises(NotAuthenticated):
        AskedAsUs(own, own)()


def test_a_service_that_may_not_look_at_people_admits_nobody() -> None:
    own = OwnTokens(may_not_look=True)
    with pytest.raises(NotAllowed):
        AskedAsUs(own, own)()


def test_tv_18_a_token_that_was_of_no_use_at_first_says_the_same_of_the_clock_later() -> None:
    own, now = OwnTokens(may_not_look=True), [1_000.0]
    asked = AskedAsUs(own, own, lambda: now[0])
    with pytest.raises(NotAllowed):
        asked()
    own.issued, own.may_not_look = None, False
    with pytest.raises(Unavailable):
        asked()
    own.issued = 1_000
    now[0] += 60
    assert asked() == 0


@pytest.mark.parametrize("issued", [None, "1000", 1.5, -1, 10**400])
def test_a_provider_that_does_not_say_when_it_issued_a_token_does_not_answer(issued: object) -> None:
    own = OwnTokens(issued=issued)
    with pytest.raises(Unavailable, match="from when"):
        AskedAsUs(own, own)()


def test_mt_07_providers_of_several_tenants_are_asked_at_once_and_the_waits_do_not_add_up(tmp_path: Path) -> None:
    both_are_asked = Barrier(2)

    def answer() -> httpx.Response:
        both_are_asked.wait(30)
        return httpx.Response(200, json={"issuer": BASE})

    library, north, south = open_library(tmp_path), World(answer=answer), World(answer=answer)
    doors: Doors = library.app().state.doors
    assert look([(library.kustos, replace(doors, provider=each.provider)) for each in (north, south)]).admits


def test_ft_02_nobody_is_sent_to_a_provider_that_is_silent(world: World, client: TestClient) -> None:
    assert client.get("/session/login").headers["location"].startswith(BASE)
    world.answer, world.now = world.refuse, world.now + KNOWN_S
    reply = client.get("/session/login")
    assert (reply.status_code, reply.headers["location"]) == (303, "/#sign-in-unavailable")
    assert "set-cookie" not in reply.headers
