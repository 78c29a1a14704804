"""What happens to every request before and after its route, in one place: id, limits, headers, and the last catch."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping, Set

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1_000_000
MAX_BODY_S = 10.0
"""Who has sent half of a body holds memory, also without a proof where a form is one (SA-08)."""
DEFAULT_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob:; "
        "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every response that does not say otherwise itself."""


class Envelope:
    """The outermost middleware.

    It makes the request id (`scope["state"]["request_id"]`; a client has no say in it, SC-10), refuses foreign hosts
    and bodies that are too large, sets the headers that every response carries, and turns what nobody foresaw into a
    500 without a word about it (SC-16).
    """

    def __init__(self, app: ASGIApp, hosts: Set[str] | None, extra_headers: Mapping[str, str]) -> None:
        """`hosts` are the names under which the service may be addressed; None accepts every name."""
        self._app = app
        self._hosts = hosts
        self._headers = {**DEFAULT_HEADERS, **extra_headers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request_id, began, status = uuid.uuid4().hex, time.perf_counter(), 0
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers["X-Request-Id"] = request_id
                headers.update(scope["state"].get("headers", {}))  # of the door, whatever came of the request
            await send(message)

        try:
            await self._answer(scope, receive, send_with_headers)
        except ClientDisconnect:
            pass  # in the middle of a body: nobody is left to be answered
        except Exception:
            log.exception("request %s failed", request_id)
            if not status:
                await errors.internal_error()(scope, receive, send_with_headers)
        finally:
            took_ms = (time.perf_counter() - began) * 1000
            log.info("%s %s %d %.0f ms %s", scope["method"], _printable_path(scope), status, took_ms, request_id)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        foreign = self._hosts is not None and host_name(headers.get("host", "")) not in self._hosts
        if foreign and not scope["state"].get("host_is_known"):  # `api.tenants` has looked
            await errors.status_error(421)(scope, receive, send)
        elif "content-length" in headers and "transfer-encoding" in headers:
            # Two lengths: a proxy in front may see another end of the body, so nothing may follow it (RFC 9112, 6.1).
            refusal = errors.status_error(400)
            refusal.headers["Connection"] = "close"
            await refusal(scope, receive, send)
        elif _declared_bytes(headers) > MAX_BODY_BYTES:
            await errors.status_error(413)(scope, receive, send)
        else:
            await self._app(scope, limited(receive), send)


def limited(receive: Receive) -> Receive:
    """`receive` that stops at the limits: of bytes, for bodies that do not declare their length, and of time.

    It raises HTTPException then: 413 or 408.
    """
    taken, until, whole = 0, 0.0, False

    async def within() -> Message:
        nonlocal taken, until, whole
        if whole:
            return await receive()  # that the client has gone
        until = until or asyncio.get_running_loop().time() + MAX_BODY_S
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408) from None
        taken += len(message.get("body", b""))
        if taken > MAX_BODY_BYTES:
            raise HTTPException(413)
        whole = not message.get("more_body")
        return message

    return within


def _declared_bytes(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else MAX_BODY_BYTES + 1


def host_name(host: str) -> str:
    """The name in a Host header, without its port: `[::1]:8080` gives `[::1]`."""
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() else host).lower()


def _printable_path(scope: Scope) -> str:
    """The path as it was sent, still percent-encoded, without its query."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.decode("ascii", "backslashreplace")[:200]
