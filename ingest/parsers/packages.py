"""ZIP packages, read in memory: nothing is ever unpacked to a path, and nothing larger than it may be."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from ingest.parsers.damage import damage, damaged, too_large

MAX_MEMBERS = 10_000
MAX_UNPACKED_BYTES = 300_000_000
MAX_RATIO = 200
"""Text compresses to a tenth, sheets of equal cells to a hundredth, bombs to a thousandth."""
RATIO_COUNTS_FROM_BYTES = 20_000_000
ENCRYPTED_FLAG = 0x1


class Package:
    """An open ZIP file whose declared sizes are within bounds.

    `zipfile` hands out no more of a member than its declared size, so the declaration is a bound on what comes out.

    Raises:
        DocumentRefused: it is broken, or a bomb by count, size or ratio (IN-04).
    """

    def __init__(self, data: bytes) -> None:
        with damage("the package"):
            self._archive = zipfile.ZipFile(io.BytesIO(data))
            every = self._archive.infolist()
        self.members: Sequence[zipfile.ZipInfo] = [member for member in every if member.filename]  # no name: no file
        self.names = frozenset(member.filename for member in self.members)
        self._check(len(data))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._archive.close()

    def _check(self, packed: int) -> None:
        if len(self.members) > MAX_MEMBERS:
            raise too_large(f"it packs {len(self.members):,} files; {MAX_MEMBERS:,} are allowed")
        unpacked = sum(member.file_size for member in self.members)
        if unpacked > MAX_UNPACKED_BYTES:
            raise too_large(f"unpacked it takes {unpacked:,} bytes; {MAX_UNPACKED_BYTES:,} are allowed")
        if unpacked > RATIO_COUNTS_FROM_BYTES and unpacked > MAX_RATIO * packed:
            raise too_large(f"it unpacks to {unpacked // packed} times its size, as only a bomb does")

    def read(self, name: str | zipfile.ZipInfo) -> bytes:
        """The content of one member.

        Raises:
            DocumentRefused: it is absent or broken.
        """
        with damage("a part of the package"):
            return self._archive.read(name)

    def head(self, member: zipfile.ZipInfo, max_bytes: int) -> bytes:
        """The first `max_bytes` of a member."""
        with damage("a part of the package"), self._archive.open(member) as part:
            return part.read(max_bytes)

    def find(self, name: str) -> bytes | None:
        """The content of a member; None where there is none of that name."""
        return self.read(name) if name in self.names else None

    def require(self, name: str) -> bytes:
        found = self.find(name)
        if found is None:
            raise damaged(f"the package lacks its part {name}")
        return found


def is_encrypted(member: zipfile.ZipInfo) -> bool:
    return bool(member.flag_bits & ENCRYPTED_FLAG)
