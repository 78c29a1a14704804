"""Where fetched servers stay, outside the tree, and how they get there: checked against their hash, and whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


class Missing(Exception):
    """Something that a service needs is not on this machine; the message says what would help."""


def folder(environment: Mapping[str, str] = os.environ) -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/kustos`."""
    base = Path(environment.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "kustos"


def check(file: Path, sha256: str) -> None:
    """Compares a file with its pin.

    Raises:
        Missing: it is another file.
    """
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != sha256:
        raise Missing(
            f"{file.name} has the sha256 {found}, not the pinned {sha256}; it was not unpacked. Whose copy is it?"
        )


@contextmanager
def made_whole(target: Path) -> Iterator[Path]:
    """A new folder that becomes `target` when the block ends well, and is gone when it does not.

    Two that make it at the same time do not disturb each other: the first to finish stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield unfinished
        try:
            unfinished.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def unpack(archive: Path, into: Path) -> Path:
    """The one folder that a ZIP archive holds, unpacked below `into`; programs in it can be run."""
    with zipfile.ZipFile(archive) as opened:
        tops = {name.split("/", 1)[0] for name in opened.namelist()}
        if len(tops) != 1:
            raise Missing(f"{archive.name} holds {len(tops)} folders at its top, not one")
        for member in opened.infolist():
            extracted = Path(opened.extract(member, into))  # never outside of `into`, whatever the archive says
            if member.external_attr >> 16 & stat.S_IXUSR:
                extracted.chmod(0o755)
    return into / tops.pop()
