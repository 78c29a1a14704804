"""Several companies on the command line: each command is for one of them, serve is for all, and one is taken out."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import httpx
import pytest

from api.admission.local_operator import LocalOperator
from tests.integration.conftest import MODEL, NO_MODEL, CommandLine
from tests.integration.test_interrupting import start, wait_for
from tests.unit.test_tenants_file import table

pytestmark = pytest.mark.skipif(not MODEL.is_dir(), reason=NO_MODEL)
NAMES = ("north", "south")


class Installation(CommandLine):
    """`kustos` with a file of two tenants."""

    @property
    def file(self) -> Path:
        return self.home.parent / "tenants.toml"

    def environment(self, **more: str) -> dict[str, str]:
        return super().environment(**{"KUSTOS_TENANTS": str(self.file), **more})

    def write(self, *names: str) -> None:
        self.file.touch(0o600)
        nowhere = "http://127.0.0.1:9/realms"  # nothing listens there
        text = "\n".join(table(each, jwks_url=f"{nowhere}/{each}/protocol/openid-connect/certs") for each in names)
        self.file.write_text(text, encoding="utf-8")

    def of(self, name: str) -> Path:
        return self.home / "tenants" / name

    @contextmanager
    def serving(self, names: Sequence[str] = NAMES, *, options: Sequence[str] = ()) -> Iterator[Popen[str]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        process = start(self, *options, "serve", "--port", port)
        try:
            wait_for(process, lambda: all(LocalOperator.running_url(self.of(each)) for each in names))
            yield process
        finally:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    here = tmp_path_factory.mktemp("tenants")
    made = Installation(here / "home")
    made.write(*NAMES)
    for name in NAMES:
        folder = here / name
        folder.mkdir()
        (folder / "plan.txt").write_text(f"The hotel of {name} is blue.", encoding="utf-8")
        (folder / "_access.yaml").write_text("kustos_access: 1\nallow:\n  - everyone\n", encoding="utf-8")
    ran = made.run("--tenant", "north", "ingest", str(here / "north"), "--source", "share")
    assert ran.returncode == 0, ran.stderr
    return made


@pytest.mark.parametrize(
    "command", [("status",), ("documents", "--refused"), ("keys", "list"), ("ingest", "/", "--source", "x")]
)
def test_a_command_without_a_tenant_says_that_it_wants_one(installation, command) -> None:
    ran = installation.run(*command)
    assert ran.returncode == 1
    assert "say for which tenant, with kustos --tenant NAME or KUSTOS_TENANT: north, south" in " ".join(
        ran.stderr.split()
    )


def test_a_tenant_that_the_file_does_not_have_is_named(installation) -> None:
    ran = installation.run("--tenant", "../north", "status")
    assert ran.returncode == 1
    assert "has no tenant '../north'" in " ".join(ran.stderr.split())


def test_each_command_is_for_its_tenant_by_option_or_variable(installation) -> None:
    by_option = installation.run("--tenant", "north", "status", "--json")
    by_variable = installation.run("status", "--json", KUSTOS_TENANT="north")
    assert json.loads(by_option.stdout) == json.loads(by_variable.stdout)
    assert [each["documents"] for each in json.loads(by_option.stdout)["sources"]] == [1]
    assert installation.run("--tenant", "south", "status").returncode == 1, "nothing was begun there"


def test_the_demo_is_for_no_tenant(installation) -> None:
    ran = installation.run("--tenant", "north", "demo", "--once")
    assert ran.returncode == 1
    assert "does not run beside KUSTOS_ISSUER" in " ".join(ran.stderr.split())


def test_doctor_looks_at_every_tenant_and_names_each(installation) -> None:
    ran = installation.run("doctor", "--json")
    assert ran.returncode == 1, "no Keycloak answers"
    found = {each["check"]: each for each in json.loads(ran.stdout)["findings"]}
    assert found["north: index"]["state"] == "good"
    assert found["south: home"]["detail"].startswith("nothing has been taken in yet")
    assert {found[f"{name}: identity"]["state"] for name in NAMES} == {"wrong"}


def test_while_one_tenant_cannot_be_opened_another_is_served_alone(installation) -> None:
    home = installation.of("south")
    home.touch()
    try:
        ran = installation.run("serve")
        assert ran.returncode == 1
        assert f"tenant south: the home folder {home} is no folder but a file" in " ".join(ran.stderr.split())
        with installation.serving(["north"], options=("--tenant", "north")):
            url = LocalOperator.running_url(installation.of("north"))
            key = LocalOperator.load(installation.of("north")).key
            status = httpx.get(f"{url}/v1/operator/status", headers={"Authorization": f"Bearer {key}"}).json()
            assert [each["documents"] for each in status["sources"]] == [1]
    finally:
        home.unlink()


def test_mt_05_serve_is_for_all_and_a_tenant_is_removed_when_it_has_stopped(installation) -> None:
    assert [each["state"] for each in installation.json("tenants", "list")["tenants"]] == ["ready", "new"]
    with installation.serving() as service:
        url = LocalOperator.running_url(installation.of("south"))
        assert url == LocalOperator.running_url(installation.of("north"))
        assert httpx.get(f"{url}/healthz").json() == {"status": "alive"}
        assert [each["state"] for each in installation.json("tenants", "list")["tenants"]] == ["running", "running"]
        folder = installation.home.parent / "south"
        ran = installation.run("--tenant", "south", "ingest", str(folder), "--source", "share")
        assert ran.returncode == 0, ran.stderr
        for name in NAMES:
            key = LocalOperator.load(installation.of(name)).key
            status = httpx.get(f"{url}/v1/operator/status", headers={"Authorization": f"Bearer {key}"}).json()
            assert [each["documents"] for each in status["sources"]] == [1]
        refused = installation.run("tenants", "remove", "north", "--yes")
        assert refused.returncode == 1
        assert "a service is running for north" in " ".join(refused.stderr.split())
        service.send_signal(signal.SIGTERM)
        _, log = service.communicate(timeout=60)
        assert service.returncode == 0
        assert "[south]" in log
        assert "listening at http://127.0.0.1:" in log
    told = installation.json("tenants", "remove", "north", "--yes")
    assert (Path(told["kept"]) / "audit.jsonl").exists()
    assert not installation.of("north").exists()
    states = {each["tenant"]: each for each in installation.json("tenants", "list")["tenants"]}
    assert (states["north"]["state"], states["south"]["documents"]) == ("new", 1)
    assert installation.run("tenants", "remove", "north", "--yes").returncode == 1
    installation.write("north")
    assert [each["state"] for each in installation.json("tenants", "list")["tenants"]] == ["new", "not in the file"]
