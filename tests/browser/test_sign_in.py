"""The page in a real browser, with people who sign in at a real Keycloak."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.browser.chromium import NO_CHROMIUM, Page, chromium, chromium_binary
from tests.integration.test_page_sign_in import Site, site_of
from tests.keycloak_realm import KeycloakRealm


@pytest.fixture
def page() -> Iterator[Page]:
    binary = chromium_binary()
    if binary is None:
        pytest.skip(NO_CHROMIUM)
    with chromium(binary) as opened:
        yield opened


@pytest.fixture
def site(realm: KeycloakRealm, tmp_path: Path) -> Iterator[Site]:
    """The page and Keycloak are different sites, as `localhost` and `127.0.0.1` are: so the cookies' SameSite counts."""
    elsewhere = replace(realm.server, url=realm.server.url.replace("127.0.0.1", "localhost"))
    with site_of(KeycloakRealm(elsewhere, realm.name), tmp_path / "home") as found:
        assert httpx.URL(found.realm.issuer).host != httpx.URL(found.url).host
        yield found


def sign_in(page: Page, site: Site, person: str) -> None:
    """Through Keycloak's own page, from wherever the way to it is."""
    page.until("document.querySelector('#username')")
    for field, value in (("#username", person), ("#password", site.realm.password(person))):
        page.run(f"document.querySelector('{field}').focus()")
        page.type(value)
    page.click("[type=submit]")
    page.until("document.querySelector('#question:focus')")


def ask(page: Page, question: str) -> None:
    page.type(question)
    page.press("Enter")


def test_ui_05_a_person_signs_in_at_keycloak_asks_and_signs_out(page: Page, site: Site) -> None:
    person = site.realm.person(groups=["/leitung"])
    page.open(site.url)
    page.click("a[href='/session/login']")
    sign_in(page, site, person)
    assert page.run("document.querySelector('#who-name').innerText") == f"T {person}"
    assert page.run("location.href") == f"{site.url}/"
    ask(page, "What may a hotel cost?")
    assert "120 euros" in page.until("document.querySelector('.answer[aria-busy=false] .text')?.innerText")
    kept = page.run("JSON.stringify([localStorage, sessionStorage, document.cookie, history.state, window.name])")
    assert kept == json.dumps([{}, {}, "", None, ""], separators=(",", ":"))

    tab = page.another()
    tab.open(site.url)
    tab.click("#who:not([hidden]) #leave")
    for each in (tab, page):
        each.to_front()
        each.until("document.querySelector('a[href=\"/session/login\"]')")
        assert "120 euros" not in each.run("document.body.innerText"), "in the other tab neither"
    page.open(site.url)
    page.until("document.querySelector('a[href=\"/session/login\"]')")
    assert page.log == []


def test_ui_09_a_session_that_ends_in_keycloak_loses_no_question(page: Page, site: Site) -> None:
    person = site.realm.person(groups=["/leitung"])
    page.open(site.url)
    page.click("a[href='/session/login']")
    sign_in(page, site, person)
    ask(page, "What may a hotel cost?")
    page.until("document.querySelector('.answer[aria-busy=false] .text')")
    site.realm.end_sessions(person)
    ask(page, "And what in London?")
    page.until("document.querySelector('.suspended a')")
    assert page.run("document.querySelector('#question').value") == "And what in London?"
    assert "120 euros" in page.run("document.querySelector('.log').innerText"), "what was said before stays"

    assert page.run("document.querySelector('.suspended a').target") == "_blank"
    tab = page.another()
    tab.open(site.url)
    tab.click("a[href='/session/login']")
    sign_in(tab, site, person)
    page.to_front()
    page.run("dispatchEvent(new Event('focus'))")
    page.until("!document.querySelector('.suspended')")
    page.run("document.querySelector('.composer').requestSubmit()")
    page.until("document.querySelectorAll('.answer[aria-busy=false] .text').length === 2")


def test_ui_09_who_signs_in_as_another_in_one_tab_is_the_other_in_every_tab(page: Page, site: Site) -> None:
    first, second = site.realm.person(groups=["/leitung"]), site.realm.person()
    page.open(site.url)
    page.click("a[href='/session/login']")
    sign_in(page, site, first)
    ask(page, "What may a hotel cost?")
    page.until("document.querySelector('.answer[aria-busy=false] .text')")
    tab = page.another()
    tab.open(site.url)
    tab.click("#who:not([hidden]) #leave")
    tab.click("a[href='/session/login']")
    sign_in(tab, site, second)
    page.to_front()
    page.run("dispatchEvent(new Event('focus'))")
    page.until(f"document.querySelector('#who-name').innerText === 'T {second}'")
    assert "120 euros" not in page.run("document.body.innerText"), "nothing of the first person's stays on the screen"
