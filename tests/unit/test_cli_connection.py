"""How a command finds the service of its home, and how long it believes in one that is silent."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.admission.doors import KEY_HEADER
from api.admission.local_operator import LocalOperator
from api.cli import connection
from api.cli.doctor import Finding, examine
from api.cli.ingesting import sync
from api.routes.ingest import HEARTBEAT_S
from rag.errors import NotAuthenticated, Unavailable
from rag.settings import Settings

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
pytestmark = pytest.mark.loopback


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened


def announced(home: Path, listener: socket.socket) -> Settings:
    """Settings of a home whose service, which is this process, is said to be at the listener."""
    LocalOperator.announce(home, f"http://127.0.0.1:{listener.getsockname()[1]}")
    return Settings(home=home, models_dir=home, ollama_url="")


def test_a_service_that_lives_and_does_not_answer_is_busy_and_not_absent(tmp_path: Path, listener) -> None:
    with pytest.raises(Unavailable, match="is running and busy"):
        connection.running_service(announced(tmp_path, listener), patience_s=0.2)


def test_a_service_that_answers_late_is_waited_for(tmp_path: Path, listener) -> None:
    def answer() -> None:
        listener.accept()[0].close()  # the first attempt fails
        taken, _ = listener.accept()
        with taken:
            taken.recv(10_000)
            taken.sendall(GOOD)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    found = connection.running_service(announced(tmp_path, listener), patience_s=60)
    assert found is not None
    found.close()


def test_a_command_does_not_open_the_index_of_a_busy_service(tmp_path: Path, listener, monkeypatch) -> None:
    monkeypatch.setattr(connection, "START_TIMEOUT_S", 0.2)
    with pytest.raises(Unavailable, match="is running and busy"), connection.connect(announced(tmp_path, listener)):
        pytest.fail("it was opened")


@pytest.mark.parametrize(
    ("proof", "words"),
    [({"Authorization": "Bearer x"}, "sign in again with: kustos login"), ({KEY_HEADER: "x"}, "key in KUSTOS_API_KEY")],
)
def test_who_is_refused_is_told_what_of_his_was_refused(proof: dict[str, str], words: str) -> None:
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(401))) as client:
        refused = client.get("http://kustos.example/v1/documents", headers=proof)
    with pytest.raises(NotAuthenticated) as caught:
        connection.checked(refused)
    assert (words in str(caught.value), "this sign-in" in str(caught.value)) == (True, KEY_HEADER not in proof)


def test_where_no_service_is_announced_none_is_waited_for(tmp_path: Path) -> None:
    assert connection.running_service(Settings(home=tmp_path), patience_s=60) is None


def test_doctor_says_busy_of_a_service_that_does_not_answer_in_time(tmp_path: Path, listener, monkeypatch) -> None:
    monkeypatch.setattr("api.cli.doctor.PATIENCE_S", 0.2)
    found = {each.check: each for each in examine(announced(tmp_path, listener))}
    assert isinstance(found["index"], Finding)
    assert "is running and busy" in found["index"].detail


def test_a_sync_that_is_silent_for_long_is_given_up_and_one_that_gives_a_sign_is_not(tmp_path: Path) -> None:
    patience = []

    def reply(request: httpx.Request) -> httpx.Response:
        patience.append(request.extensions["timeout"]["read"])
        return httpx.Response(200, text="\n\n" + json.dumps({"event": "done", "report": {"source": "share"}}) + "\n\n")

    client = httpx.Client(transport=httpx.MockTransport(reply), base_url="http://x", timeout=600)
    assert sync(client, Settings(home=tmp_path), "share", tmp_path) == {"source": "share"}
    assert 3 * HEARTBEAT_S < patience[0] <= 60
