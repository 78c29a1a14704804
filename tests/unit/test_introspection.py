"""What Keycloak says of a token, from a real server on loopback that may say anything: it counts, or the answer is 503."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial

import pytest

from api.tokens.auth import SAME, AskedOfKeycloak, Identity
from api.tokens.connections import MAX_BYTES
from api.tokens.freshness import Freshness
from api.tokens.introspection import Introspection
from rag.access import principals
from rag.errors import NotAuthenticated, Unavailable
from tests import library
from tests.fake_keycloak import (
    CLIENT,
    SECRET,
    FakeKeycloak,
    Reply,
    blurt,
    break_off,
    fake_keycloak,
    say,
    say_and_close,
)
from tests.library import REALM, issuer

pytestmark = pytest.mark.loopback

NOW = int(time.time())
token = partial(library.token, NOW)
SALES = principals.group(REALM, "/sales")
SHORT_S = 0.2
ACTIVE = json.dumps({"active": True}).encode()


@pytest.fixture
def keycloak() -> Iterator[FakeKeycloak]:
    with fake_keycloak() as fake:
        yield fake


def introspection(keycloak: FakeKeycloak, timeout_s: float = 10.0) -> Introspection:
    return Introspection(keycloak.url, CLIENT, SECRET, timeout_s)


def identity(keycloak: FakeKeycloak, freshness_s: float = 0.0) -> Identity:
    worth = AskedOfKeycloak(introspection(keycloak), Freshness(freshness_s))
    return Identity([issuer(worth=worth)], clock=lambda: NOW)


def test_the_caller_has_the_rights_of_the_answer_and_not_those_of_the_token(keycloak: FakeKeycloak) -> None:
    keycloak.now = {"groups": ["/now"], "realm_access": {"roles": ["now"]}, "resource_access": {}}
    then = {"groups": ["/sales"], "realm_access": {"roles": ["then"]}, "resource_access": {"kustos": {"roles": ["o"]}}}
    assert identity(keycloak).caller(token(**then)).principals == {
        principals.user(REALM, "ann"),
        principals.group(REALM, "/now"),
        principals.realm_role(REALM, "now"),
    }


def test_rc_06_each_request_asks_anew(keycloak: FakeKeycloak) -> None:
    shown, service = token(groups=["/sales"]), identity(keycloak)
    assert SALES in service.caller(shown).principals
    keycloak.now = {"groups": []}
    assert SALES not in service.caller(shown).principals
    keycloak.active = False
    with pytest.raises(NotAuthenticated):
        service.caller(shown)


def test_the_question_shows_the_token_and_the_services_own_secret_in_its_body(keycloak: FakeKeycloak) -> None:
    shown = token()
    introspection(keycloak).claims(shown)
    assert keycloak.asked == [
        {"token": shown, "token_type_hint": "access_token", "client_id": CLIENT, "client_secret": SECRET}
    ]


def test_a_token_that_does_not_verify_here_is_not_shown_to_keycloak(keycloak: FakeKeycloak) -> None:
    with pytest.raises(NotAuthenticated):
        identity(keycloak).caller(token(exp=NOW - 3600))
    assert keycloak.asked == []


def test_questions_go_over_one_connection_that_stays_open(keycloak: FakeKeycloak) -> None:
    asking = introspection(keycloak)
    for _ in range(20):
        asking.claims(token())
    assert keycloak.connections == 1


def test_a_connection_that_keycloak_closed_meanwhile_is_replaced(keycloak: FakeKeycloak) -> None:
    asking = introspection(keycloak)
    keycloak.reply = say_and_close(ACTIVE)
    for _ in range(20):
        assert asking.claims(token())["active"] is True


@pytest.mark.parametrize("name", [*SAME, "client_id"])
@pytest.mark.parametrize("changed", ["another", ...])
def test_tv_24_an_answer_about_another_token_counts_for_nothing(
    keycloak: FakeKeycloak, name: str, changed: object
) -> None:
    shown, service = token(jti="j", sid="s"), identity(keycloak)
    assert service.caller(shown)
    keycloak.now = {name: changed}
    with pytest.raises(NotAuthenticated, match=f"another token.*{name}"):
        service.caller(shown)


@pytest.mark.parametrize("audience", ["account", ["account"], "kustos2", ..., None])
def test_tv_24_an_answer_for_another_audience_counts_for_nothing(keycloak: FakeKeycloak, audience: object) -> None:
    keycloak.now = {"aud": audience}
    with pytest.raises(NotAuthenticated, match="audience"):
        identity(keycloak).caller(token())


@pytest.mark.parametrize(
    "now",
    [
        {"groups": "/sales"},
        {"groups": None},
        {"groups": ...},
        {"groups": [["/sales"]]},
        {"groups": ["sales"]},
        {"realm_access": ...},
        {"realm_access": ["staff"]},
        {"realm_access": {"roles": "staff"}},
        {"resource_access": {"kustos": {"roles": [1]}}},
    ],
)
def test_rm_09_rights_of_the_wrong_shape_in_the_answer_make_nobody(keycloak: FakeKeycloak, now: dict) -> None:
    keycloak.now = now
    with pytest.raises(NotAuthenticated):
        identity(keycloak).caller(token(groups=["/sales"]))


BAD_REPLIES: dict[str, Reply] = {
    "status 500": say(b'{"active": true}', 500),
    "status 204": say(b"", 204),
    "an error page with status 200": say(b"<html>Bad Gateway</html>"),
    "nothing in it": say(b""),
    "no JSON object": say(b"[true]"),
    "no active": say(b'{"sub": "ann"}'),
    "active in words": say(b'{"active": "true"}'),
    "active as a number": say(b'{"active": 1}'),
    "active twice": say(b'{"active": false, "active": true}'),
    "JSON without end": say(b'{"active": true'),
    "JSON too deep": say(b'{"active":' * 100_000),
    "no UTF-8": say(b'{"active": true, "\xff": 1}'),
    "too large": say(b'{"active": true, "x": "' + b"x" * MAX_BYTES + b'"}'),
    "cut off": break_off(ACTIVE),
    "two lengths": say(ACTIVE, **{"Content-length": "5"}),
    "no length": blurt(b"HTTP/1.1 200 OK\r\n\r\n" + ACTIVE),
    "no HTTP": blurt(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "closed without a word": blurt(b""),
    "a header without end": blurt(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000),
}


@pytest.mark.parametrize("what", BAD_REPLIES)
def test_tv_24_what_is_no_answer_is_unavailable_and_the_next_answer_counts(keycloak: FakeKeycloak, what: str) -> None:
    shown, service = token(), identity(keycloak)
    keycloak.reply = BAD_REPLIES[what]
    with pytest.raises(Unavailable) as raised:
        service.caller(shown)
    assert shown not in str(raised.value)
    assert SECRET not in str(raised.value)
    keycloak.reply = None
    assert service.caller(shown)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_tv_07_a_redirect_is_not_followed_and_no_secret_goes_with_it(keycloak: FakeKeycloak, status: int) -> None:
    with fake_keycloak() as elsewhere:
        keycloak.reply = say(b"", status, Location=elsewhere.url)
        with pytest.raises(Unavailable, match=str(status)):
            identity(keycloak).caller(token())
        assert (elsewhere.asked, elsewhere.connections) == ([], 0)


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_wrong_secret_is_told_by_the_name_of_its_setting(keycloak: FakeKeycloak, status: int) -> None:
    keycloak.reply = say(b'{"error": "invalid_client"}', status)
    with pytest.raises(Unavailable, match="KUSTOS_SERVICE_SECRET"):
        identity(keycloak).caller(token())


def test_ft_03_a_silent_keycloak_is_waited_for_so_long_and_no_longer(keycloak: FakeKeycloak) -> None:
    keycloak.reply = keycloak.hang
    with pytest.raises(Unavailable, match="TimeoutError"):
        introspection(keycloak, SHORT_S).claims(token())


def test_ft_03_an_answer_in_drops_is_given_up(keycloak: FakeKeycloak) -> None:
    def drip(handler) -> None:
        blurt(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")(handler)
        while not keycloak.released.wait(SHORT_S / 10):
            handler.wfile.write(b" ")

    keycloak.reply = drip
    with pytest.raises(Unavailable, match="not complete"):
        introspection(keycloak, SHORT_S).claims(token())


def test_ft_02_a_keycloak_that_is_down_is_unavailable_and_counts_again_once_it_is_back() -> None:
    shown = token()
    with fake_keycloak() as first:
        service = identity(first)
        assert service.caller(shown)
    with pytest.raises(Unavailable, match="ConnectionRefusedError"):
        service.caller(shown)
    with fake_keycloak(first.port) as second:
        assert service.caller(shown)
        assert len(second.asked) == 1
