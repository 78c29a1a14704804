"""Becomes `sitecustomize` of every Python process under test: writes down and refuses what leads off this machine."""

from __future__ import annotations

import os
import sys

LOG = "KUSTOS_TEST_EGRESS_LOG"
WATCHED = {
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
    "socket.gethostbyaddr": 0,
}
"""Audit events, and which of their arguments is the address."""


def leads_away(address: object) -> bool:
    """Whether an address is of the internet and not of this machine. Unix sockets and connected ones are not."""
    host = address[0] if isinstance(address, tuple) and address else address if isinstance(address, str) else None
    if host is None or (isinstance(address, str) and address.startswith(("/", "\0"))):
        return False
    return not (str(host).startswith("127.") or host in ("::1", "localhost", ""))


def watch(event: str, arguments: tuple[object, ...]) -> None:
    if event in WATCHED and leads_away(arguments[WATCHED[event]]):
        with open(os.environ[LOG], "a", encoding="utf-8") as log:
            log.write(f"{os.getpid()} {event} {arguments[WATCHED[event]]!r}\n")
        raise PermissionError(f"{event} to {arguments[WATCHED[event]]!r} leads off this machine")


if LOG in os.environ:
    sys.addaudithook(watch)
