"""Keycloak as the Maven artifact that its makers publish: fetched and built once, started for the length of a session."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import IO

from tests.services import cache
from tests.services.cache import Missing

VERSION = "26.5.5"
SHA256 = "5cd606f5e23ff77d9991ce55bab4a2ea529f05f7e16e24c1f270c6f360b50988"
ARTIFACT = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
BUILD = ("--db=dev-mem", "--health-enabled=true")
JAVA = 17
NO_MAVEN = "Maven is not installed; Keycloak comes through it. Install it with: apt-get install maven"
NO_JAVA = f"Java {JAVA} or newer is not installed; install it with: apt-get install openjdk-17-jre-headless"
NOT_FETCHED = "Keycloak is not here; fetch it with: make services"
START_S = 300.0
STOP_S = 60.0
LASTING = "-Xms64m -Xmx512m -XX:MaxMetaspaceSize=256m -XX:+UseSerialGC -Dfile.encoding=UTF-8"
"""Java's options for a server that is measured: it is compiled as one in production is."""
LEAN = f"{LASTING} -XX:TieredStopAtLevel=1"
"""What suits a server that lives for minutes on a machine with two cores."""
ADMINISTRATOR = "admin"
_LISTENING = re.compile(r"Listening on: (http://\S+?:\d+)\. Management interface listening on (http://\S+?:\d+)\.")


@dataclass(frozen=True, slots=True)
class Server:
    """A running Keycloak and the account that administers it, of the realm `master`."""

    url: str
    administrator: str
    password: str


def place() -> Path:
    """Where this version, built in this way, is or would be."""
    kind = hashlib.sha256("\0".join((SHA256, *BUILD)).encode()).hexdigest()[:12]
    return cache.folder() / f"keycloak-{VERSION}-{kind}"


def installed() -> Path:
    """The folder that Keycloak runs from.

    Raises:
        Missing: it is not there, or nothing here could start it; the message says what would help.
    """
    check_java()
    if not place().is_dir():
        raise Missing(NOT_FETCHED)
    return place() / f"keycloak-{VERSION}"


def fetch() -> Path:
    """The folder that Keycloak runs from, fetched and built if it was not there.

    Raises:
        Missing: it cannot be had; the message says what would help.
    """
    check_java()
    if not place().is_dir():
        maven = shutil.which("mvn")
        if maven is None:
            raise Missing(NO_MAVEN)
        with cache.made_whole(place()) as made:
            _run([maven, "-B", "-q", COPY, f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={made}"], "fetched by Maven")
            (archive,) = made.glob("*.zip")
            cache.check(archive, SHA256)
            unpacked = cache.unpack(archive, made)
            archive.unlink()
            _run(["sh", str(unpacked / "bin" / "kc.sh"), "build", *BUILD], "built")
    return installed()


def check_java() -> None:
    """Whether there is a Java that Keycloak runs on, where its own script looks: JAVA_HOME, then the path.

    Raises:
        Missing: there is none.
    """
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home) / "bin" / "java") if home else "java"
    try:
        told = subprocess.run([program, "-version"], capture_output=True, text=True, check=True, timeout=60).stderr
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing(NO_JAVA) from error
    found = re.search(r'version "(\d+)', told)
    if found is None or int(found[1]) < JAVA:
        raise Missing(f"{NO_JAVA} (here is {told.splitlines()[0] if told else 'one that does not say'})")


def _run(command: Sequence[str], what: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise Missing(f"Keycloak could not be {what} (status {done.returncode}):\n{done.stdout[-2000:]}")


@contextmanager
def running(realms: Sequence[Path] = (), java_options: str = LEAN) -> Iterator[Server]:
    """A Keycloak of one's own on free loopback ports, with its database in memory and `realms` imported.

    What it writes goes into a folder that is removed, so any number of sessions share one installation.

    Raises:
        Missing: it is not installed.
    """
    program = installed()
    with tempfile.TemporaryDirectory(prefix="kustos-keycloak-") as name:
        home, password = Path(name), secrets.token_urlsafe(24)
        for part in ("lib", "conf", "providers", "themes"):
            (home / part).symlink_to(program / part)
        (home / "data" / "import").mkdir(parents=True)
        for realm in realms:
            shutil.copy(realm, home / "data" / "import")
        process = _start(program, home, password, java_options)
        try:
            yield Server(_await_ready(process), ADMINISTRATOR, password)
        finally:
            _stop(process)


def _start(program: Path, home: Path, password: str, java_options: str) -> subprocess.Popen[str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("KC_", "KUSTOS_", "QUARKUS_"))}
    administrator = {"KC_BOOTSTRAP_ADMIN_USERNAME": ADMINISTRATOR, "KC_BOOTSTRAP_ADMIN_PASSWORD": password}
    dies_with_us = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    return subprocess.Popen(
        [
            *dies_with_us, "sh", program / "bin" / "kc.sh", f"-Dkc.home.dir={home}", "start", "--optimized",
            "--import-realm", "--cache=local", "--http-enabled=true", "--hostname-strict=false",
            "--http-host=127.0.0.1", "--http-port=0", "--http-management-port=0",
        ],
        env={**inherited, **administrator, "JAVA_OPTS": java_options},
        cwd=home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip


def _await_ready(process: subprocess.Popen[str]) -> str:
    """The address, once the health endpoint says that the server is ready."""
    log = _Log(process.stdout)
    if not log.ready.wait(START_S) or log.address is None:
        raise RuntimeError(f"Keycloak did not start in {START_S:.0f} s:\n{log.tail()}")
    address, management = log.address
    with urllib.request.urlopen(f"{management}/health/ready", timeout=START_S) as reply:
        assert reply.status == 200
    return address


class _Log:
    """Reads what the server prints, to its end, so that it never waits for a reader."""

    def __init__(self, stream: IO[str] | None) -> None:
        assert stream is not None
        self.ready = Event()
        self.address: tuple[str, str] | None = None
        self._stream = stream
        self._lines: list[str] = []
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._stream:
            self._lines.append(line)
            if found := _LISTENING.search(line):
                self.address = found[1], found[2]
                self.ready.set()
        self.ready.set()

    def tail(self) -> str:
        return "".join(self._lines[-30:])


def _stop(process: subprocess.Popen[str]) -> None:
    """`kc.sh` hands the signal on to Java and waits for it. What does not end is killed, by its own session's id."""
    process.terminate()
    try:
        process.wait(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait(timeout=STOP_S)
