"""Attacks on people who are signed in at the page: on their cookie, their sign-in, their way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from fastapi.testclient import TestClient

from api.admission.limits import REFUSALS_OF_A_TOKEN
from api.app import create_app
from api.sign_in.page_guard import SESSION_COOKIE, SIGN_IN_COOKIE
from api.sign_in.sealing import seal
from api.sign_in.sessions import IDLE_S, LONGEST_S, Sessions
from api.tokens.auth import AsIssued, Identity, Verified, Worth
from rag.access.scope import Caller
from rag.errors import NotAuthenticated
from rag.stores.catalog_schema import logout_tokens
from rag.stores.catalog_schema import sessions as rows
from tests import library
from tests.fake_provider import PAGE, FakeProvider
from tests.fakes import Clock
from tests.library import OPERATOR, SALES, Library, Written, open_library, person

PLAN = Written("plan.txt", ["The sales plan."], frozenset({SALES}))
FAILURES = 20
"""From an address in a minute; more than any other test here causes."""
OWN = {"X-Kustos-Page": "1"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Site:
    """A service whose page signs people in, seen by one browser after the other."""

    def __init__(self, library_: Library, worth: Worth | None = None) -> None:
        self.clock = Clock()
        self.provider = FakeProvider(self.clock)
        self.library = library_
        self.sessions: Sessions = self.provider.sessions(self.library.kustos.records.sessions, worth)
        identity = Identity([library.issuer()], self.clock)
        self.app = create_app(self.library.kustos, identity, None, OPERATOR, sessions=self.sessions)

    def browser(self) -> TestClient:
        return TestClient(self.app, base_url=PAGE, follow_redirects=False)

    def signed_in(self) -> TestClient:
        client = self.browser()
        entered = self.come_back(client, self.begin(client))
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        return client

    def begin(self, client: TestClient) -> dict[str, str]:
        """The browser begins to sign in; what the provider sends it back with."""
        return self.provider.confirm(client.get("/session/login").headers["location"])

    def come_back(self, client: TestClient, answer: dict[str, str] | str) -> httpx.Response:
        query = answer if isinstance(answer, str) else urlencode(answer)
        reply: httpx.Response = client.get(f"/session/callback?{query}")
        return reply

    def kept(self) -> list[tuple[object, ...]]:
        with self.library.kustos.records.catalog.reading() as connection:
            return [tuple(row) for row in connection.execute(rows.select())]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    found = open_library(
        tmp_path_factory.mktemp("page") / "home", PLAN, public_name="kustos.example", failures_per_address=FAILURES
    )
    yield found
    found.kustos.close()


@pytest.fixture
def site(opened: Library) -> Site:
    """Nobody has signed in yet, and no logout was heard of."""
    with opened.kustos.records.catalog.writing() as connection:
        connection.execute(rows.delete())
        connection.execute(logout_tokens.delete())
    return Site(opened)


def ask(client: TestClient, **headers: str) -> httpx.Response:
    reply: httpx.Response = client.post("/v1/search", json={"query": "sales plan"}, headers={**OWN, **headers})
    return reply


def refused(reply: httpx.Response) -> bool:
    assert reply.status_code == 303, reply.text
    given = [each.split("=")[0] for each in reply.headers.get_list("set-cookie")]
    return SESSION_COOKIE not in given and reply.headers["location"].startswith("/#sign-in-")


def test_ui_05_who_signs_in_reads_as_himself_and_the_browser_gets_one_opaque_cookie(site: Site) -> None:
    client = site.signed_in()
    assert [each["title"] for each in ask(client).json()["passages"]] == ["plan.txt"]
    assert client.get("/session", headers=OWN).json()["person"]["name"] == "Ann Lee"
    assert set(client.cookies) == {SESSION_COOKIE}
    assert len(client.cookies[SESSION_COOKIE]) == 43


@pytest.mark.parametrize(("name", "samesite"), [(SESSION_COOKIE, "Strict"), (SIGN_IN_COOKIE, "Lax")], ids=str)
def test_ui_05_no_script_no_other_host_and_no_other_site_gets_a_cookie(site: Site, name: str, samesite: str) -> None:
    client = site.browser()
    begun = client.get("/session/login")
    entered = site.come_back(client, site.provider.confirm(begun.headers["location"]))
    (given,) = [
        each
        for reply in (begun, entered)
        for each in reply.headers.get_list("set-cookie")
        if each.startswith(name) and "Max-Age=0" not in each
    ]
    assert name.startswith("__Host-")
    assert {"Path=/", "Secure", "HttpOnly", f"SameSite={samesite}"} <= set(given.split("; "))
    assert "Domain" not in given


def test_ui_05_a_copy_of_the_catalog_opens_nothing(site: Site) -> None:
    client = site.signed_in()
    (row,) = site.kept()
    assert "eyJ" not in str(row)
    assert client.cookies[SESSION_COOKIE] not in str(row)
    thief = site.browser()
    thief.cookies.set(SESSION_COOKIE, str(row[0]))
    assert ask(thief).status_code == 401


def test_a_row_that_was_exchanged_for_another_opens_nothing(site: Site) -> None:
    """Who can write to the catalog could put his own tokens under somebody's cookie, or somebody's under his."""
    client = site.signed_in()
    with site.library.kustos.records.catalog.writing() as connection:
        connection.execute(rows.update().values(sealed=seal("another cookie", b"{}")))
    assert ask(client).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": PAGE}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"X-Kustos-Page": ""}, 403),
        ({"X-Kustos-Page": "true"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://sub.kustos.example"}, 403),
        ({"Origin": "http://kustos.example"}, 403),
        ({"Origin": "https://kustos.example:8443"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/v1/search", "/v1/documents", "/session", "/session/logout"])
def test_ui_07_a_request_by_cookie_comes_from_our_own_page(
    site: Site, path: str, headers: dict[str, str], status: int
) -> None:
    client = site.signed_in()
    body = {"json": {"query": "sales plan"}} if path == "/v1/search" else {}
    method = "POST" if path in ("/v1/search", "/session/logout") else "GET"
    reply = client.request(method, path, headers={**OWN, **headers}, **body)
    assert reply.status_code == status
    assert "access-control-allow-origin" not in reply.headers
    if status == 403:
        assert ask(client).status_code == 200, "nobody was signed out either"


def test_ui_07_no_other_site_is_let_send_the_header(site: Site) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Headers": "x-kustos-page"}
    reply = site.browser().options("/v1/search", headers={**asked, "Access-Control-Request-Method": "POST"})
    assert reply.status_code == 405
    assert not [each for each in reply.headers if each.startswith("access-control")]


def test_tv_21_a_cookie_and_a_token_are_one_proof_too_many(site: Site) -> None:
    client = site.signed_in()
    assert ask(client, **person("bob", groups=["/sales"])).status_code == 400
    assert ask(client, Authorization=f"Bearer {OPERATOR.key}").status_code == 400
    client.cookies.set(SESSION_COOKIE, "garbage")
    assert ask(client, **person("bob", groups=["/sales"])).status_code == 400


@pytest.mark.parametrize(
    "value", ["", "x", "a" * 43, "a" * 10_000, "%00", '"quoted"', "..", "' OR 1=1 --"], ids=lambda each: each[:12]
)
def test_a_made_up_cookie_opens_nothing(site: Site, value: str) -> None:
    site.signed_in()
    client = site.browser()
    assert ask(client, Cookie=f"{SESSION_COOKIE}={value}").status_code == 401


def test_two_cookies_of_the_name_are_one_too_many(site: Site) -> None:
    good = site.signed_in().cookies[SESSION_COOKIE]
    twice = f"{SESSION_COOKIE}={good}; {SESSION_COOKIE}={good}"
    assert ask(site.browser(), Cookie=twice).status_code == 400


def test_ui_08_a_cookie_that_was_planted_before_does_not_become_a_session(site: Site) -> None:
    """Session fixation: what the browser had before is worth as little afterwards."""
    client = site.browser()
    client.cookies.set(SESSION_COOKIE, "planted", domain="kustos.example")
    site.come_back(client, site.begin(client))
    thief = site.browser()
    assert ask(thief, Cookie=f"{SESSION_COOKIE}=planted").status_code == 401


def test_a_new_sign_in_ends_the_browsers_session_before_it(site: Site) -> None:
    client = site.signed_in()
    before = client.cookies[SESSION_COOKIE]
    site.come_back(client, site.begin(client))
    assert client.cookies[SESSION_COOKIE] != before
    assert ask(client).status_code == 200
    assert ask(site.browser(), Cookie=f"{SESSION_COOKIE}={before}").status_code == 401


ANSWERS: dict[str, Callable[[dict[str, str]], dict[str, str] | str]] = {
    "no state": lambda answer: without(answer, "state"),
    "another state": lambda answer: {**answer, "state": "other"},
    "a state of another alphabet": lambda answer: {**answer, "state": "ä"},
    "no code": lambda answer: without(answer, "code"),
    "another code": lambda answer: {**answer, "code": "made-up"},
    "no provider": lambda answer: without(answer, "iss"),
    "another provider": lambda answer: {**answer, "iss": "https://evil.example/realms/acme"},
    "an error": lambda answer: {**without(answer, "code"), "error": "access_denied"},
    "a code and an error": lambda answer: {**answer, "error": "server_error"},
    "two codes": lambda answer: urlencode([("code", "other"), *answer.items()]),
    "nothing": lambda _: "",
}


def without(answer: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in answer.items() if key != name}


@pytest.mark.parametrize("attack", ANSWERS)
def test_ui_08_an_answer_that_was_tampered_with_signs_nobody_in(site: Site, attack: str) -> None:
    client = site.browser()
    assert refused(site.come_back(client, ANSWERS[attack](site.begin(client))))
    assert site.kept() == []
    assert SIGN_IN_COOKIE not in client.cookies


def test_ui_07_login_csrf_an_answer_for_another_browser_signs_nobody_in(site: Site) -> None:
    attacker, victim = site.browser(), site.browser()
    answer = site.begin(attacker)
    assert refused(site.come_back(victim, answer)), "he has begun nothing"
    site.begin(victim)
    assert refused(site.come_back(victim, answer)), "he has begun another"


def test_ui_08_an_answer_is_good_once(site: Site) -> None:
    client = site.browser()
    answer = site.begin(client)
    secret = client.cookies[SIGN_IN_COOKIE]
    assert not refused(site.come_back(client, answer))
    assert refused(site.come_back(client, answer))
    client.cookies.set(SIGN_IN_COOKIE, secret, domain="kustos.example")
    assert refused(site.come_back(client, answer)), "the provider knows the code no more"


FORGED: dict[str, dict[str, object]] = {
    "another nonce": {"nonce": "other"},
    "no nonce": {"nonce": ...},
    "another client": {"aud": "other"},
    "one client more": {"aud": ["web", "other"]},
    "asked for by another client": {"azp": "other"},
    "an access token": {"typ": "Bearer", "aud": "kustos"},
    "another issuer": {"iss": "https://id.example/realms/other"},
    "ended": {"exp": 1_000_000_000},
    "without an end": {"exp": ...},
    "nobody": {"sub": ...},
    "another person than the access token": {"sub": "bob"},
    "no text": {"sub": ["ann"]},
    "a name of the session that is none": {"sid": 7},
}


@pytest.mark.parametrize("forged", FORGED)
def test_ui_08_an_id_token_that_is_not_for_this_sign_in_signs_nobody_in(site: Site, forged: str) -> None:
    site.provider.identity = FORGED[forged]
    client = site.browser()
    assert refused(site.come_back(client, site.begin(client)))
    assert site.kept() == []


@pytest.mark.parametrize("query", ["next=//evil.example", "return=https://evil.example", "redirect_uri=https:/\\evil"])
def test_ui_08_nothing_from_outside_says_where_the_page_goes(site: Site, query: str) -> None:
    client = site.browser()
    asked = client.get(f"/session/login?{query}").headers["location"]
    assert "evil" not in asked
    reply = site.come_back(client, {**site.provider.confirm(asked), "next": "//evil.example"})
    assert reply.headers["location"] == "/"


def test_a_session_ends_by_idling_and_in_any_case_after_a_day_of_work(site: Site) -> None:
    client = site.signed_in()
    site.clock.now += IDLE_S
    assert ask(client).status_code == 401
    client = site.signed_in()
    for _ in range(LONGEST_S // (IDLE_S - 1)):
        site.clock.now += IDLE_S - 1
        assert ask(client).status_code == 200
    site.clock.now += IDLE_S - 1
    assert ask(client).status_code == 401
    assert site.kept() == []


def test_ui_09_signing_out_ends_the_session_here_and_there(site: Site) -> None:
    client = site.signed_in()
    cookie = client.cookies[SESSION_COOKIE]
    reply = client.post("/session/logout", headers=OWN)
    assert (reply.status_code, reply.json()) == (200, {"everywhere": True})
    assert site.provider.asked[-1] == "/logout"
    assert SESSION_COOKIE not in client.cookies
    assert ask(site.browser(), Cookie=f"{SESSION_COOKIE}={cookie}").status_code == 401
    assert client.post("/session/logout", headers=OWN).json() == {"everywhere": True}, "a second click changes nothing"


def test_ui_09_signing_out_works_here_while_the_provider_is_down_and_says_so(site: Site) -> None:
    client = site.signed_in()
    site.provider.fails = lambda _: httpx.Response(502)
    assert client.post("/session/logout", headers=OWN).json() == {"everywhere": False}
    assert ask(client).status_code == 401
    assert site.kept() == []


def test_sc_09_nothing_of_a_session_is_kept_by_a_cache(site: Site) -> None:
    client = site.signed_in()
    replies = [ask(client), client.get("/session", headers=OWN), client.get("/session/login")]
    assert {each.headers["cache-control"] for each in replies} == {"no-store"}


class Counted(AsIssued):
    def __init__(self) -> None:
        self.asked = 0

    def caller(self, token: Verified) -> Future[Caller]:
        self.asked += 1
        return super().caller(token)


def test_who_asks_too_often_by_cookie_makes_nobody_ask_keycloak(tmp_path: Path) -> None:
    worth, own = Counted(), open_library(tmp_path, PLAN, public_name="kustos.example", requests_per_subject=1)
    client = Site(own, worth).signed_in()
    assert ask(client).status_code == 200
    asked = worth.asked
    assert ask(client).status_code == client.get("/session", headers=OWN).status_code == 429
    assert worth.asked == asked
    own.kustos.close()


def test_rc_02_a_logout_token_ends_the_session_that_it_names(site: Site) -> None:
    site.provider.sid = "session-2"
    other = site.signed_in()
    site.provider.sid = "session-1"
    client = site.signed_in()
    assert told(site, site.provider.logout_token()) == 200
    assert (ask(client).status_code, ask(other).status_code) == (401, 200)


def test_rc_02_a_logout_token_without_a_session_ends_all_of_its_person(site: Site) -> None:
    client = site.signed_in()
    assert told(site, site.provider.logout_token(sid=..., sub="bob")) == 200
    assert ask(client).status_code == 200
    assert told(site, site.provider.logout_token(sid=..., sub="ann", jti="2")) == 200
    assert ask(client).status_code == 401


UNBELIEVABLE: dict[str, dict[str, object]] = {
    "no events": {"events": ...},
    "another event": {"events": {"http://schemas.openid.net/event/other": {}}},
    "events that are no object": {"events": ["http://schemas.openid.net/event/backchannel-logout"]},
    "an event that is no object": {"events": {"http://schemas.openid.net/event/backchannel-logout": "yes"}},
    "with a nonce": {"nonce": "n"},
    "another client": {"aud": "other"},
    "one client more": {"aud": ["web", "other"]},
    "no client": {"aud": ...},
    "another issuer": {"iss": "https://id.example/realms/other"},
    "expired": {"exp": 1_000_000_000},
    "without an end": {"exp": ...},
    "without a beginning": {"iat": ...},
    "of long ago": {"iat": 1_000_000_000, "exp": 4_000_000_000},
    "of tomorrow": {"iat": 4_000_000_000, "exp": 4_000_000_100},
    "without an id": {"jti": ...},
    "about nobody": {"sid": ...},
    "a session that is no text": {"sid": 7},
    "an ID token": {"typ": "ID"},
    "an access token": {"typ": "Bearer", "aud": "kustos", "events": ...},
}


@pytest.mark.parametrize("claims", UNBELIEVABLE)
def test_rc_02_a_logout_token_that_is_none_ends_nothing(site: Site, claims: str) -> None:
    client = site.signed_in()
    assert told(site, site.provider.logout_token(**UNBELIEVABLE[claims])) == 400
    assert ask(client).status_code == 200


@pytest.mark.parametrize(
    "header", [{"typ": "JWT"}, {"typ": "at+jwt"}, {"kid": "other"}, {"jku": "https://evil.example"}]
)
def test_rc_02_a_logout_token_of_another_type_or_key_ends_nothing(site: Site, header: dict[str, object]) -> None:
    client = site.signed_in()
    assert told(site, site.provider.logout_token(header)) == 400
    assert ask(client).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        "",
        "logout_token=",
        "logout_token=a.b.c",
        "other=1",
        "logout_token=a&logout_token=b",
        "{}",
        "\xff",
        "&" * 50,
        f"logout_token={'a' * 40_000}",
    ],
    ids=lambda each: each[:20],
)
def test_rc_02_what_holds_no_logout_token_is_refused(site: Site, body: str) -> None:
    reply = site.browser().post("/session/backchannel-logout", content=body.encode("latin-1"), headers=FORM)
    assert reply.status_code == 400


def test_rc_02_an_unsigned_one_or_one_by_the_public_key_ends_nothing(site: Site) -> None:
    client = site.signed_in()
    header, payload, _ = site.provider.logout_token().split(".")
    unsigned = library.segment({"alg": "none", "typ": "logout+jwt", "kid": library.KID})
    for forged in (f"{header}.{payload}.", f"{unsigned}.{payload}.", f"{header}.{payload}.{'A' * 342}"):
        assert told(site, forged) == 400
    assert ask(client).status_code == 200


def test_rc_02_a_logout_token_is_heard_once(site: Site) -> None:
    token = site.provider.logout_token()
    assert told(site, token) == 200
    client = site.signed_in()
    assert told(site, token) == 400
    assert ask(client).status_code == 200
    site.clock.now += 3_600
    assert told(site, token) == 400, "and when it is forgotten it is too old"


def test_rc_02_who_keeps_sending_forged_ones_is_told_to_stop_and_one_that_is_believed_still_counts(site: Site) -> None:
    site.signed_in()
    statuses = [told(site, "a.b.c") for _ in range(FAILURES + 2)]
    assert (statuses[0], statuses[-1]) == (400, 429)
    assert told(site, site.provider.logout_token()) == 200
    assert site.kept() == []


def test_rc_02_a_session_that_had_ended_before_is_no_error(site: Site) -> None:
    assert told(site, site.provider.logout_token(sid="of-nobody")) == 200


def test_tv_16_a_logout_token_is_no_way_in(site: Site) -> None:
    logout = {"Authorization": f"Bearer {site.provider.logout_token(aud='kustos', azp='web', groups=['/sales'])}"}
    assert site.browser().get("/v1/documents", headers=logout).status_code == 401


def told(site: Site, token: str) -> int:
    reply = site.browser().post("/session/backchannel-logout", content=urlencode({"logout_token": token}), headers=FORM)
    return int(reply.status_code)


class Ended(AsIssued):
    """Keycloak, once `over` is set."""

    over = False

    def caller(self, token: Verified) -> Future[Caller]:
        if not self.over:
            return super().caller(token)
        refused: Future[Caller] = Future()
        refused.set_exception(NotAuthenticated("the session has ended"))
        return refused


def test_sa_05_a_stolen_cookie_of_a_session_that_has_ended_uses_up_nothing_of_its_persons(tmp_path: Path) -> None:
    worth, own = Ended(), open_library(tmp_path, PLAN, public_name="kustos.example", requests_per_subject=6)
    site = Site(own, worth)
    stolen, hers = site.signed_in(), site.signed_in()
    worth.over = True
    for _ in range(REFUSALS_OF_A_TOKEN // 2):
        assert stolen.get("/session", headers=OWN).json()["person"] is None
        assert ask(stolen).status_code == 401
    assert stolen.get("/session", headers=OWN).status_code == 429
    worth.over = False
    assert [ask(hers).status_code for _ in range(7)] == [200] * 6 + [429]
    own.kustos.close()


def test_sa_06_who_is_signed_in_is_counted_also_when_the_page_asks_who_he_is(tmp_path) -> None:
    site = Site(open_library(tmp_path, PLAN, public_name="kustos.example", requests_per_subject=4))
    client = site.signed_in()
    assert [client.get("/session", headers=OWN).status_code for _ in range(6)] == [200] * 4 + [429] * 2
    site.library.kustos.close()
