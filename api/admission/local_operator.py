"""How commands on this machine recognise a running service, and the service its operator.

The home folder holds two files for its owner alone: `operator.key`, a random key made once, and `service.json`, the
address of the service that is running, its process id, and when that process began, because ids are used again.
Whoever can read the home folder operates the machine: the catalog lies beside the key. The key opens no passage.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from rag.errors import Misconfigured
from rag.home import refuse_closed
from rag.private_files import create_private, replace_private

KEY_FILE = "operator.key"
LOCAL_OPERATOR = "sys:local-operator"
"""What the audit calls whoever holds the key; no token can name it."""
SERVICE_FILE = "service.json"


@dataclass(frozen=True, slots=True)
class LocalOperator:
    """Whoever holds the key of this home."""

    key: str = field(repr=False)

    @classmethod
    def load(cls, home: Path) -> LocalOperator:
        """The operator of this home; his key is made when it is first asked for.

        Raises:
            Misconfigured: there is a key file, but it cannot be read or is empty.
        """
        path = home / KEY_FILE
        if not path.exists():
            create_private(path, secrets.token_urlsafe(32).encode())
        try:
            key = path.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise Misconfigured(f"{path} cannot be read ({error}); remove it and start the service anew") from error
        if len(key) < 32:
            raise Misconfigured(f"{path} holds no key; remove it and start the service anew")
        return cls(key)

    @staticmethod
    def announce(home: Path, url: str) -> None:
        """Tells commands of this home that this process serves at `url`."""
        about = {"url": url, "pid": os.getpid(), "started": _started(os.getpid())}
        replace_private(home / SERVICE_FILE, json.dumps(about).encode())

    @staticmethod
    def withdraw(home: Path, url: str) -> None:
        """Takes that back, unless another service has announced itself since."""
        if LocalOperator.running_url(home) == url:
            (home / SERVICE_FILE).unlink(missing_ok=True)

    @staticmethod
    def running_url(home: Path) -> str | None:
        """Where a service of this home runs; None if none does, or if it died without a word.

        Raises:
            Misconfigured: the file is not as this module writes it; or as `refuse_closed`.
        """
        refuse_closed(home)
        path = home / SERVICE_FILE
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            url, pid, started = str(found["url"]), int(found["pid"]), found.get("started")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Misconfigured(f"{path} cannot be read ({error}); remove it") from error
        return url if _runs(pid) and started == _started(pid) else None


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError, OverflowError):
        return False  # a process of somebody else is not our service: our key is not for it
    return pid > 0


def _started(pid: int) -> int | None:
    """When a process began, in clock ticks since the machine did (proc(5), `stat`, field 22); None without /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])
