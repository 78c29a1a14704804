"""A request is decided upon once it is whole: who sends its end late gets what he may read then, and has not long."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Message

from api import middleware
from api.access_table import TABLE, Duty, Row
from api.admission.key_issue import issue
from api.tokens.auth import AskedOfKeycloak
from api.tokens.freshness import Freshness
from api.tokens.introspection import Introspection
from rag.access import principals
from rag.access.api_keys import KeyScope
from tests.fake_keycloak import CLIENT, SECRET, fake_keycloak
from tests.fake_provider import FakeProvider
from tests.fakes import Clock
from tests.library import REALM, SALES, CurrentSubjects, Written, open_library, person

PLAN = Written("plan.txt", ["The moonshot plan."], frozenset({SALES}))
DUTIES = ["operator", "auditor", "evaluator"]
ANN = person("ann", groups=["/sales"], duties=DUTIES)
WITH_BODY = [row for row in TABLE if row.method == "POST" and row.duty not in {Duty.PUBLIC, Duty.PAGE, Duty.DEMO}]
BODIES = {
    "/v1/search": {"query": "plan"},
    "/v1/chat/completions": {"model": "extractive", "messages": [{"role": "user", "content": "what is in the plan?"}]},
    "/v1/keys": {"name": "a thief's", "scopes": ["query"], "days": 366},
}
Receive = Callable[[], Awaitable[Message]]


def named(row: Row) -> str:
    return row.path


def reply_to(app: ASGIApp, path: str, headers: dict[str, str], receive: Receive) -> tuple[int, dict[str, str], str]:
    """Status, headers and text of a POST whose body comes from `receive`."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    given = {"host": "127.0.0.1", "content-type": "application/json", **headers}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    start = sent[0]
    text = b"".join(each.get("body", b"") for each in sent[1:]).decode()
    return start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, text


def once_asked_for(body: object, then: Callable[[], None]) -> Receive:
    """The body, whole; what is done `then` is done when the service begins to read it."""
    coming = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive() -> Message:
        if not coming:
            return await asyncio.Future()  # the client stays
        then()
        return coming.pop()

    return receive


@pytest.mark.parametrize("row", WITH_BODY, ids=named)
def test_rc_05_what_keycloak_ended_before_the_last_byte_came_counts(tmp_path: Path, row: Row) -> None:
    library = open_library(tmp_path, PLAN)
    with fake_keycloak() as keycloak:
        worth = AskedOfKeycloak(Introspection(keycloak.url, CLIENT, SECRET), Freshness(0.0))
        asked_before: list[int] = []

        def end() -> None:
            asked_before.append(len(keycloak.asked))
            keycloak.active = False

        path = re.sub(r"\{\w+\}", "1", row.path)
        status, headers, text = reply_to(library.app(worth=worth), path, ANN, once_asked_for(BODIES.get(row.path), end))
    assert asked_before == [0], "Keycloak was asked before the request was whole"
    assert status == 401
    assert "moonshot" not in text
    assert "ratelimit" not in {name.lower() for name in headers}, "SC-10: how busy the account is"
    assert library.index.searched == 0


@pytest.mark.parametrize("path", ["/v1/search", "/v1/chat/completions"])
def test_rc_05_a_key_that_ended_before_the_last_byte_came_opens_nothing(tmp_path: Path, path: str) -> None:
    ann = principals.user(REALM, "ann")
    subjects = CurrentSubjects({ann: frozenset({ann, SALES})})
    library = open_library(tmp_path, PLAN)
    key, _ = issue(library.kustos.records, ann, {KeyScope.QUERY}, name="", days=1, by=ann)
    late = once_asked_for(BODIES[path], subjects.held.clear)
    status, _, text = reply_to(library.app(subjects=subjects), path, {"X-API-Key": key.text}, late)
    assert (status, "moonshot" in text) == (401, False)


async def never() -> Message:
    return await asyncio.Future()


@pytest.mark.parametrize("path", ["/v1/search", "/v1/keys", "/session/backchannel-logout"])
def test_sa_08_who_does_not_send_the_rest_is_refused_after_a_while(tmp_path: Path, monkeypatch, path: str) -> None:
    monkeypatch.setattr(middleware, "MAX_BODY_S", 0.01)
    library = open_library(tmp_path, PLAN)
    app = library.app(sessions=FakeProvider(Clock()).sessions(library.kustos.records.sessions))
    headers = {} if path.startswith("/session") else ANN
    status, _, text = reply_to(app, path, headers, never)
    assert (status, json.loads(text)["error"]["code"]) == (408, "too_slow")


def test_sa_08_no_more_of_a_logout_is_read_than_a_token_needs(tmp_path: Path) -> None:
    pieces = iter([b"logout_token=" + b"x" * 20_000] * 100)

    async def receive() -> Message:
        return {"type": "http.request", "body": next(pieces), "more_body": True}

    library = open_library(tmp_path, PLAN)
    app = library.app(sessions=FakeProvider(Clock()).sessions(library.kustos.records.sessions))
    assert reply_to(app, "/session/backchannel-logout", {}, receive)[0] == 400
    assert len(list(pieces)) == 98


def test_who_goes_away_in_the_middle_of_a_body_leaves_no_trace_of_a_fault(tmp_path: Path, caplog) -> None:
    async def gone() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(IndexError):  # nothing was sent, because nobody is there
        reply_to(open_library(tmp_path, PLAN).app(), "/v1/search", ANN, gone)
    assert "failed" not in caplog.text
