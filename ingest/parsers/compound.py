"""Compound files (MS-CFB), in which Office kept documents before 2007, through olefile, its only importer."""

from __future__ import annotations

import io

import olefile  # type: ignore[import-untyped]

from ingest.parsers.damage import damage, too_large

MAX_RATIO = 2  # sectors are whole, streams are not compressed


def compound_streams(data: bytes) -> frozenset[str]:
    """Names of the streams at the top of a compound file.

    Raises:
        DocumentRefused: it is broken, or a bomb whose streams share their bytes (IN-04).
    """
    with damage("the compound file"), olefile.OleFileIO(io.BytesIO(data)) as found:
        paths = found.listdir()
        if sum(found.get_size(path) for path in paths) > MAX_RATIO * len(data):
            raise too_large("its streams together are larger than the file: many of them are the same bytes")
        return frozenset(path[0] for path in paths if len(path) == 1)


def compound_stream(data: bytes, name: str, max_bytes: int) -> bytes:
    """The first `max_bytes` of one stream.

    Raises:
        DocumentRefused: it is absent or broken.
    """
    with damage("the compound file"), olefile.OleFileIO(io.BytesIO(data)) as found:
        return bytes(found.openstream(name).read(max_bytes))
