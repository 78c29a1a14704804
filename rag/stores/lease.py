"""A right that one process of a machine holds at a time: a locked file, which the kernel frees when its holder dies."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Self

from rag.errors import StoreUnavailable


class FileLease:
    """Held from `take` to `release`."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = path.open("ab")

    @classmethod
    def take(cls, path: Path, message: str) -> Self:
        """The lease on `path`.

        Raises:
            StoreUnavailable: another process holds it; `message` says what to do.
        """
        lease = cls(path)
        try:
            fcntl.flock(lease._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lease.release()
            raise StoreUnavailable(message) from error
        return lease

    def release(self) -> None:
        """Ends it. Safe to call twice."""
        self._file.close()
