"""Requests to several tenants as bytes on a real socket: nothing is read as another tenant's than it was checked for."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass

import pytest

from tests.houses import Street, street
from tests.integration.serving import served

OURS = "Authorization: Bearer {north}\r\n"
LAST = "Connection: close\r\n\r\n"
REQUESTS = {
    "the address says another host": (f"GET http://south.example/v1/documents HTTP/1.1\r\nHost: north.example\r\n{OURS}{LAST}", 404),
    "two hosts": (f"GET /v1/documents HTTP/1.1\r\nHost: north.example\r\nHost: south.example\r\n{OURS}{LAST}", 400),
    "two hosts in one": (f"GET /v1/documents HTTP/1.1\r\nHost: north.example, south.example\r\n{OURS}{LAST}", 421),
    "a space before the colon": (f"GET /v1/documents HTTP/1.1\r\nHost : south.example\r\n{OURS}{LAST}", 400),
    "no host": (f"GET /v1/documents HTTP/1.0\r\n{OURS}{LAST}", 421),
    "a user in the host": (f"GET /v1/documents HTTP/1.1\r\nHost: south.example@north.example\r\n{OURS}{LAST}", 421),
    "a port that is none": (f"GET /v1/documents HTTP/1.1\r\nHost: south.example:99999\r\n{OURS}{LAST}", 403),
    "two tokens": (f"GET /v1/documents HTTP/1.1\r\nHost: north.example\r\n{OURS}Authorization: Bearer {{south}}\r\n{LAST}", 400),
    "two lengths": (
        f"POST /v1/search HTTP/1.1\r\nHost: north.example\r\n{OURS}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"
        f"{LAST}0\r\n\r\nGET /v1/documents HTTP/1.1\r\nHost: south.example\r\n\r\n",
        400,
    ),
    "two lengths, and the connection is to stay": (
        f"POST /v1/search HTTP/1.1\r\nHost: north.example\r\n{OURS}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"
        "\r\n0\r\n\r\nGET /v1/documents HTTP/1.1\r\nHost: south.example\r\n\r\n",
        400,
    ),
    "two slashes": (f"GET //v1/documents HTTP/1.1\r\nHost: south.example\r\n{OURS}{LAST}", 404),
    "an encoded slash": (f"GET /v1%2Fdocuments HTTP/1.1\r\nHost: south.example\r\n{OURS}{LAST}", 403),
    "a dot segment": (f"GET /x/../v1/documents HTTP/1.1\r\nHost: south.example\r\n{OURS}{LAST}", 404),
    "a logout that is too long": (
        f"POST /session/backchannel-logout HTTP/1.1\r\nHost: north.example\r\nContent-Length: 50000\r\n{LAST}{'a' * 50_000}",
        404,
    ),
    "a logout in pieces": (
        f"POST /session/backchannel-logout HTTP/1.1\r\nHost: north.example\r\nTransfer-Encoding: chunked\r\n{LAST}5\r\nlogou\r\n0\r\n\r\n",
        404,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Wire:
    """The service's port, and what every request may need."""

    street: Street
    port: int

    def answer(self, request: str) -> bytes:
        """All that comes back until the service closes."""
        north, south = (each.token() for each in self.street.houses)
        received = b""
        opened = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        with closing(opened), suppress(ConnectionResetError):  # it had answered before all was sent
            opened.sendall(request.format(north=north, south=south).encode("latin-1"))
            while some := opened.recv(65_536):
                received += some
        return received


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with street(tmp_path_factory.mktemp("street")) as both, served(both.front) as url:
        yield Wire(both, int(url.rpartition(":")[2]))


@pytest.mark.parametrize("name", REQUESTS)
def test_mt_02_bytes_that_two_readers_could_read_differently_get_nothing(wire, name) -> None:
    request, status = REQUESTS[name]
    answer = wire.answer(request)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [str(status).encode()]
    assert not [each for each in wire.street.houses if each.document("plan").encode() in answer]


def test_mt_02_requests_of_two_tenants_on_one_connection_are_each_for_their_own(wire) -> None:
    ask = "GET /v1/documents HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {{{}}}\r\n"
    answer = wire.answer(f"{ask.format('north')}\r\n{ask.format('south')}{LAST}")
    first, second = answer.split(b"HTTP/1.1 200")[1:]
    north, south = (each.document("plan").encode() for each in wire.street.houses)
    assert (north in first, south in first) == (True, False)
    assert (north in second, south in second) == (False, True)
