"""What `kustos doctor` says about the identity provider."""

from __future__ import annotations

import json
import shlex
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from api.cli import doctor
from api.cli.doctor import Finding, examine
from api.tokens.auth import usable
from api.tokens.demo_issuer import DemoIssuer
from api.tokens.discovery import PATH, Provider
from api.tokens.issuers import CERTS
from rag.settings import Settings
from tests.library import jwk, signing_key

EXAMPLES = Path(__file__).parents[2] / "examples"
GOOD = jwk(signing_key())
SHORT = jwk(rsa.generate_private_key(public_exponent=65537, key_size=1024), "short")
ENCRYPTS = {**GOOD, "kid": "enc", "use": "enc", "alg": "RSA-OAEP"}
ISSUER = "https://id.example/realms/acme"
Published = Callable[[bytes], str]


@pytest.fixture
def published() -> Iterator[Published]:
    """Publishes a body as a realm's keys at the address that is returned; the realm calls itself `ISSUER`."""
    servers: list[HTTPServer] = []

    def publish(body: bytes) -> str:
        class Keys(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                described = self.path.endswith(PATH)
                self.wfile.write(json.dumps({"issuer": ISSUER}).encode() if described else body)

            def log_message(self, *_: object) -> None:
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Keys))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield publish
    for each in servers:
        each.shutdown()
        each.server_close()


def found(home: Path, **given: str) -> list[Finding]:
    settings = Settings(home=home, models_dir=home, ollama_url="", **given)
    return [each for each in examine(settings) if each.check == "identity"]


def of_provider(home: Path, url: str, **given: str) -> Finding:
    provider = {"issuer": ISSUER, "jwks_url": f"{url}{CERTS}", "realm": "acme", "service_secret": "s"}
    (finding,) = found(home, **{**provider, **given})
    return finding


@pytest.mark.loopback
@pytest.mark.parametrize(
    ("keys", "state", "words"),
    [
        ([GOOD, ENCRYPTS, SHORT], "good", "usable keys of https://id.example/realms/acme: 1"),
        ([ENCRYPTS, SHORT], "wrong", "sign access tokens with RS256, PS256, ES256"),
        ([], "wrong", "cannot be fetched: not a JWKS"),
    ],
)
def test_doctor_counts_the_keys_that_can_be_used(
    tmp_path: Path, published: Published, keys: list[Any], state: str, words: str
) -> None:
    finding = of_provider(tmp_path, published(json.dumps({"keys": keys}).encode()))
    assert finding.state == state
    assert words in finding.detail


@pytest.mark.loopback
@pytest.mark.parametrize("given", ["https://id.example/realms/other", f"{ISSUER}/", "http://id.example/realms/acme"])
def test_tv_12_doctor_names_the_issuer_that_tokens_will_name_where_the_setting_differs(
    tmp_path: Path, published: Published, given: str
) -> None:
    finding = of_provider(tmp_path, published(json.dumps({"keys": [GOOD]}).encode()), issuer=given)
    assert finding.state == "wrong"
    assert f"set KUSTOS_ISSUER={ISSUER} in place of {given}." in finding.detail


@pytest.mark.loopback
def test_doctor_tells_one_cause_once(tmp_path: Path) -> None:
    """Every check that asks Keycloak fails for it; so does every check that reads the settings of the provider."""
    silent = {"issuer": ISSUER, "jwks_url": f"http://127.0.0.1:9{CERTS}", "realm": "acme", "service_secret": "s"}
    silent |= {"page_secret": "p", "clients": ("kustos-page",)}
    for given, words in (({}, "cannot be fetched"), ({"realm": ""}, "KUSTOS_REALM must be set")):
        settings = Settings(home=tmp_path, models_dir=tmp_path, ollama_url="", **{**silent, **given})
        wrong = [each for each in examine(settings) if each.state == "wrong" and each.check != "home"]
        assert [each.check for each in wrong if each.check != "models"] == ["identity"], wrong
        assert words in wrong[-1].detail


@pytest.mark.loopback
def test_doctor_says_why_the_keys_cannot_be_had(tmp_path: Path) -> None:
    finding = of_provider(tmp_path, "http://127.0.0.1:9")  # nothing listens there (discard)
    assert finding.state == "wrong"
    assert f"http://127.0.0.1:9{CERTS} cannot be fetched: " in finding.detail


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"realm": ""}, "KUSTOS_REALM must be set"),
        ({"jwks_url": ""}, "KUSTOS_JWKS_URL must be set"),
        ({"jwks_url": f"http://id.example{CERTS}"}, "must begin with https://"),
        ({"jwks_url": "https://id.example/certs"}, "not an address of Keycloak's"),
        ({"service_secret": ""}, "KUSTOS_SERVICE_SECRET must be set"),
    ],
)
def test_doctor_names_the_setting_of_the_provider_that_is_missing_or_unsafe(
    tmp_path: Path, given: dict[str, str], words: str
) -> None:
    finding = of_provider(tmp_path, "https://id.example", **given)
    assert finding.state == "wrong"
    assert words in finding.detail


def test_the_command_that_closes_the_home_holds_its_path_as_one_word(tmp_path: Path) -> None:
    home = tmp_path / "home & more"
    home.mkdir()
    home.chmod(0o755)
    (finding,) = doctor._home(Settings(home=home))
    assert shlex.split(finding.detail.split("run: ")[1]) == ["chmod", "700", str(home)]


def test_doctor_says_that_nobody_can_sign_in_and_what_to_set(tmp_path: Path) -> None:
    (finding,) = found(tmp_path)
    assert finding.state == "note"
    assert "KUSTOS_ISSUER" in finding.detail


def test_doctor_asks_no_provider_where_the_demo_is(tmp_path: Path) -> None:
    DemoIssuer.create(tmp_path, EXAMPLES / "accounts.yaml")
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("key", "can_sign"),
    [(GOOD, True), (SHORT, False), (ENCRYPTS, False), ({"kid": "a"}, False), ({**GOOD, "n": "?"}, False)],
    ids=["good", "short", "encrypts", "empty", "broken"],
)
def test_tv_08_a_key_counts_only_if_its_tokens_would_be_accepted(key: dict[str, Any], can_sign: bool) -> None:
    assert usable(key) is can_sign


@pytest.mark.parametrize(("ahead_s", "told"), [(1.0, []), (300.0, ["300 s behind"])])
def test_tv_18_doctor_says_how_far_the_clocks_are_apart(tmp_path: Path, monkeypatch, ahead_s: float, told) -> None:
    described = httpx.MockTransport(lambda _: httpx.Response(200, json={"issuer": ISSUER}))
    provider = Provider(ISSUER, httpx.Client(transport=described), ask_as_us=lambda: ahead_s)
    monkeypatch.setattr(doctor, "open_provider", lambda _: provider)
    settings = Settings(home=tmp_path, models_dir=tmp_path, ollama_url="")
    clocks = [each for each in examine(settings) if each.check == "clock"]
    assert [each.state for each in clocks] == ["wrong"] * len(told)
    assert all(word in each.detail for word, each in zip(told, clocks, strict=True))
