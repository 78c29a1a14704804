"""Unit tests cannot reach the network, whichever way they try."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from tests.conftest import SocketRefused

NOWHERE = ("192.0.2.1", 9)  # a documentation address (RFC 5737): even unguarded, nobody answers


def test_a_connection_is_refused() -> None:
    with socket.socket() as sock, pytest.raises(SocketRefused, match=r"192\.0\.2\.1"):
        sock.connect(NOWHERE)


def test_a_datagram_is_refused() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(SocketRefused):
        sock.sendto(b"hello", NOWHERE)


def test_a_name_look_up_is_refused() -> None:
    with pytest.raises(SocketRefused, match=r"example\.org"):
        socket.getaddrinfo("example.org", 443)


def test_another_thread_is_refused_too() -> None:
    refused: list[bool] = []

    def reach_out() -> None:
        with socket.socket() as sock, pytest.raises(SocketRefused):
            sock.connect(NOWHERE)
        refused.append(True)

    thread = threading.Thread(target=reach_out)
    thread.start()
    thread.join()
    assert refused == [True]


def test_loopback_is_refused_unless_marked() -> None:
    with socket.socket() as sock, pytest.raises(SocketRefused):
        sock.connect(("127.0.0.1", 9))


@pytest.mark.loopback
def test_a_marked_test_may_talk_to_itself_and_to_nobody_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
    with socket.socket() as sock, pytest.raises(SocketRefused):
        sock.connect(NOWHERE)


def test_an_event_loop_still_runs() -> None:
    assert asyncio.run(asyncio.sleep(0, "awake")) == "awake"
