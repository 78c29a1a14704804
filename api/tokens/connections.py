"""Connections to one server that are kept open. A question is sent first, and its answer is waited for later.

For what is asked at each request, where a client library costs more than the server does. There are no redirects,
cookies or proxies that a secret or a person's token could follow, and no content encoding that could blow up.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from time import monotonic
from urllib.parse import urlsplit

MAX_BYTES = 256_000
PIECE_BYTES = 65_536
MOST_KEPT = 16
IDLE_S = 30.0

FAILED = (HTTPException, OSError)
"""What goes wrong with a connection, or with what comes over it."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request; `target` is path and query."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, complete."""

    status: int
    body: bytes = field(repr=False)


class Connections:
    """Those to the server of `url`, whose certificate this machine's own store must bear out. Safe to use from threads.

    `timeout_s` is for connecting, for sending, for each wait for a piece of an answer, and for all of its pieces.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._timeout_s = timeout_s
        self._kept: deque[tuple[HTTPConnection, float]] = deque(maxlen=MOST_KEPT)

    @contextmanager
    def asked(self, question: Question) -> Iterator[Callable[[], Answer]]:
        """Sends the question; what the block is given waits for the answer, and is called once at most.

        A connection that the server has closed meanwhile is replaced, so a question may come twice.

        Raises:
            HTTPException, OSError: the server does not answer in time, or not as it should; on sending and on waiting.
        """
        sent = _Sent(self, question)
        try:
            yield sent.answer
        finally:
            sent.end()

    def kept(self) -> HTTPConnection | None:
        """A connection that was used lately; it may be closed at the other end. None if there is none."""
        while self._kept:
            try:
                connection, since = self._kept.pop()
            except IndexError:  # another thread has taken the last one
                return None
            if monotonic() - since < IDLE_S:
                return connection
            connection.close()
        return None

    def keep(self, connection: HTTPConnection) -> None:
        if len(self._kept) >= MOST_KEPT:
            connection.close()
        else:
            self._kept.append((connection, monotonic()))

    def new(self) -> HTTPConnection:
        if self._tls:
            return HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=self._tls)
        return HTTPConnection(self._host, self._port, timeout=self._timeout_s)

    def read(self, response: HTTPResponse) -> bytes:
        """The whole body.

        Raises:
            HTTPException, OSError: it is too large, comes too slowly, breaks off, or its end is not certain.
        """
        if len(response.headers.get_all("Content-Length", [])) + response.chunked != 1:
            raise HTTPException("no length, or several")
        body, until = bytearray(), monotonic() + self._timeout_s
        while piece := response.read1(PIECE_BYTES):
            body += piece
            if len(body) > MAX_BYTES:
                raise HTTPException(f"more than {MAX_BYTES} bytes")
            if monotonic() > until:
                raise HTTPException(f"not complete in {self._timeout_s} s")
        if response.length:
            raise HTTPException(f"{response.length} bytes short")
        return bytes(body)


class _Sent:
    """A question on its way. Its connection is kept once the answer is complete, and closed otherwise."""

    def __init__(self, connections: Connections, question: Question) -> None:
        self._connections = connections
        self._question = question
        self._complete = False
        kept = connections.kept()
        self._is_new = kept is None
        self._connection = kept or connections.new()
        try:
            self._send()
        except BaseException:
            self.end()
            raise

    def answer(self) -> Answer:
        try:
            response = self._connection.getresponse()
        except ConnectionError:
            if self._is_new:
                raise
            self._renew()
            self._send()
            response = self._connection.getresponse()
        body = self._connections.read(response)
        response.close()  # the connection stays open
        self._complete = not response.will_close
        return Answer(response.status, body)

    def end(self) -> None:
        if self._complete:
            self._connections.keep(self._connection)
        else:
            self._connection.close()

    def _send(self) -> None:
        asked = self._question
        try:
            self._connection.request(asked.method, asked.target, asked.body, dict(asked.headers))
        except ConnectionError:
            if self._is_new:
                raise
            self._renew()
            self._send()

    def _renew(self) -> None:
        self._connection.close()
        self._is_new, self._connection = True, self._connections.new()
