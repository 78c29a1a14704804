"""A small real HTTP server that speaks Ollama's protocol, well or badly, on a free loopback port."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]


@dataclass
class FakeOllama:
    """What the server has and how it behaves; tests change the fields. Every request body is kept in `asked`."""

    url: str = ""
    models: dict[str, str] = field(
        default_factory=lambda: {"nomic-embed-text:latest": "digest-1", "qwen3:8b": "digest-2"}
    )
    dimension: int = 768
    pieces: tuple[str, ...] = ("Zwanzig ", "Euro ", "[1].")
    replies: dict[str, Reply] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def hang(self, _handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
        """Says nothing until the server is stopped."""
        self.stop.wait(timeout=30)

    def hang_after_a_piece(self, handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
        begin(handler)
        handler.wfile.write(line("Zwanzig "))
        self.stop.wait(timeout=30)


def begin(handler: BaseHTTPRequestHandler, status: int = 200, length: int | None = None) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()


def line(piece: str, done: bool = False) -> bytes:
    part = {"model": "m", "message": {"role": "assistant", "content": piece}, "done": done}
    return json.dumps(part).encode() + b"\n"


def say(data: bytes, status: int = 200) -> Reply:
    """A reply with this status and exactly these bytes."""

    def reply(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
        begin(handler, status, len(data))
        handler.wfile.write(data)

    return reply


def break_off(data: bytes) -> Reply:
    """A reply that promises more bytes than it sends, and closes."""

    def reply(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
        begin(handler, 200, len(data) + 1000)
        handler.wfile.write(data)

    return reply


def redirect(to: str) -> Reply:
    def reply(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
        handler.send_response(307)
        handler.send_header("Location", to)
        handler.end_headers()

    return reply


def vector(text: str, dimension: int) -> list[float]:
    """A vector that depends on the text alone, of no particular length."""
    digest = hashlib.sha256(text.encode()).digest()
    return [digest[at % 32] - 127.5 + at / dimension for at in range(dimension)]


@contextmanager
def serving() -> Iterator[FakeOllama]:
    fake = FakeOllama()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.stop.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def _tags(fake: FakeOllama, _body: dict[str, Any]) -> Reply:
    listed = [{"name": name, "model": name, "digest": digest} for name, digest in fake.models.items()]
    return say(json.dumps({"models": listed}).encode())


def _embed(fake: FakeOllama, body: dict[str, Any]) -> Reply:
    vectors = [vector(text, fake.dimension) for text in body["input"]]
    return say(json.dumps({"model": body["model"], "embeddings": vectors}).encode())


def _chat(fake: FakeOllama, _body: dict[str, Any]) -> Reply:
    return say(b"".join([*map(line, fake.pieces), line("", done=True)]))


_USUAL = {"/api/tags": _tags, "/api/embed": _embed, "/api/chat": _chat}


def _reply(fake: FakeOllama, path: str, body: dict[str, Any]) -> Reply:
    if path in fake.replies:
        return fake.replies[path]
    name = body.get("model")
    if name and name not in fake.models and f"{name}:latest" not in fake.models:
        return say(json.dumps({"error": f"model '{name}' not found"}).encode(), 404)
    return _USUAL[path](fake, body)


def _handler(fake: FakeOllama) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(text) if text else {}
            fake.asked.append((self.path, body))
            _reply(fake, self.path, body)(self, body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Silent."""

    return Handler
