"""The page in a real browser: sign in, ask, read the cited passage in its document, switch person."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from api.tokens.demo_issuer import DemoIssuer
from rag.access.principals import EVERYONE_IN_TENANT, group
from tests.browser.chromium import NO_CHROMIUM, Page, chromium, chromium_binary
from tests.integration.serving import served
from tests.library import Written, open_library

WEB = Path(__file__).parents[2] / "api" / "web"
HOSTILE = '<img src="https://evil.example/x"> ![x](https://evil.example/y) <script>document.title = "owned"</script>'
SALES = group("acme", "/sales")
DOCUMENTS = (
    Written(
        "rates.txt",
        ["Before the hotel table.", f"A hotel may cost 120 EUR. {HOSTILE}", "After the hotel table."],
        frozenset({EVERYONE_IN_TENANT}),
        title="Travel rules <b>2025</b>",
        heading="Hotels",
    ),
    Written("sales.txt", ["In sales a hotel may cost 150 EUR."], frozenset({SALES}), title="Sales rules"),
    Written("induction.pptx", ["Forklifts drive at 10 km/h."], frozenset({EVERYONE_IN_TENANT}), title="Induction"),
)
ACCOUNTS = """
realm: acme
accounts:
  - {name: anna, subject: 00000000-0000-0000-0000-000000000001, display_name: Anna Petersen, email: a@acme.example,
     about: Driver, roles: [], groups: []}
  - {name: bjarne, subject: 00000000-0000-0000-0000-000000000002, display_name: Bjarne Jessen, email: b@acme.example,
     about: Sales, roles: [], groups: [/sales]}
groups: {}
"""


@pytest.fixture
def url(tmp_path):
    (tmp_path / "accounts.yaml").write_text(ACCOUNTS, encoding="utf-8")
    demo = DemoIssuer.create(tmp_path / "home", tmp_path / "accounts.yaml")
    with served(open_library(tmp_path / "home", *DOCUMENTS).app(demo)) as address:
        yield address


@pytest.fixture
def page():
    binary = chromium_binary()
    if binary is None:
        pytest.skip(NO_CHROMIUM)
    with chromium(binary) as opened:
        yield opened


def sign_in(page: Page, number: int) -> None:
    page.click(f".cards li:nth-child({number}) button")
    page.until("document.activeElement.id === 'question'")


def ask(page: Page, question: str) -> str:
    page.type(question)
    page.press("Enter")
    page.until("document.querySelector('.answer:last-child').ariaBusy === 'false'")
    return page.run("document.querySelector('.answer:last-child .text').innerText")


def test_pi_02_a_person_signs_in_asks_and_reads_the_cited_passage_and_nothing_leaves(page, url) -> None:
    page.open(url)
    sign_in(page, 1)
    answer = ask(page, "What may a hotel cost?")
    assert "120 EUR" in answer
    assert "150 EUR" not in answer
    assert "‹img src=" in answer, "markup in a document is shown as text, and is none in any other reader either"

    page.click(".answer .mark")
    page.until("document.querySelector('.panel mark')")
    panel = page.run("document.querySelector('.panel').innerText")
    assert "Travel rules <b>2025</b>" in panel
    assert "Passage 2 of 3" in panel or "Passage 1 of 3" in panel
    assert "Hotels" in panel
    page.press("Escape")
    page.until("document.querySelector('.panel').hidden")
    assert page.run("document.activeElement.className") == "mark", "the focus is where it was"

    page.click("#leave")
    sign_in(page, 2)
    assert "150 EUR" in ask(page, "What may a hotel cost?")

    assert page.run("document.title") == "Kustos"
    assert {re.match(r"https?://[^/]+", each)[0] for each in page.requests} == {url}
    kept = page.run("JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])")
    assert kept == json.dumps([{}, {}, "", f"{url}/"], separators=(",", ":"))
    assert page.log == []


def test_the_page_speaks_the_browsers_language_and_warns_of_the_demo(page, url) -> None:
    page.open(url, language="de-DE")
    page.until("document.querySelector('.cards')")
    assert page.run("document.documentElement.lang") == "de"
    assert "Wer fragt?" in page.run("document.body.innerText")
    assert "Nicht für echte Dokumente" in page.run("document.querySelector('#demo').innerText")
    sign_in(page, 1)
    ask(page, "How fast do forklifts drive?")
    sources = page.run("document.querySelector('.sources').innerText")
    assert "zitierte Sätze" in sources
    assert "Folie 1" in sources
    assert "Seite 1" in sources


def test_the_page_fits_a_phone(page, url) -> None:
    page.open(url, width=360, height=740)
    sign_in(page, 1)
    ask(page, "What may a hotel cost?")
    page.click(".answer .mark")
    page.until("document.querySelector('.panel mark')")
    assert page.run("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("path", sorted(WEB.glob("*.js")), ids=lambda path: path.name)
def test_ui_02_no_sink_for_markup_exists(path) -> None:
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|eval\(|Function\(|srcdoc"
    assert not re.findall(sinks, path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", sorted(WEB.glob("*.js")), ids=lambda path: path.name)
def test_ui_01_every_link_that_the_page_makes_is_written_in_its_code(path) -> None:
    code = path.read_text(encoding="utf-8")
    assert not re.findall(r"\.href\s*=(?!=)|location\s*=|window\.open", code)
    assert not re.findall(r"\bhref:(?! \"/)|\baction:(?! \"/)", code)


@pytest.mark.parametrize("path", sorted(WEB.glob("*.js")), ids=lambda path: path.name)
def test_ui_05_no_token_is_put_where_it_would_stay(path) -> None:
    assert not re.findall(r"localStorage|sessionStorage|indexedDB|cookie|caches\.", path.read_text(encoding="utf-8"))


def test_ui_06_the_page_has_nothing_inline_and_nothing_from_elsewhere() -> None:
    html = (WEB / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r"<style|style=|\son\w+=|<script(?![^>]*src=)|https?://", html)
    css = (WEB / "app.css").read_text(encoding="utf-8")
    assert not re.findall(r"url\(|@import|https?:", css)


def test_the_page_says_everything_in_both_languages() -> None:
    text = (WEB / "words.js").read_text(encoding="utf-8")
    english, german = re.findall(r"^  (?:en|de): \{\n(.*?)^  \},", text, re.DOTALL | re.MULTILINE)
    names = [re.findall(r"^    (\w+):", each, re.MULTILINE) for each in (english, german)]
    assert names[0] == names[1]
    code = "".join(path.read_text(encoding="utf-8") for path in WEB.glob("*.js"))
    assert set(re.findall(r"\bwords\.(\w+)", code)) - {"js"} == set(names[0])
