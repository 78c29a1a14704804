"""Files that their owner alone can read, written in one step."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def create_private(path: Path, data: bytes) -> None:
    """Writes a file that its owner alone can read, in one step. If there is one already, it stays as it is."""
    fresh = _fresh(path, data)
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass  # another process was first; its file counts
    finally:
        fresh.unlink()


def replace_private(path: Path, data: bytes) -> None:
    """Writes a file that its owner alone can read, in one step, in place of any that was there."""
    _fresh(path, data).replace(path)


def _fresh(path: Path, data: bytes) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return fresh
