"""Sessions of the page while tokens are renewed, and while the identity provider does not do what it should."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from api.sign_in.oidc import MAX_BYTES
from api.sign_in.sealing import derived, seal, unseal
from api.sign_in.sessions import EARLY_S, Sessions, open_sessions
from rag.errors import Misconfigured, NotAuthenticated, Unavailable
from rag.settings import Settings
from rag.stores.catalog import Catalog, sqlite_url
from rag.stores.catalog_sessions import CatalogSessions
from tests.fake_provider import LIFETIME_S, FakeProvider
from tests.fakes import Clock
from tests.library import TENANT

DUE_S = LIFETIME_S - EARLY_S
KEYCLOAK = {
    "KUSTOS_ISSUER": "https://id.example/realms/acme",
    "KUSTOS_JWKS_URL": "https://id.example/realms/acme/protocol/openid-connect/certs",
    "KUSTOS_REALM": "acme",
    "KUSTOS_CLIENTS": "kustos-page",
    "KUSTOS_PAGE_SECRET": "secret",
    "KUSTOS_SERVICE_SECRET": "secret",
}
FAILURES: dict[str, Callable[[httpx.Request], httpx.Response]] = {
    "does not answer": lambda request: (_ for _ in ()).throw(httpx.ConnectError("down", request=request)),
    "takes too long": lambda request: (_ for _ in ()).throw(httpx.ReadTimeout("late", request=request)),
    "500": lambda _: httpx.Response(500, json={"error": "unknown_error"}),
    "502 of a proxy": lambda _: httpx.Response(502, text="<html>"),
    "too many requests": lambda _: httpx.Response(429, json={"error": "slow"}),
    "no such realm": lambda _: httpx.Response(404, json={"error": "Realm does not exist"}),
    "redirects": lambda _: httpx.Response(302, headers={"Location": "https://evil.example/"}),
    "garbage": lambda _: httpx.Response(200, text="<html>"),
    "another shape": lambda _: httpx.Response(200, json=["access_token"]),
    "no tokens": lambda _: httpx.Response(200, json={}),
    "tokens of another type": lambda _: httpx.Response(200, json={"access_token": 1, "refresh_token": 2}),
    "without end": lambda _: httpx.Response(200, json={"access_token": "a", "refresh_token": "b", "expires_in": None}),
    "too much": lambda _: httpx.Response(200, content=b'"' + b"x" * MAX_BYTES + b'"'),
    "refuses this service": lambda _: httpx.Response(401, json={"error": "invalid_client"}),
}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(clock: Clock) -> FakeProvider:
    return FakeProvider(clock)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(sqlite_url(tmp_path / "catalog.db"))
    yield opened
    opened.close()


@pytest.fixture
def store(catalog: Catalog) -> CatalogSessions:
    return CatalogSessions(catalog, TENANT)


@pytest.fixture
def sessions(provider: FakeProvider, store: CatalogSessions) -> Sessions:
    return provider.sessions(store)


def signed_in(sessions: Sessions, provider: FakeProvider) -> str:
    secret, address = sessions.begin()
    return sessions.complete(secret, provider.confirm(address))


def renewals(provider: FakeProvider) -> int:
    return provider.asked.count("/token refresh_token")


def test_tokens_are_renewed_shortly_before_they_end_and_not_before(sessions, provider, clock) -> None:
    cookie = signed_in(sessions, provider)
    clock.now += DUE_S - 1
    sessions.caller(cookie)
    assert renewals(provider) == 0
    clock.now += 2
    sessions.caller(cookie)
    sessions.caller(cookie)
    assert renewals(provider) == 1


def test_many_requests_at_once_renew_once_also_in_several_processes(sessions, provider, store, clock) -> None:
    """Each `Sessions` is a replica: what they share is the catalog."""
    cookie = signed_in(sessions, provider)
    replicas = [sessions, provider.sessions(store), provider.sessions(store)]
    clock.now += DUE_S + 1
    with ThreadPoolExecutor(12) as threads:
        callers = list(threads.map(lambda at: replicas[at % 3].caller(cookie).subject, range(24)))
    assert len(set(callers)) == 1
    assert renewals(provider) == 1


def test_a_renewal_that_a_killed_process_left_is_taken_over(sessions, provider, store, clock) -> None:
    cookie = signed_in(sessions, provider)
    clock.now += DUE_S + 1
    identifier = derived(cookie, "session").hex()
    assert store.claim(identifier, 0, int(clock.now), int(clock.now) + 10)
    assert not store.claim(identifier, 0, int(clock.now), int(clock.now) + 10)
    clock.now += 11
    assert sessions.caller(cookie)


def test_rc_05_an_answer_may_outlast_the_token_that_it_began_with_but_not_the_session(
    sessions, provider, store, clock
) -> None:
    cookie = signed_in(sessions, provider)
    admitted = sessions.unconfirmed(cookie)
    clock.now += LIFETIME_S + 1
    assert asyncio.run(admitted.confirmed_again()) == sessions.caller(cookie)
    assert renewals(provider) == 1
    store.hear("t" * 64, 0, 1, sid="session-1", subject=None)
    with pytest.raises(NotAuthenticated):
        asyncio.run(admitted.confirmed_again())


@pytest.mark.parametrize("failure", FAILURES)
def test_ft_03_while_the_provider_fails_a_session_goes_on_until_its_token_ends_and_no_longer(
    sessions, provider, clock, failure
) -> None:
    cookie = signed_in(sessions, provider)
    provider.fails = FAILURES[failure]
    clock.now += DUE_S + 1
    assert sessions.caller(cookie)
    clock.now += EARLY_S
    with pytest.raises(Unavailable):
        sessions.caller(cookie)
    provider.fails = None
    assert sessions.caller(cookie), "it recovers without a restart"


@pytest.mark.parametrize("failure", FAILURES)
def test_while_the_provider_fails_nobody_signs_in(sessions, provider, failure) -> None:
    secret, address = sessions.begin()
    answer = provider.confirm(address)
    provider.fails = FAILURES[failure]
    with pytest.raises((Unavailable, NotAuthenticated)):
        sessions.complete(secret, answer)


def test_a_session_that_ended_at_the_provider_ends_here_at_the_next_renewal(sessions, provider, store, clock) -> None:
    cookie = signed_in(sessions, provider)
    provider.end()
    clock.now += DUE_S + 1
    with pytest.raises(NotAuthenticated, match="ended at the identity provider"):
        sessions.caller(cookie)
    assert store.find(derived(cookie, "session").hex()) is None


def test_rc_02_a_logout_that_could_not_be_carried_out_is_heard_when_it_is_sent_again(
    sessions, provider, store, catalog
) -> None:
    cookie = signed_in(sessions, provider)
    token = provider.logout_token()
    with catalog.writing() as connection:
        refusing = "CREATE TRIGGER full BEFORE DELETE ON sessions BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        connection.exec_driver_sql(refusing)
    with pytest.raises(Unavailable):
        sessions.end_told(token)
    with catalog.writing() as connection:
        connection.exec_driver_sql("DROP TRIGGER full")
    sessions.end_told(token)
    with pytest.raises(NotAuthenticated):
        sessions.caller(cookie)


def test_a_session_that_ends_while_it_is_renewed_stays_ended_and_its_new_tokens_too(
    sessions, provider, store, clock
) -> None:
    cookie = signed_in(sessions, provider)
    clock.now += DUE_S + 1

    def ended_meanwhile(request: httpx.Request) -> httpx.Response:
        provider.fails = None
        store.hear("t" * 64, 0, 1, sid="session-1", subject=None)
        return provider._answer(request)

    provider.fails = ended_meanwhile
    with pytest.raises(NotAuthenticated, match="while its tokens were renewed"):
        sessions.caller(cookie)
    assert provider.asked[-1] == "/logout"
    with pytest.raises(NotAuthenticated):
        sessions.caller(cookie)


def test_a_renewal_that_brings_another_persons_token_ends_the_session(sessions, provider, clock) -> None:
    cookie = signed_in(sessions, provider)
    provider.access = {"sub": "bob", "groups": ["/board"]}
    clock.now += DUE_S + 1
    for _ in range(2):
        with pytest.raises(NotAuthenticated):
            sessions.caller(cookie)


def test_what_is_sealed_opens_for_its_secret_unchanged_and_for_no_other() -> None:
    sealed = seal("secret", b"tokens")
    assert unseal("secret", sealed) == b"tokens"
    assert sealed != seal("secret", b"tokens"), "each time with another nonce"
    for secret, text in (("other", sealed), ("secret", sealed[:-8] + "AAAAAAA="), ("secret", "")):
        with pytest.raises(NotAuthenticated):
            unseal(secret, text)


def test_one_secret_gives_independent_values() -> None:
    assert len({derived("secret", purpose) for purpose in ("session", "seal", "state", "nonce", "verifier")}) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"KUSTOS_PAGE_URL": "http://kustos.example"}, "KUSTOS_PAGE_URL"),
        ({"KUSTOS_PAGE_URL": "https://kustos.example/kustos"}, "KUSTOS_PAGE_URL"),
        ({"KUSTOS_PAGE_URL": "https://user@kustos.example"}, "KUSTOS_PAGE_URL"),
        ({"KUSTOS_PAGE_URL": "kustos.example"}, "KUSTOS_PAGE_URL"),
        ({"KUSTOS_PAGE_URL": ""}, "KUSTOS_PAGE_URL"),
        ({"KUSTOS_PAGE_URL": "https://"}, "KUSTOS_PAGE_URL"),
        ({"KUSTOS_PAGE_URL": "https://Kustos.example"}, "KUSTOS_PAGE_URL"),
        ({"KUSTOS_PAGE_URL": "https://kustos.example:443"}, "KUSTOS_PAGE_URL"),
        ({"KUSTOS_PAGE_URL": "https://küste.example"}, "KUSTOS_PAGE_URL"),
        ({"KUSTOS_PAGE_URL": "javascript://127.0.0.1"}, "KUSTOS_PAGE_URL"),
        ({"KUSTOS_CLIENTS": "kustos-cli"}, "KUSTOS_CLIENTS"),
        ({"KUSTOS_ISSUER": ""}, "KUSTOS_ISSUER"),
        ({"KUSTOS_JWKS_URL": "https://id.example/keys"}, "KUSTOS_JWKS_URL"),
    ],
)
def test_settings_that_would_not_be_safe_or_not_work_are_refused(provider, store, changes, message) -> None:
    settings = Settings.from_mapping({**KEYCLOAK, **changes})
    with pytest.raises(Misconfigured, match=message):
        open_sessions(settings, provider.sessions(store)._identity, store)


@pytest.mark.parametrize(
    "url", ["https://kustos.example", "https://kustos.example/", "https://kustos.example:8443", "http://127.0.0.1:8080"]
)
def test_a_page_over_tls_or_on_this_machine_signs_people_in(provider, store, url) -> None:
    settings = Settings.from_mapping({**KEYCLOAK, "KUSTOS_PAGE_URL": url})
    opened = open_sessions(settings, provider.sessions(store)._identity, store)
    assert opened is not None
    assert opened.url == url.rstrip("/")
    assert open_sessions(Settings(), provider.sessions(store)._identity, store) is None


def test_the_setting_to_compare_is_named_where_the_provider_refuses_the_page(sessions, provider) -> None:
    provider.fails = FAILURES["refuses this service"]
    with pytest.raises(Misconfigured, match="compare KUSTOS_PAGE_SECRET with the client's credentials"):
        sessions.check()
