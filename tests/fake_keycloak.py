"""A small real HTTP server that answers as Keycloak's introspection does, well or badly, on a free loopback port."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import EllipsisType
from typing import Any
from urllib.parse import parse_qs

import jwt

PATH = "/realms/acme/protocol/openid-connect/token/introspect"
CLIENT, SECRET = "kustos-service", "s3cr/t+&=%"
PATIENCE_S = 30.0

Reply = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class FakeKeycloak:
    """What it says of tokens; tests change the fields.

    Attributes:
        now: what is different from what a token says; `...` leaves a claim out.
        reply: what it does instead of answering.
        listing: what it answers when something is read from it.
        asked: the form of every question.
        listed: address and credentials of everything that was read.
        connections: how many were opened.
        questioned: set with each question, so that a test knows when one has come.
        released: what `hang` waits for.
    """

    port: int = 0
    active: bool = True
    now: Mapping[str, object | EllipsisType] = field(default_factory=dict)
    reply: Reply | None = None
    listing: Reply | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    listed: list[tuple[str, str]] = field(default_factory=list)
    connections: int = 0
    questioned: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"

    def hang(self, handler: BaseHTTPRequestHandler) -> None:
        """Says nothing until it is released, and then what it would have said."""
        self.released.wait(PATIENCE_S)
        self.answer(handler)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        token = self.asked[-1]["token"]
        claims = jwt.decode(token, options={"verify_signature": False})
        told = {**claims, "client_id": claims.get("azp"), "active": True, **self.now}
        body = {name: value for name, value in told.items() if value is not ...} if self.active else {"active": False}
        say(json.dumps(body).encode())(handler)


def say(data: bytes, status: int = 200, **headers: str) -> Reply:
    """A reply with this status and exactly these bytes."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        told = {"Content_Type": "application/json", "Content_Length": str(len(data)), **headers}
        for name, value in told.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(data)

    return reply


def break_off(data: bytes) -> Reply:
    """A reply that promises more bytes than it sends, and closes."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        say(data, Content_Length=str(len(data) + 1_000))(handler)
        handler.close_connection = True

    return reply


def blurt(data: bytes) -> Reply:
    """These bytes in place of a reply."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(data)
        handler.close_connection = True

    return reply


def say_and_close(data: bytes) -> Reply:
    """A reply, behind which the connection is closed although nothing announced it."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        say(data)(handler)
        handler.wfile.flush()
        handler.close_connection = True

    return reply


@contextmanager
def fake_keycloak(port: int = 0) -> Iterator[FakeKeycloak]:
    """Listens on this port, or on a free one, until the block ends."""
    fake = FakeKeycloak()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            fake.connections += 1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            fake.asked.append({name: values[0] for name, values in parse_qs(body).items()})
            fake.questioned.set()
            (fake.reply or fake.answer)(self)

        def do_GET(self) -> None:
            assert fake.listing, "a redirect was followed"
            fake.listed.append((self.path, self.headers["Authorization"]))
            fake.listing(self)

        def log_message(self, *_: Any) -> None:
            pass

    with _Server(("127.0.0.1", port), Handler) as server:
        fake.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield fake
        finally:
            fake.released.set()
            server.shutdown()
            server.close_connections()


class _Server(ThreadingHTTPServer):
    """Ends with its connections, as a server does that is stopped."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, *arguments: Any) -> None:
        self._open: list[socket.socket] = []
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append(request)
        super().process_request(request, client_address)

    def handle_error(self, *_: Any) -> None:
        """A client that has left is no error here."""

    def close_connections(self) -> None:
        for each in self._open:
            with suppress(OSError):  # the other side was first
                each.shutdown(socket.SHUT_RDWR)
