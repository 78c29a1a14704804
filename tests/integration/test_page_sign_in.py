"""People sign in and out at the page, through a real Keycloak; the browser never holds a token."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.cli.doctor import examine
from api.sign_in.page_guard import SESSION_COOKIE, SIGN_IN_COOKIE
from api.sign_in.sessions import EARLY_S, open_sessions
from rag.access import principals
from tests.integration.serving import served_at
from tests.integration.test_keycloak import page_at
from tests.keycloak_browser import browser, sign_in
from tests.keycloak_realm import QUALIFIER, KeycloakRealm
from tests.library import Written, open_library

LEADERS = principals.group(QUALIFIER, "/leitung")
PLAN = Written("plan.txt", ["A hotel may cost 120 euros a night."], frozenset({LEADERS}))
OF_THE_PAGE = {"X-Kustos-Page": "1"}


class Clock:
    """The service's clock, which a test can put forward."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass
class Site:
    """A service whose page signs people in through a realm."""

    realm: KeycloakRealm
    url: str
    clock: Clock

    def enter(self, client: httpx.Client, person: str) -> httpx.Response:
        """Signs a person in with his browser; what the page is asked for in the end."""
        begun = client.get(f"{self.url}/session/login")
        back = sign_in(client, begun.headers["location"], person, self.realm.password(person))
        return client.get(back)

    def ask(self, client: httpx.Client) -> httpx.Response:
        return client.post(f"{self.url}/v1/search", json={"query": "hotel"}, headers=OF_THE_PAGE)

    def person(self, client: httpx.Client) -> object:
        return client.get(f"{self.url}/session", headers=OF_THE_PAGE).json()["person"]


@contextmanager
def site_of(realm: KeycloakRealm, home: Path) -> Iterator[Site]:
    clock = Clock()

    def make(url: str) -> FastAPI:
        secret = realm.secret("kustos-page") or ""
        settings = realm.settings(home, KUSTOS_PAGE_URL=url, KUSTOS_PAGE_SECRET=secret)
        identity, library = realm.identity(), open_library(home, PLAN)
        sessions = open_sessions(settings, identity, library.kustos.records.sessions)
        assert sessions is not None
        sessions._clock = clock
        return create_app(library.kustos, identity, None, None, sessions=sessions)

    with served_at(make) as url, page_at(realm, url):
        yield Site(realm, url, clock)


@pytest.fixture(scope="module")
def site(realm: KeycloakRealm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_of(realm, tmp_path_factory.mktemp("page") / "home") as found:
        yield found


@pytest.fixture
def person(realm: KeycloakRealm) -> str:
    return realm.person(groups=["/leitung"])


def test_a_person_signs_in_asks_and_signs_out(site: Site, person: str) -> None:
    with browser() as client:
        entered = site.enter(client, person)
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        assert site.ask(client).json()["passages"]
        assert site.person(client) == {
            "name": f"T {person}",
            "subject": principals.user(QUALIFIER, site.realm.subject(person)),
        }
        out = client.post(f"{site.url}/session/logout", headers=OF_THE_PAGE)
        assert out.json() == {"everywhere": True}
        assert site.person(client) is None
        assert site.ask(client).status_code == 401
        assert site.realm.admin.get_sessions(site.realm.subject(person)) == [], "it has ended in Keycloak too"


def test_ui_05_the_browser_holds_no_token_and_no_script_reads_what_it_holds(site: Site, person: str) -> None:
    with browser() as client:
        entered = site.enter(client, person)
        (given,) = [each for each in entered.headers.get_list("set-cookie") if each.startswith(SESSION_COOKIE)]
        attributes = set(given.split("; ")[1:])
        assert attributes == {"Path=/", "Secure", "HttpOnly", "SameSite=Strict"}
        assert "." not in given.split(";")[0], "a JWT has dots"
        assert SIGN_IN_COOKIE not in client.cookies
        told = [site.ask(client).text, client.get(f"{site.url}/session", headers=OF_THE_PAGE).text]
        assert not [each for each in told if "eyJ" in each]


def test_rc_01_a_session_ended_in_keycloak_is_a_401_at_the_next_request(site: Site, person: str) -> None:
    with browser() as client:
        site.enter(client, person)
        assert site.ask(client).status_code == 200
        site.realm.end_sessions(person)
        assert site.ask(client).status_code == 401
        assert site.person(client) is None


def test_ui_09_signing_out_in_one_browser_leaves_the_others_alone(site: Site, person: str) -> None:
    with browser() as client, browser() as other:
        site.enter(client, person)
        site.enter(other, person)
        client.post(f"{site.url}/session/logout", headers=OF_THE_PAGE)
        assert (site.ask(client).status_code, site.ask(other).status_code) == (401, 200)


def test_tokens_are_renewed_before_they_end_once_however_many_ask(site: Site, person: str) -> None:
    """A refresh token is good for one use in this realm: a second one with the same would be refused."""
    with ExitStack() as stack:
        client = stack.enter_context(browser())
        site.enter(client, person)
        stack.callback(setattr, site.clock, "ahead", 0.0)
        site.clock.ahead = 300 - EARLY_S + 1
        statuses: list[int] = []
        threads = [Thread(target=lambda: statuses.append(site.ask(client).status_code)) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert statuses == [200] * 8


def test_a_renewal_that_keycloak_refuses_ends_the_session(site: Site, person: str) -> None:
    with ExitStack() as stack:
        client = stack.enter_context(browser())
        site.enter(client, person)
        site.realm.disable(person)
        stack.callback(setattr, site.clock, "ahead", 0.0)
        site.clock.ahead = 300 - EARLY_S + 1
        assert site.ask(client).status_code == 401


def test_ui_08_a_callback_is_good_once_and_for_the_browser_that_began(site: Site, person: str) -> None:
    with browser() as client, browser() as victim:
        begun = client.get(f"{site.url}/session/login")
        back = sign_in(client, begun.headers["location"], person, site.realm.password(person))
        victim.get(f"{site.url}/session/login")  # he has begun a sign-in of his own
        assert refused(victim.get(back)), "login CSRF: he would be signed in as somebody else"
        assert not refused(client.get(back))
        assert refused(client.get(back))


def test_ui_08_an_answer_without_the_providers_name_or_with_another_code_is_refused(site: Site, person: str) -> None:
    attacks: list[Callable[[httpx.URL], httpx.URL]] = [
        lambda url: url.copy_remove_param("iss"),
        lambda url: url.copy_set_param("iss", "https://evil.example/realms/kustos"),
        lambda url: url.copy_set_param("state", "other"),
        lambda url: url.copy_set_param("state", "ä"),
        lambda url: url.copy_remove_param("state"),
        lambda url: url.copy_set_param("code", "made-up"),
        lambda url: url.copy_remove_param("code"),
        lambda url: url.copy_add_param("code", "twice"),
        lambda url: url.copy_set_param("error", "access_denied"),
    ]
    for attack in attacks:
        with browser() as client:
            begun = client.get(f"{site.url}/session/login")
            back = sign_in(client, begun.headers["location"], person, site.realm.password(person))
            assert refused(client.get(attack(httpx.URL(back))))
            assert site.person(client) is None


@pytest.mark.parametrize(
    ("secret", "state", "words"),
    [
        ("", "note", "nobody signs in at the page"),
        ("wrong", "wrong", "does not accept the client kustos-page"),
        (None, "good", "Keycloak accepts kustos-page and its secret; whether people reach the page"),
    ],
)
def test_doctor_says_whether_keycloak_accepts_the_page(
    site: Site, tmp_path: Path, secret: str | None, state: str, words: str
) -> None:
    given = site.realm.secret("kustos-page") or "" if secret is None else secret
    findings = examine(site.realm.settings(tmp_path, KUSTOS_PAGE_URL=site.url, KUSTOS_PAGE_SECRET=given))
    (finding,) = (each for each in findings if each.check == "page")
    assert (finding.state, words in finding.detail) == (state, True)


def refused(reply: httpx.Response) -> bool:
    assert reply.status_code == 303
    named = [each.split("=")[0] for each in reply.headers.get_list("set-cookie")]
    return SESSION_COOKIE not in named and reply.headers["location"].startswith("/#sign-in-")
