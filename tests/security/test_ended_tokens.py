"""Who has somebody's token or cookie after it has ended learns nothing by it, and takes nothing from its person."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.types import Message

from api import middleware
from api.admission import doors
from api.admission.key_issue import issue
from api.sign_in.sessions import Sessions
from api.tokens.auth import AskedOfKeycloak, Verified
from api.tokens.freshness import Freshness
from api.tokens.introspection import Introspection
from rag.access import principals
from rag.access.api_keys import KeyScope
from rag.access.scope import Caller
from rag.errors import NotAuthenticated
from tests.fake_keycloak import CLIENT, SECRET, FakeKeycloak, fake_keycloak, say
from tests.fake_provider import FakeProvider
from tests.fakes import Clock
from tests.houses import street
from tests.library import REALM, SALES, CurrentSubjects, Library, Written, open_library, person, token
from tests.security.test_late_bodies import Receive, never, once_asked_for, reply_to

PLAN = Written("plan.txt", ["The moonshot plan."], frozenset({SALES}))
ENDED = person("ann", groups=["/sales"])
ANEW = {"Authorization": f"Bearer {token(sub='ann', groups=['/sales'], jti='anew')}"}
SIZE = 10
QUESTION = {"query": "plan"}


@pytest.fixture
def keycloak() -> Iterator[FakeKeycloak]:
    """Refuses the token that has ended, and no other."""
    with fake_keycloak() as keycloak:

        def reply(handler: BaseHTTPRequestHandler) -> None:
            ended = keycloak.asked[-1]["token"] == ENDED["Authorization"].split()[1]
            (say(b'{"active": false}') if ended else keycloak.answer)(handler)

        keycloak.reply = reply
        yield keycloak


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return open_library(tmp_path, PLAN, requests_per_subject=SIZE)


def worth(keycloak: FakeKeycloak) -> AskedOfKeycloak:
    return AskedOfKeycloak(Introspection(keycloak.url, CLIENT, SECRET), Freshness(0.0))


@pytest.fixture
def app(library: Library, keycloak: FakeKeycloak) -> FastAPI:
    return library.app(worth=worth(keycloak))


def client(app: FastAPI) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1")


def going_away() -> Receive:
    messages: list[Message] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    return receive


def without_end() -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"x" * 500_000, "more_body": True}

    return receive


BODIES = {"goes away": going_away, "too long": without_end, "does not come": lambda: never}


@pytest.mark.parametrize("path", ["/v1/search", "/v1/keys"])
@pytest.mark.parametrize("body", BODIES)
def test_sa_06_bodies_that_never_come_whole_take_no_request_from_its_person(app, monkeypatch, path, body) -> None:
    monkeypatch.setattr(middleware, "MAX_BODY_S", 0.01)
    for _ in range(SIZE + 2):
        try:
            status, headers, _ = reply_to(app, path, ENDED, BODIES[body]())
        except IndexError:  # nobody is there to be answered
            continue
        assert status in {401, 429}
        assert "ratelimit" not in headers, "SC-10: how busy the account is"
    assert client(app).get("/v1/keys", headers=ANEW).status_code == 200
    assert client(app).post("/v1/search", json=QUESTION, headers=ANEW).status_code == 200


def test_sa_08_one_token_holds_so_many_half_requests_at_most(app: FastAPI, monkeypatch) -> None:
    monkeypatch.setattr(doors, "BODIES_OF_ONE", 3)
    held = doors.Doors.__dataclass_fields__["bodies"].default_factory()
    object.__setattr__(app.state.doors, "bodies", held)
    statuses: list[int] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def ask() -> None:
        given = {"host": "127.0.0.1", "content-type": "application/json", **ANEW}
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": "/v1/search", "raw_path": b"/v1/search", "query_string": b"", "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        }  # fmt: skip
        await app(scope, never, send)

    async def all_at_once() -> None:
        monkeypatch.setattr(middleware, "MAX_BODY_S", 1.0)
        await asyncio.gather(*(ask() for _ in range(5)))

    asyncio.run(all_at_once())
    assert sorted(statuses) == [408, 408, 408, 429, 429]


WRONG = [
    ("/v1/search", {}),
    ("/v1/search", {"query": " "}),
    ("/v1/search", {"query": "x", "narrow": {"nothing": ["x"]}}),
    ("/v1/chat/completions", {"model": "nothing", "messages": [{"role": "user", "content": "plan?"}]}),
    ("/v1/chat/completions", {}),
    ("/v1/keys", {}),
    ("/v1/search", QUESTION),
]


@pytest.mark.parametrize(("path", "body"), WRONG)
def test_sc_10_whatever_it_asks_the_answer_is_that_it_has_ended(app: FastAPI, path: str, body: object) -> None:
    reply = client(app).post(path, json=body, headers=ENDED)
    assert (reply.status_code, reply.headers.get("ratelimit")) == (401, None)


class _Refusing:
    """Refuses one token."""

    def __init__(self, refused: str) -> None:
        self._refused = refused

    def caller(self, token: Verified) -> Future[Caller]:
        answer: Future[Caller] = Future()
        if token.text == self._refused:
            answer.set_exception(NotAuthenticated("signed out"))
        else:
            answer.set_result(Caller("north", token.subject, frozenset()))
        return answer

    def forget(self, **_: object) -> None: ...


def test_mt_02_sent_to_the_page_of_another_tenant_it_takes_nothing_either(tmp_path: Path, monkeypatch) -> None:
    with street(tmp_path, ["north", "south"], requests_per_subject=SIZE) as found:
        north = found.houses[0]
        ended, anew = north.token(jti="ended"), north.token(jti="anew")
        (issuer,) = north.app.state.doors.identity._issuers.values()
        object.__setattr__(issuer, "worth", _Refusing(ended))
        front = TestClient(found.front, base_url="http://127.0.0.1")

        def ask(token: str, host: str) -> int:
            return front.get("/v1/models", headers={"Authorization": f"Bearer {token}", "Host": host}).status_code

        assert {ask(ended, "south.example") for _ in range(SIZE + 2)} <= {401, 429}
        assert ask(anew, "south.example") == 403
        assert ask(anew, "north.example") == 200


def signed_in(library: Library, keycloak: FakeKeycloak) -> tuple[Sessions, dict[str, str]]:
    provider = FakeProvider(Clock(time.time()))
    sessions = provider.sessions(library.kustos.records.sessions, worth(keycloak))
    secret, address = sessions.begin()
    held = sessions.complete(secret, provider.confirm(address))
    return sessions, {"cookie": f"__Host-kustos-session={held}", "x-kustos-page": "1"}


def test_rc_05_a_session_that_ended_here_before_the_last_byte_came_opens_nothing(library, keycloak) -> None:
    sessions, headers = signed_in(library, keycloak)
    app = library.app(worth=worth(keycloak), sessions=sessions)
    held = headers["cookie"].partition("=")[2]
    late = once_asked_for(QUESTION, lambda: sessions.forget(held))
    status, _, text = reply_to(app, "/v1/search", headers, late)
    assert (status, "moonshot" in text) == (401, False)


def test_sc_10_the_page_does_not_tell_how_busy_the_person_of_an_ended_session_is(library, keycloak) -> None:
    sessions, headers = signed_in(library, keycloak)
    page = client(library.app(worth=worth(keycloak), sessions=sessions))
    assert "ratelimit" in page.get("/session", headers=headers).headers
    keycloak.reply = say(b'{"active": false}')
    reply = page.get("/session", headers=headers)
    assert (reply.json()["person"], "ratelimit" in reply.headers) == (None, False)


def test_sa_06_a_key_that_is_for_something_else_is_counted(tmp_path: Path) -> None:
    ann = principals.user(REALM, "ann")
    library = open_library(tmp_path, PLAN, requests_per_key=5)
    subjects = CurrentSubjects({ann: frozenset({ann})})
    key, _ = issue(library.kustos.records, ann, {KeyScope.QUERY}, name="", days=1, by=ann)
    asked = client(library.app(subjects=subjects))
    statuses = [asked.get("/v1/keys", headers={"X-API-Key": key.text}).status_code for _ in range(7)]
    assert statuses == [403] * 5 + [429] * 2


@pytest.mark.parametrize("host", ["[", "[::1", "[]", "a:b:c", "127.0.0.1:99999999"])
def test_a_host_that_is_none_is_no_fault_of_this_service(tmp_path: Path, host: str) -> None:
    library = open_library(tmp_path, PLAN, host="0.0.0.0")
    sessions = FakeProvider(Clock(time.time())).sessions(library.kustos.records.sessions)
    reply: httpx.Response = client(library.app(sessions=sessions)).get(
        "/session/login", headers={"host": host}, follow_redirects=False
    )
    assert reply.status_code == 303
