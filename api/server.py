"""Runs the service in uvicorn, with the settings that its rules need."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from rag.errors import Misconfigured

SHUTDOWN_S = 10
BACKLOG = 2_048


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; with port 0 on a free port, which `getsockname` tells.

    Raises:
        Misconfigured: the address is in use, or not of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)  # who is told the address before the server runs waits, and is not refused
    except OSError as error:
        raise Misconfigured(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another with KUSTOS_HOST or KUSTOS_PORT"
        ) from error
    listener.set_inheritable(True)
    return listener


def run_on(app: ASGIApp, listener: socket.socket, on_stop: Callable[[], None] | None = None) -> None:
    """Serves on a listening socket until it is told to stop by SIGINT or SIGTERM.

    Args:
        on_stop: called in the signal's handler, before open connections are waited for; must return at once.
    """
    earlier = {each: signal.signal(each, _stopped) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        server(app, on_stop).run(sockets=[listener])
    finally:
        for each, handler in earlier.items():
            signal.signal(each, handler)


def _stopped(_signal: int, _frame: object) -> None:
    """Takes the signal that ended the server, which gives it back to whoever was there before.

    Its work is done then: who called `run_on` still has to tidy up, and one that stops when told to has not failed.
    """


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._on_stop = on_stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._on_stop:
            self._on_stop()
        super().handle_exit(sig, frame)


def server(app: ASGIApp, on_stop: Callable[[], None] | None = None) -> uvicorn.Server:
    """The server, not yet started.

    Its own access log would hold query strings, so `api.middleware` writes one without; peers are who they are,
    whatever a forwarding header says.
    """
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
        backlog=BACKLOG,
    )
    return _Server(config, on_stop)
