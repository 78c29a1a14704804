"""Ctrl-C and SIGTERM while a folder is taken in: one line of words, and the next run does the rest."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from api.admission.local_operator import LocalOperator
from api.cli.ingesting import INTERRUPTED
from rag.bootstrap import open_records
from rag.settings import Settings
from tests.integration.conftest import MODEL, NO_MODEL, CommandLine
from tests.security.watched import ROOT

DOCUMENTS = 250
PATIENCE_S = 120.0
pytestmark = pytest.mark.skipif(not MODEL.is_dir(), reason=NO_MODEL)
WORDS = "The forklift in hall {} is serviced every spring, by the workshop that also looks after the lorries there."


@pytest.fixture
def share(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    for number in range(DOCUMENTS):
        (folder / f"{number}.txt").write_text(WORDS.replace("{}", str(number)), encoding="utf-8")
    return folder


@pytest.fixture
def command_line(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "home")


# A shell that starts tests in the background has them ignore Ctrl-C, and whatever they start in turn.
KUSTOS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from api.cli import main; main()"


def start(command_line: CommandLine, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", KUSTOS, *arguments],
        env=command_line.environment(**environment),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], fulfilled: Any) -> None:
    until = time.monotonic() + PATIENCE_S
    while not fulfilled():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < until
        time.sleep(0.02)


def rest_is_taken_in(command_line: CommandLine, share: Path) -> bool:
    (report,) = command_line.json("ingest", str(share), "--source", "share")["sources"]
    assert report["unchanged"] + report["written"] == DOCUMENTS
    return bool(report["unchanged"] and report["written"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_ingest_says_one_line_and_the_next_one_does_the_rest(command_line, share, number) -> None:
    status = open_records(Settings(home=command_line.home)).status
    process = start(command_line, "ingest", str(share), "--source", "share")
    wait_for(process, status.passages)
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (130, "")
    assert err == f"{INTERRUPTED}\n"
    assert rest_is_taken_in(command_line, share)


@contextmanager
def serving(command_line: CommandLine) -> Iterator[subprocess.Popen[str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    # An identity provider that nobody asks for keys here; without one `serve` does not begin.
    provider = {
        "KUSTOS_ISSUER": "https://id.example/realms/acme",
        "KUSTOS_JWKS_URL": "https://id.example/realms/acme/protocol/openid-connect/certs",
        "KUSTOS_REALM": "acme",
        "KUSTOS_SERVICE_SECRET": "s",
    }
    process = start(command_line, "serve", "--port", port, **provider)
    try:
        wait_for(process, lambda: LocalOperator.running_url(command_line.home))
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_service_told_to_stop_ends_the_sync_in_it_and_tells_the_command(command_line, share) -> None:
    with serving(command_line) as service:
        url = LocalOperator.running_url(command_line.home)
        status = open_records(Settings(home=command_line.home)).status
        process = start(command_line, "ingest", str(share), "--source", "share")
        wait_for(process, status.passages)
        service.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=PATIENCE_S)
        _, log = service.communicate(timeout=PATIENCE_S)
    assert (service.returncode, process.returncode) == (0, 1)
    assert f"listening at {url}\n" in log
    assert "the service is stopping; what is committed stays" in " ".join(told.split())
    assert "Traceback" not in told + log
    assert rest_is_taken_in(command_line, share)


def test_interrupting_the_command_leaves_the_service_at_work(command_line, share) -> None:
    with serving(command_line) as service:
        status = open_records(Settings(home=command_line.home)).status
        process = start(command_line, "ingest", str(share), "--source", "share")
        wait_for(process, status.passages)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 130
        assert told == f"{INTERRUPTED}\n"
        wait_for(service, lambda: status.passages() >= DOCUMENTS)
        service.send_signal(signal.SIGTERM)
        _, log = service.communicate(timeout=PATIENCE_S)
    assert service.returncode == 0
    assert "Traceback" not in told + log
