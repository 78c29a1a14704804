"""The bytes of one file, kept outside of this process's own memory in a form that a parser process can be handed.

A source writes them piece by piece, so however large a file is, it is never whole in the memory of whoever takes it in.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from tempfile import TemporaryFile

from connectors.base import Sink
from rag.errors import Unavailable

SEALS = 0b1111  # no more seals, not shorter, not longer, not written to (linux/fcntl.h)


class Content:
    """A file of these bytes, which nobody can change any more where the system can seal files.

    Attributes:
        descriptor: open for reading as long as the block of `collected` or `content_of` lasts.
        size: in bytes.
        sha256: hex.
    """

    def __init__(self, descriptor: int, size: int, sha256: str) -> None:
        self.descriptor = descriptor
        self.size = size
        self.sha256 = sha256

    def read(self) -> bytes:
        """All of it; for files that are small."""
        return os.pread(self.descriptor, self.size, 0)


@contextmanager
def collected(fill: Callable[[Sink], object]) -> Iterator[Content]:
    """What `fill` writes.

    Raises:
        Unavailable: this machine is short of what keeping it takes.
        Exception: whatever `fill` raises.
    """
    descriptor = _opened()
    try:
        writer = _Writer(descriptor)
        fill(writer)
        if hasattr(os, "memfd_create"):
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
        yield Content(descriptor, writer.size, writer.digest.hexdigest())
    finally:
        os.close(descriptor)


def content_of(data: bytes) -> AbstractContextManager[Content]:
    """These bytes.

    Raises:
        Unavailable: as for `collected`.
    """
    return collected(lambda sink: sink.write(data))


class _Writer:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, piece: bytes, /) -> None:
        rest = memoryview(piece)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            raise _short(error) from error
        self.size += len(piece)
        self.digest.update(piece)


def _opened() -> int:
    try:
        if hasattr(os, "memfd_create"):
            return os.memfd_create("document", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with TemporaryFile() as file:
            return os.dup(file.fileno())
    except OSError as error:
        raise _short(error) from error


def _short(error: OSError) -> Unavailable:
    return Unavailable(f"no document can be kept for a parser process: {error.strerror}")
