"""People sign in on the command line through a real Keycloak, ask as themselves, and sign out."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import httpx
import pytest
from click.testing import CliRunner, Result

from api.cli.commands import kustos
from api.cli.signed_in import EARLY_S, SignedIn
from api.sign_in.oidc import Client, Device
from rag.errors import Misconfigured, NotAllowed, NotAuthenticated, Unavailable
from tests.integration.test_page_sign_in import Site, site_of
from tests.keycloak_browser import browser, sign_in
from tests.keycloak_realm import KeycloakRealm
from tests.security.watched import ROOT


@pytest.fixture(scope="module")
def site(realm: KeycloakRealm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    identifier, quick = realm.client_id("kustos-cli"), {"oauth2.device.polling.interval": "1"}
    attributes = realm.client("kustos-cli")["attributes"]
    realm.admin.update_client(identifier, {"attributes": {**attributes, **quick}})
    with site_of(realm, tmp_path_factory.mktemp("service") / "home") as found:
        yield found


class Terminal:
    """`kustos` for one person, at a service that is elsewhere."""

    def __init__(self, site: Site, home: Path) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("KUSTOS_")}
        told = {"HOME": str(home), "KUSTOS_HOME": str(home / "none"), "KUSTOS_URL": site.url}
        self.environment = {**inherited, **told, "KUSTOS_ISSUER": site.realm.issuer}

    def run(self, *arguments: str) -> Result:
        with pytest.MonkeyPatch.context() as patched:
            for key in [each for each in os.environ if each.startswith("KUSTOS_")]:
                patched.delenv(key)
            for key, value in self.environment.items():
                patched.setenv(key, value)
            return CliRunner().invoke(kustos, arguments)

    def login(self, person: str, password: str) -> str:
        """Signs in as `kustos login` says, in a process of its own; what it said at the end."""
        command = [sys.executable, "-c", "from api.cli import main; main()", "login"]
        process = subprocess.Popen(command, env=self.environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        told = process.stderr.readline() + process.stderr.readline()
        address = re.search(r"https?://\S+user_code=(\S+)", told)
        assert address, told
        assert f"Where a code is asked for, it is {address[1]}" in told
        with browser() as client:
            sign_in(client, address[0], person, password)
        rest = process.stderr.read()
        assert process.wait(timeout=60) == 0, rest
        return rest


@pytest.fixture
def terminal(site: Site, tmp_path: Path) -> Terminal:
    return Terminal(site, tmp_path)


def test_a_person_signs_in_asks_as_himself_and_signs_out(site: Site, terminal: Terminal, tmp_path: Path) -> None:
    person = site.realm.person(groups=["/leitung"])
    nobody = terminal.run("search", "hotel")
    assert (nobody.exit_code, "kustos login" in nobody.stderr) == (1, True)

    assert f"Signed in as T {person}." in terminal.login(person, site.realm.password(person))
    (kept,) = tmp_path.glob(".config/kustos/sign-in/*.json")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "120 euros" in terminal.run("search", "hotel").stdout
    assert "120 euros" in terminal.run("ask", "What may a hotel cost?").stdout
    assert "plan.txt" in terminal.run("documents").stdout

    token = terminal.run("token").stdout.strip()
    assert site.realm.openid("kustos-service").introspect(token)["active"] is True
    out = terminal.run("logout")
    assert (out.exit_code, out.stderr, kept.exists()) == (0, "Signed out.\n", False)
    assert site.realm.openid("kustos-service").introspect(token)["active"] is False
    assert "You were not signed in." in terminal.run("logout").stderr


def test_an_auditor_asks_a_service_that_is_elsewhere(site: Site, terminal: Terminal) -> None:
    person = site.realm.person(duties=["auditor"])
    terminal.login(person, site.realm.password(person))
    assert terminal.run("audit", "what-saw", "kc:kustos:user:x").exit_code == 0
    assert '"audit_exported"' in terminal.run("audit", "export").stdout
    assert "break-glass is off here" in terminal.run("break-glass", "list", "--auditor").stderr
    gone = terminal.run("audit", "who-saw", "file://share/Müller & Söhne.md")
    assert (gone.exit_code, "there is no document at 'file://share/Müller & Söhne.md'" in gone.stderr) == (1, True)
    terminal.run("logout")


def test_rc_01_who_was_disabled_is_told_to_sign_in_again_and_gets_nothing(
    site: Site, terminal: Terminal, signed_in: SignedIn
) -> None:
    terminal.environment["HOME"] = str(signed_in._file.parents[3])
    assert "120 euros" in terminal.run("search", "hotel").stdout
    site.realm.disable(signed_in.name().removeprefix("T "))
    refused = terminal.run("search", "hotel")
    assert refused.exit_code == 1, refused.stderr
    assert "kustos login" in refused.stderr
    assert "120 euros" not in refused.stdout


@pytest.fixture
def signed_in(site: Site, tmp_path: Path) -> SignedIn:
    """Somebody who has signed in, in this process."""
    person = site.realm.person(groups=["/leitung"])
    found = opened(site, tmp_path / ".config" / "kustos" / "sign-in")
    with browser() as client:
        found.sign_in(confirming(site, client, person))
    assert found.name() == f"T {person}"
    return found


def confirming(site: Site, client: httpx.Client, person: str, *, agrees: bool = True) -> Callable[[Device], None]:
    """A person who goes where he is told, and confirms there or does not."""

    def confirm(device: Device) -> None:
        sign_in(client, device.address_with_code, person, site.realm.password(person), agrees=agrees)

    return confirm


def opened(site: Site, folder: Path, clock: Callable[[], float] = time.time, client: str = "kustos-cli") -> SignedIn:
    base = f"{site.realm.issuer}/protocol/openid-connect"
    asked = Client(base, client, "", httpx.Client(trust_env=False, timeout=60), clock)
    return SignedIn(site.realm.issuer, asked, folder, clock)


def later() -> float:
    return time.time() + 300 - EARLY_S + 1


def test_commands_that_run_at_once_renew_the_token_once(site: Site, signed_in: SignedIn) -> None:
    """A refresh token is good for one use in this realm, so a second renewal with the same one would be refused."""
    old, got = signed_in.token(), []
    folder = signed_in._file.parent
    threads = [Thread(target=lambda: got.append(opened(site, folder, later).token())) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (len(got), len(set(got)), old in got) == (8, 1, False)


def test_a_sign_in_that_has_ended_in_keycloak_says_what_to_do(site: Site, signed_in: SignedIn) -> None:
    site.realm.end_sessions(signed_in.name().removeprefix("T "))
    with pytest.raises(NotAuthenticated, match="kustos login"):
        opened(site, signed_in._file.parent, later).token()
    assert not signed_in._file.exists()


def test_who_says_no_in_the_browser_is_not_signed_in(site: Site, tmp_path: Path) -> None:
    person = site.realm.person()
    found = opened(site, tmp_path)
    with browser() as client, pytest.raises(NotAllowed, match="refused in the browser"):
        found.sign_in(confirming(site, client, person, agrees=False))
    assert not list(tmp_path.glob("*.json"))


def test_a_code_that_nobody_confirms_ends(site: Site, tmp_path: Path) -> None:
    ahead = 0.0

    def wait(_: float) -> None:
        nonlocal ahead
        ahead += 300

    found = opened(site, tmp_path, lambda: time.time() + ahead)
    with pytest.raises(NotAuthenticated, match="in time"):
        found.sign_in(lambda _: None, wait)


@pytest.mark.parametrize("client", ["kustos-page", "somebody-else"])
def test_a_client_that_may_not_sign_in_so_is_named(site: Site, tmp_path: Path, client: str) -> None:
    with pytest.raises(Misconfigured, match=r"docs/keycloak\.md"):
        opened(site, tmp_path, client=client).sign_in(lambda _: None)


def test_a_keycloak_that_is_down_is_said_to_be(tmp_path: Path) -> None:
    down = SignedIn("http://127.0.0.1:9", Client.at("http://127.0.0.1:9", "kustos-cli"), tmp_path)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        down.sign_in(lambda _: None)
