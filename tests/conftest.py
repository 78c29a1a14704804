"""What every test gets: a printed Hypothesis seed, and no network where none is needed."""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.once import folder_of_the_run, shared
from tests.services import keycloak
from tests.services.cache import Missing

if TYPE_CHECKING:
    from tests.keycloak_realm import KeycloakRealm

OFFLINE_SUITES = ("unit", "contract")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
MEMORY, ROOM_BYTES = Path("/dev/shm"), 4 << 30

hypothesis.settings.register_profile("kustos", print_blob=True, deadline=None)
hypothesis.settings.load_profile("kustos")


class SocketRefused(AssertionError):
    """A test of an offline suite reached for the network."""


class SocketGuard:
    """Refuses name look-ups, connections and datagrams of this process while `suite` is set.

    An audit hook sees every Python-level socket, whichever library opens it, and cannot be patched away by a test. Unix
    sockets stay open: they are how asyncio wakes itself. Sockets of native code (Rust, C++) are not seen; the egress test
    puts the whole demo into a network namespace for those.
    """

    def __init__(self) -> None:
        self.active = False
        self.loopback = False
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.active or event not in {"socket.connect", "socket.sendto", "socket.getaddrinfo"}:
            return
        host = arguments[0] if event == "socket.getaddrinfo" else _host(arguments[1])
        if host is None or (self.loopback and host in LOOPBACK):
            return
        raise SocketRefused(
            f"{event} to {host!r} in an offline suite; use a fake, or mark the test 'loopback' if it talks to itself"
        )


def _host(address: object) -> object:
    """The host of an internet address; None for a Unix socket, whose address is one text."""
    return address[0] if isinstance(address, tuple) else None


_GUARD = SocketGuard()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "loopback: the test may talk to 127.0.0.1, to a server that it starts itself")
    if config.getoption("hypothesis_seed") is None:
        config.option.hypothesis_seed = str(random.SystemRandom().randrange(2**32))
    if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES:
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if terminalreporter.stats.get("failed"):
        terminalreporter.write_line(
            f"Repeat with the same examples: pytest --hypothesis-seed={config.option.hypothesis_seed}"
        )


@pytest.fixture(autouse=True)
def _offline(request: pytest.FixtureRequest) -> Iterator[None]:
    suite = request.path.relative_to(request.config.rootpath / "tests").parts[0]
    _GUARD.active = suite in OFFLINE_SUITES
    _GUARD.loopback = request.node.get_closest_marker("loopback") is not None
    yield
    _GUARD.active = False


@pytest.fixture(scope="session")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeycloakRealm]:
    """The realm of deploy/keycloak, under a name of its own, on a real Keycloak: the one that the environment names, else one of the run's own."""
    from tests.keycloak_realm import imported  # others need no vendor library

    with _keycloak(folder_of_the_run(tmp_path_factory)) as server, imported(server) as found:
        yield found


@contextmanager
def _keycloak(folder: Path) -> Iterator[keycloak.Server]:
    from tests.keycloak_realm import REALM_FILE

    given = os.environ.get("KUSTOS_TEST_KEYCLOAK_URL")
    if given:
        password = os.environ["KUSTOS_TEST_KEYCLOAK_PASSWORD"]
        yield keycloak.Server(given.rstrip("/"), keycloak.ADMINISTRATOR, password)
        return
    try:
        keycloak.installed()
    except Missing as error:
        if os.environ.get("KUSTOS_TEST_SERVICES") == "required":
            pytest.fail(f"these tests may not be skipped here. {error}")
        pytest.skip(str(error))

    @contextmanager
    def start() -> Iterator[dict[str, str]]:
        with keycloak.running([REALM_FILE]) as server:
            yield asdict(server)

    with shared(folder / "keycloak.json", start) as told:
        yield keycloak.Server(**told)
