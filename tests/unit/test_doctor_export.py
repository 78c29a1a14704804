"""What `kustos doctor` says of an exported realm before there is an installation."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from api.cli.commands import kustos
from tests.keycloak_realm import CLIENTS, REALM_FILE


def doctor(home: Path, export: Path, **environment: str) -> Result:
    usual = {name: None for name in os.environ if name.startswith("KUSTOS_")}
    given = {"KUSTOS_HOME": str(home), "KUSTOS_CLIENTS": ",".join(CLIENTS), **environment}
    return CliRunner().invoke(kustos, ["doctor", "--realm", str(export), "--json"], env={**usual, **given})


def told(result: Result) -> list[tuple[str, str, str]]:
    found: list[dict[str, Any]] = json.loads(result.stdout)["findings"]
    return [(each["check"], each["state"], each["detail"]) for each in found]


def test_an_export_is_checked_where_there_is_no_installation_and_none_is_begun(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ran = doctor(home, REALM_FILE)
    assert ran.exit_code == 0, ran.output
    assert told(ran) == [
        ("realm", "good", "kustos gives kustos-cli, kustos-eval, kustos-page, kustos-sync what Kustos needs"),
        ("home", "note", f"there is no Kustos installation in {home}, so nothing but the export was checked"),
    ]
    assert not home.exists()


def test_what_it_lacks_is_named_there_too(tmp_path: Path) -> None:
    ran = doctor(tmp_path / "home", REALM_FILE, KUSTOS_CLIENTS="")
    assert ran.exit_code == 1
    assert [state for _, state, _ in told(ran)] == ["wrong", "note"]
    assert told(ran)[0][2].startswith("client kustos: asks for no tokens")


@pytest.mark.parametrize("text", ["", '{"clients": []}'])
def test_a_file_without_a_realm_is_said_in_words_there_too(tmp_path: Path, text: str) -> None:
    export = tmp_path / "export.json"
    export.write_text(text)
    ran = doctor(tmp_path / "home", export)
    assert ran.exit_code == 1
    assert "the export" in ran.stderr


ELSEWHERE = "http://127.0.0.1:8899"
BESIDE_KEYCLOAK = {"KUSTOS_ISSUER": "https://kustos.example/auth/realms/company"}


def exported(folder: Path, **page: Any) -> Path:
    """The realm with these settings of its page client."""
    realm = json.loads(REALM_FILE.read_text(encoding="utf-8"))
    client = next(each for each in realm["clients"] if each["clientId"] == "kustos-page")
    client.update(page)
    export = folder / "export.json"
    export.write_text(json.dumps(realm), encoding="utf-8")
    return export


@pytest.mark.parametrize(
    ("page", "environment"),
    [
        ({}, {"KUSTOS_PAGE_SECRET": "s"}),
        ({"rootUrl": ELSEWHERE}, {"KUSTOS_PAGE_URL": ELSEWHERE}),
        ({"rootUrl": ELSEWHERE}, {"KUSTOS_PAGE_URL": f"{ELSEWHERE}/"}),
        ({"redirectUris": [f"{ELSEWHERE}/session/callback"]}, {"KUSTOS_PAGE_URL": ELSEWHERE}),
        ({"redirectUris": ["http://127.0.0.1/session/callback"]}, {"KUSTOS_PAGE_URL": ELSEWHERE}),
        ({"redirectUris": ["http://[::1]/session/callback"]}, {"KUSTOS_PAGE_URL": "http://[::1]:8899"}),
        ({"rootUrl": None}, {"KUSTOS_PAGE_URL": "https://kustos.example", **BESIDE_KEYCLOAK}),
        ({"rootUrl": "http://127.0.0.1:1"}, {}),  # nobody has said that there is a page
    ],
)
def test_a_realm_whose_sign_in_leads_back_to_the_page_is_good(tmp_path: Path, page: Any, environment: Any) -> None:
    ran = doctor(tmp_path / "home", exported(tmp_path, **page), **environment)
    assert [state for _, state, _ in told(ran)] == ["good", "note"], ran.output


@pytest.mark.parametrize(
    ("page", "environment", "led_to"),
    [
        ({}, {"KUSTOS_PAGE_URL": ELSEWHERE}, "http://127.0.0.1:8080/session/callback"),
        ({"rootUrl": ELSEWHERE}, {"KUSTOS_PAGE_SECRET": "s"}, f"{ELSEWHERE}/session/callback"),
        ({"rootUrl": f"{ELSEWHERE}/"}, {"KUSTOS_PAGE_URL": ELSEWHERE}, f"{ELSEWHERE}//session/callback"),
        (
            {"rootUrl": None},
            {"KUSTOS_PAGE_URL": ELSEWHERE, **BESIDE_KEYCLOAK},
            "https://kustos.example/session/callback",
        ),
        ({"redirectUris": []}, {"KUSTOS_PAGE_URL": ELSEWHERE}, "no address"),
        (
            {"redirectUris": ["https://kustos.example/session/callback"]},
            {"KUSTOS_PAGE_URL": "https://kustos.example:8443"},
            "https://kustos.example/session/callback",
        ),
    ],
)
def test_sign_in_that_would_end_at_an_error_of_keycloaks_is_wrong(
    tmp_path: Path, page: Any, environment: dict[str, str], led_to: str
) -> None:
    ran = doctor(tmp_path / "home", exported(tmp_path, **page), **environment)
    (detail,) = [detail for _, state, detail in told(ran) if state == "wrong"]
    ours = environment.get("KUSTOS_PAGE_URL", "http://127.0.0.1:8080")
    assert detail.startswith(
        f"client kustos-page: sign-in may lead back to {led_to}, but the page of KUSTOS_PAGE_URL={ours}"
    )
    assert f"needs {ours}/session/callback; set the client's root URL to {ours} and" in detail


@pytest.mark.parametrize("page_url", ["http://kustos.example", "https://Kustos.example", "https://kustos.example/kb"])
def test_nobody_is_told_to_lead_sign_in_back_to_an_address_that_the_page_cannot_have(
    tmp_path: Path, page_url: str
) -> None:
    ran = doctor(tmp_path / "home", exported(tmp_path), KUSTOS_PAGE_SECRET="s", KUSTOS_PAGE_URL=page_url)
    ((check, detail),) = [(check, detail) for check, state, detail in told(ran) if state == "wrong"]
    assert check == "page"
    assert detail.startswith(f"KUSTOS_PAGE_URL={page_url} must be what a browser shows")


def test_an_address_with_a_wildcard_leads_back_and_is_wrong_for_that_alone(tmp_path: Path) -> None:
    ran = doctor(tmp_path / "home", exported(tmp_path, redirectUris=["/*"]), KUSTOS_PAGE_SECRET="s")
    (detail,) = [detail for _, state, detail in told(ran) if state == "wrong"]
    assert "has a wildcard" in detail
