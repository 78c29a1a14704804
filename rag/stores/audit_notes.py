"""What belongs to the audit and stays out of the database: the key, and a note of the last record.

Both are files of the home folder for its owner alone. Several replicas share one key (`KUSTOS_AUDIT_KEY`, or the file
copied), and each notes the last record that it wrote itself.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from urllib.parse import quote

from rag.access.audit_chain import Mark
from rag.errors import Misconfigured, StoreUnavailable
from rag.private_files import create_private

FOLDER = "audit"
KEY_FILE = "key"
SHORTEST_KEY = 32
_NOTE_BYTES = 86  # 20 digits, a colon, 64 digits, a line feed: always the same, so a note is written over in place


def load_secret(home: Path, given: str) -> bytes:
    """The secret under the chain: `given` by the settings, else that of the home, made when it is first needed.

    Raises:
        Misconfigured: it cannot be read, or is too short to be one.
    """
    path = home / FOLDER / KEY_FILE
    try:
        if not given and not path.exists():
            create_private(path, secrets.token_urlsafe(48).encode())
        text = given or path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise Misconfigured(f"the audit's key {path} cannot be read ({error}); see docs/audit.md") from error
    if len(text) < SHORTEST_KEY:
        raise Misconfigured(f"the audit's key needs {SHORTEST_KEY} random characters; see KUSTOS_AUDIT_KEY")
    return text.encode()


class Notes:
    """For each tenant the last record that this home knows of."""

    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER
        self._open: dict[str, int] = {}
        self._known: dict[str, Mark] = {}
        self._lock = Lock()

    def read(self, tenant: str) -> Mark:
        """The note; number 0 if there is none.

        Raises:
            StoreUnavailable: it cannot be read.
        """
        with self._locked(tenant) as file:
            found = _parsed(os.pread(file, _NOTE_BYTES, 0))
        self._known[tenant] = found
        return found

    def latest(self, tenant: str) -> Mark:
        """The latest that this process has read or written itself: the file is asked once.

        Raises:
            StoreUnavailable: it cannot be read.
        """
        return self._known.get(tenant) or self.read(tenant)

    def advance(self, tenant: str, mark: Mark) -> None:
        """Notes a record, unless a later one is noted already.

        Raises:
            StoreUnavailable: it cannot be written.
        """
        with self._locked(tenant) as file:
            if _parsed(os.pread(file, _NOTE_BYTES, 0)).number < mark.number:
                os.pwrite(file, f"{mark.number:020d}:{mark.mac}\n".encode(), 0)
        self._known[tenant] = mark

    def close(self) -> None:
        with self._lock:
            while self._open:
                os.close(self._open.popitem()[1])

    @contextmanager
    def _locked(self, tenant: str) -> Iterator[int]:
        """The note's file, for this thread of this process alone."""
        path = self._folder / f"{quote(tenant, safe='')}.head"
        try:
            with self._lock:
                if tenant not in self._open:
                    self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                    self._open[tenant] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                file = self._open[tenant]
                fcntl.flock(file, fcntl.LOCK_EX)
                try:
                    yield file
                finally:
                    fcntl.flock(file, fcntl.LOCK_UN)
        except (OSError, ValueError) as error:
            raise StoreUnavailable(f"the audit's note {path} cannot be used ({error}); see docs/audit.md") from error


def _parsed(text: bytes) -> Mark:
    if not text:
        return Mark()
    number, _, mac = text.decode("ascii").strip().partition(":")
    if len(mac) != len(Mark().mac):
        raise ValueError("it is not as Kustos writes it")
    return Mark(int(number), mac)
