"""Audit records arrive at syslog servers as RFC 5424 says, without names and text; what does not arrive is counted."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rag.access.audit_chain import Entry
from rag.errors import Misconfigured
from rag.stores import syslog
from rag.stores.syslog import Syslog

ENTRY = Entry(
    tenant="main",
    number=7,
    at_ms=1_790_000_000_123,
    person="0123456789abcdef01234567",
    action="search",
    outcome="released",
    about=None,
    concerning=None,
    principals_hash="a" * 64,
    question_hash="b" * 64,
    text_hash=None,
    released='[["document", "v1", ["c1"]]]',
    stale_index=0,
    model=None,
    grants="[]",
    detail="{}",
    request_id="request",
    mac="c" * 64,
)
HEADER = re.compile(rb"<110>1 2026-09-21T14:13:20\.123Z \S+ kustos \d+ audit - (\{.*\})")
pytestmark = pytest.mark.loopback


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        yield server


@pytest.fixture
def tcp() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.settimeout(10)
        yield server


def event(message: bytes) -> dict:
    found = HEADER.fullmatch(message)
    assert found, message
    return json.loads(found[1])


def test_a_record_arrives_in_a_datagram_under_its_pseudonym(udp) -> None:
    forward = Syslog(f"udp://127.0.0.1:{udp.getsockname()[1]}")
    forward.send(ENTRY)
    told = event(udp.recv(65_536))
    assert (told["class_uid"], told["metadata"]["sequence"], told["unmapped"]["mac"]) == (6003, 7, "c" * 64)
    assert told["actor"]["user"]["uid"] == ENTRY.person
    assert "raw_data" not in told
    forward.close()
    assert forward.lost == 0


def test_a_record_too_long_for_a_datagram_leaves_its_list_out(udp) -> None:
    listing = json.dumps([["d" * 36, "v" * 64, []]] * 500)
    forward = Syslog(f"udp://127.0.0.1:{udp.getsockname()[1]}")
    forward.send(Entry(**{**{name: getattr(ENTRY, name) for name in Entry.__slots__}, "released": listing}))
    told = event(udp.recv(65_536))
    assert ("resources" in told, told["unmapped"]["resources_left_out"]) == (False, 500)
    forward.close()


def test_records_arrive_over_tcp_each_behind_its_length(tcp) -> None:
    forward = Syslog(f"tcp://127.0.0.1:{tcp.getsockname()[1]}")
    forward.send(ENTRY)
    forward.send(ENTRY)
    connection, _ = tcp.accept()
    forward.close()
    with closing(connection), connection.makefile("rb") as stream:
        received = stream.read()
    for _ in range(2):
        length, _, received = received.partition(b" ")
        event(received[: int(length)])
        received = received[int(length) :]
    assert received == b""


def test_a_record_arrives_at_the_machines_own_socket(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as server:
        server.bind(str(tmp_path / "log"))
        forward = Syslog(f"unix:{tmp_path / 'log'}")
        forward.send(ENTRY)
        forward.close()
        assert event(server.recv(65_536))["actor"]["user"]["uid"] == ENTRY.person


def test_a_server_that_came_back_gets_what_follows(tcp) -> None:
    port = tcp.getsockname()[1]
    forward = Syslog(f"tcp://127.0.0.1:{port}")
    forward.send(ENTRY)
    first, _ = tcp.accept()
    with closing(first), first.makefile("rb") as stream:
        stream.read(10)
    assert any(_arrived(tcp, forward) for _ in range(50))
    forward.close()


def _arrived(tcp: socket.socket, forward: Syslog) -> bool:
    """Whether a record brought a new connection; the first one after the end may still go into the old one."""
    forward.send(ENTRY)
    tcp.settimeout(0.1)
    try:
        tcp.accept()[0].close()
    except TimeoutError:
        return False
    return True


def test_a_server_that_is_not_there_costs_records_and_holds_nobody(tcp, caplog) -> None:
    port = tcp.getsockname()[1]
    tcp.close()
    forward = Syslog(f"tcp://127.0.0.1:{port}")
    for _ in range(3):
        forward.send(ENTRY)
    forward.close()
    assert forward.lost == 3
    assert "did not reach syslog" in caplog.text


def test_more_than_can_wait_is_lost_and_counted_at_once(monkeypatch, udp) -> None:
    held, sending = threading.Event(), threading.Event()

    def hold(self: Syslog, message: bytes) -> None:
        sending.set()
        held.wait(10)

    monkeypatch.setattr(syslog.Syslog, "_deliver", hold)
    forward = Syslog(f"udp://127.0.0.1:{udp.getsockname()[1]}", waiting=2)
    forward.send(ENTRY)
    assert sending.wait(10)
    for _ in range(5):
        forward.send(ENTRY)
    assert forward.lost == 3
    held.set()
    forward.close()


@pytest.mark.parametrize(
    "address", ["", "/dev/log", "http://log", "udp://", "unix:", "tcp:514", "udp://h:x", "tcp://h:123456"]
)
def test_an_address_that_is_none_is_refused(address) -> None:
    with pytest.raises(Misconfigured, match="KUSTOS_AUDIT_SYSLOG"):
        Syslog(address)
