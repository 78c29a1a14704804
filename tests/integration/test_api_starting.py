"""How a service may start: the demo on loopback alone, a provider that can be trusted, and one service a home."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from api.admission.local_operator import KEY_FILE, SERVICE_FILE, LocalOperator
from api.server import listen
from api.tokens.demo_issuer import DemoIssuer
from api.tokens.issuers import CERTS, issuer_of, open_identity
from rag.access.principals import group
from rag.errors import Misconfigured, NotAuthenticated
from rag.settings import Settings
from tests.library import SALES, Written, open_library, token

PLAN = Written("plan.txt", ["The plan for lorries."], frozenset({SALES}))
ACCOUNTS = """
realm: acme
accounts:
  - {name: anna, subject: 00000000-0000-0000-0000-000000000001, display_name: Anna, email: a@acme.example,
     about: Sales, roles: [staff], groups: [/sales/north]}
groups:
  /sales/north: [/sales]
  /sales: []
"""
PROVIDER = {
    "issuer": "https://id.example/realms/a",
    "jwks_url": f"https://id.example/realms/a{CERTS}",
    "realm": "a",
    "service_secret": "s",
}


def test_sa_04_a_service_beyond_loopback_answers_under_every_name(tmp_path) -> None:
    app = open_library(tmp_path / "home", host="0.0.0.0").app()
    assert TestClient(app, base_url="http://kustos.example").get("/healthz").status_code == 200


def make_demo(tmp_path) -> DemoIssuer:
    (tmp_path / "accounts.yaml").write_text(ACCOUNTS, encoding="utf-8")
    return DemoIssuer.create(tmp_path / "home", tmp_path / "accounts.yaml")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "kustos.example", ""])
def test_tv_25_the_demo_does_not_start_beyond_loopback(tmp_path, host) -> None:
    demo = make_demo(tmp_path)
    with pytest.raises(Misconfigured, match="KUSTOS_HOST"):
        open_library(tmp_path / "home", host=host).app(demo)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_the_demo_starts_on_loopback(tmp_path, host) -> None:
    assert open_library(tmp_path / "home", host=host).app(make_demo(tmp_path))


def test_the_demos_files_are_for_their_owner_alone_and_stay(tmp_path) -> None:
    first = make_demo(tmp_path)
    files = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "home").iterdir()}
    assert files == {"demo.json": 0o600, "demo-key.pem": 0o600}
    loaded = DemoIssuer.load(tmp_path / "home")
    assert loaded is not None
    assert loaded.issuer("main").keys == first.issuer("main").keys == make_demo(tmp_path).issuer("main").keys
    (tmp_path / "home" / "demo-key.pem").chmod(0o644)
    with pytest.raises(Misconfigured, match="others can read"):
        DemoIssuer.load(tmp_path / "home")


def test_without_the_operators_word_there_is_no_demo(tmp_path) -> None:
    assert DemoIssuer.load(tmp_path) is None


def test_nested_groups_of_the_demo_count_through_the_directory(tmp_path) -> None:
    demo = make_demo(tmp_path)
    library = open_library(tmp_path / "home", PLAN)
    client = TestClient(library.app(demo), base_url="http://127.0.0.1")
    headers = {"Authorization": f"Bearer {demo.token('anna')}"}
    assert client.get("/v1/documents", headers=headers).json()["documents"] == []
    library.kustos.records.directory.replace("main", "demo", demo.directory_edges())
    assert demo.directory_edges() == [(group("acme", "/sales/north"), group("acme", "/sales"))]
    assert len(client.get("/v1/documents", headers=headers).json()["documents"]) == 1


@pytest.mark.parametrize(
    "spoilt",
    [
        "[]",
        "realm: acme",
        "{realm: '', accounts: []}",
        ACCOUNTS.replace("00000000-0000-0000-0000-000000000001", "one"),
        ACCOUNTS.replace("/sales/north]", "sales]"),
        ACCOUNTS.replace("name: anna, ", ""),
        "\x00",
    ],
)
def test_an_accounts_file_that_is_not_right_is_refused(tmp_path, spoilt) -> None:
    (tmp_path / "accounts.yaml").write_text(spoilt, encoding="utf-8")
    with pytest.raises(Misconfigured, match="accounts file"):
        DemoIssuer.create(tmp_path / "home", tmp_path / "accounts.yaml")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"jwks_url": ""}, "KUSTOS_JWKS_URL"),
        ({"realm": ""}, "KUSTOS_REALM"),
        ({"audience": ""}, "KUSTOS_AUDIENCE"),
        ({"service_client": ""}, "KUSTOS_SERVICE_CLIENT"),
        ({"service_secret": ""}, "KUSTOS_SERVICE_SECRET"),
        ({"jwks_url": "https://id.example/certs"}, "not an address of Keycloak's"),
        ({"jwks_url": f"http://id.example/realms/a{CERTS}"}, "https"),
        ({"jwks_url": "file:///etc/keys"}, "https"),
    ],
)
def test_tv_25_an_unsafe_identity_provider_is_refused_by_the_name_of_its_setting(changes, words) -> None:
    safe = Settings(**PROVIDER)
    assert open_identity(safe, None)
    with pytest.raises(Misconfigured, match=words):
        open_identity(replace(safe, **changes), None)


def test_tv_25_the_demo_does_not_run_beside_an_identity_provider_or_behind_a_public_name(tmp_path) -> None:
    demo = make_demo(tmp_path)
    provider = Settings(**PROVIDER)
    with pytest.raises(Misconfigured, match=r"KUSTOS_ISSUER.*remove demo\.json"):
        open_identity(provider, demo)
    with pytest.raises(Misconfigured, match="KUSTOS_PUBLIC_NAME"):
        open_library(tmp_path / "home", public_name="kustos.example").app(demo)


def test_sa_04_on_loopback_the_name_that_a_proxy_keeps_is_answered_and_no_other(tmp_path) -> None:
    client = TestClient(open_library(tmp_path / "home", public_name="Kustos.example").app())
    names = ("kustos.example", "KUSTOS.example:443", "127.0.0.1:8080", "evil.example", "kustos.example.evil")
    assert [client.get("/healthz", headers={"Host": each}).status_code for each in names] == [200, 200, 200, 421, 421]


def test_tv_15_the_clients_of_the_settings_are_accepted_and_else_the_audience() -> None:
    assert issuer_of(Settings(**PROVIDER)).clients == {"kustos"}
    assert issuer_of(Settings(**PROVIDER, clients=("chat", "intranet"))).clients == {"chat", "intranet"}


def test_without_any_issuer_nobody_is_recognised() -> None:
    with pytest.raises(NotAuthenticated):
        open_identity(Settings(), None).caller(token())


def test_the_operators_key_is_made_once_for_its_owner_alone(tmp_path) -> None:
    first = LocalOperator.load(tmp_path / "home")
    assert LocalOperator.load(tmp_path / "home") == first
    assert len(first.key) >= 43
    assert (tmp_path / "home" / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
    (tmp_path / "home" / KEY_FILE).write_text("short")
    with pytest.raises(Misconfigured):
        LocalOperator.load(tmp_path / "home")


def test_a_running_service_is_found_and_a_dead_one_is_not(tmp_path) -> None:
    assert LocalOperator.running_url(tmp_path) is None
    LocalOperator.announce(tmp_path, "http://127.0.0.1:1")
    assert LocalOperator.running_url(tmp_path) == "http://127.0.0.1:1"
    LocalOperator.withdraw(tmp_path, "http://127.0.0.1:2")
    assert LocalOperator.running_url(tmp_path) is not None
    LocalOperator.withdraw(tmp_path, "http://127.0.0.1:1")
    assert LocalOperator.running_url(tmp_path) is None
    (tmp_path / SERVICE_FILE).write_text(json.dumps({"url": "http://127.0.0.1:1", "pid": 2**22 + 1}))
    assert LocalOperator.running_url(tmp_path) is None


@pytest.mark.parametrize("change", [{"pid": 1}, {"started": 1}, {"started": None}, {"pid": 0}, {"pid": 2**70}])
def test_the_process_id_of_a_dead_service_does_not_make_a_stranger_the_service(tmp_path, change) -> None:
    LocalOperator.announce(tmp_path, "http://127.0.0.1:1")
    about = json.loads((tmp_path / SERVICE_FILE).read_text())
    assert about["started"] or not Path("/proc/self/stat").exists()
    (tmp_path / SERVICE_FILE).write_text(json.dumps({**about, **change}))
    assert LocalOperator.running_url(tmp_path) is None


def test_a_port_in_use_is_said_in_words(tmp_path) -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(Misconfigured, match="cannot listen on"):
        listen("127.0.0.1", taken.getsockname()[1])


SERVING = """
import sys
from api.server import listen, run_on

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})

with listen("127.0.0.1", 0) as listener:
    print(listener.getsockname()[1], flush=True)
    run_on(app, listener)
    print("tidied up", flush=True)
"""


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_is_told_to_stop_tidies_up_and_has_not_failed(signal_number) -> None:
    with subprocess.Popen([sys.executable, "-c", SERVING], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False, timeout=30).status_code == 204
        process.send_signal(signal_number)
        assert process.stdout.read() == "tidied up\n"
    assert process.returncode == 0
