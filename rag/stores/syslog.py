"""Sends audit records to syslog (RFC 5424), as they are written, under their pseudonyms and without text.

Nobody waits for it: records pass through a queue to a thread of its own. What does not fit, or does not arrive, is
counted as lost and logged; the chain has it, and `kustos audit export` brings it later.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import socket
from contextvars import copy_context
from datetime import UTC, datetime
from threading import Thread
from urllib.parse import urlsplit

from rag.access import ocsf
from rag.access.audit_chain import Entry
from rag.errors import Misconfigured

log = logging.getLogger(__name__)

WAITING = 10_000
TIMEOUT_S = 5.0
PRIORITY = 13 * 8 + 6  # facility "log audit", severity "informational"
LARGEST_DATAGRAM = 8_192
PORTS = {"udp": 514, "tcp": 601}
_ADDRESS = re.compile(r"(udp|tcp)://([\w.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?|unix:/.+")


class Syslog:
    """One destination: `udp://host[:port]`, `tcp://host[:port]` or `unix:/path`."""

    def __init__(self, address: str, waiting: int = WAITING) -> None:
        if not _ADDRESS.fullmatch(address):
            raise Misconfigured(f"KUSTOS_AUDIT_SYSLOG={address} is none of udp://HOST, tcp://HOST and unix:/PATH")
        self._address = urlsplit(address)
        self._host = socket.gethostname() or "-"
        self._queue: queue.Queue[Entry | None] = queue.Queue(waiting)
        self._socket: socket.socket | None = None
        self.lost = 0
        self._thread = Thread(target=copy_context().run, args=(self._run,), name="audit to syslog", daemon=True)
        self._thread.start()

    def send(self, entry: Entry) -> None:
        """Takes a record for sending. Never waits and never fails."""
        try:
            self._queue.put_nowait(entry)
        except queue.Full:
            self._lose("too many are waiting")

    def close(self, timeout_s: float = TIMEOUT_S) -> None:
        """Sends what is waiting, for so many seconds at most."""
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (entry := self._queue.get()) is not None:
            try:
                self._deliver(self._message(entry))
            except OSError as error:
                self._lose(str(error))
        self._disconnect()

    def _deliver(self, message: bytes) -> None:
        """Sends over the open connection, or once more over a new one: a server may have closed the old one."""
        try:
            self._connected().sendall(message)
        except OSError:
            self._disconnect()
            self._connected().sendall(message)

    def _connected(self) -> socket.socket:
        if self._socket is None:
            made = self._open()
            made.settimeout(TIMEOUT_S)
            self._socket = made
        return self._socket

    def _open(self) -> socket.socket:
        scheme, host = self._address.scheme, self._address.hostname or ""
        if scheme == "unix":
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            made.connect(self._address.path)
            return made
        port = self._address.port or PORTS[scheme]
        if scheme == "tcp":
            return socket.create_connection((host, port), TIMEOUT_S)
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        made = socket.socket(family, kind, protocol)
        made.connect(address)
        return made

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _message(self, entry: Entry) -> bytes:
        """One message; over TCP with its length in front (RFC 6587), in a datagram without lists that are too long."""
        event = ocsf.event(entry, {}, raw=False)
        line = self._line(entry, event)
        if self._address.scheme == "tcp":
            return b"%d %s" % (len(line), line)
        if len(line) > LARGEST_DATAGRAM:
            event["unmapped"]["resources_left_out"] = len(event.pop("resources"))
            line = self._line(entry, event)
        return line

    def _line(self, entry: Entry, event: dict[str, object]) -> bytes:
        at = datetime.fromtimestamp(entry.at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        text = json.dumps(event, ensure_ascii=True, separators=(",", ":"))
        return f"<{PRIORITY}>1 {at} {self._host} kustos {os.getpid()} audit - {text}".encode()

    def _lose(self, why: str) -> None:
        self.lost += 1
        if self.lost == 1 or self.lost % 1_000 == 0:
            log.error("%d audit records did not reach syslog (%s); the catalog has them", self.lost, why)
