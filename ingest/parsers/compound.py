"""Compound files (MS-CFB), in which Office kept documents before 2007, through olefile, its only importer."""

from __future__ import annotations

import io

import olefile  # type: ignore[import-untyped]

from ingest.parsers.damage import damage


def compound_streams(data: bytes) -> frozenset[str]:
    """Names of the streams at the top of a compound file.

    Raises:
        DocumentRefused: it is broken.
    """
    with damage("the compound file"), olefile.OleFileIO(io.BytesIO(data)) as found:
        return frozenset(path[0] for path in found.listdir() if len(path) == 1)


def compound_stream(data: bytes, name: str, max_bytes: int) -> bytes:
    """The first `max_bytes` of one stream.

    Raises:
        DocumentRefused: it is absent or broken.
    """
    with damage("the compound file"), olefile.OleFileIO(io.BytesIO(data)) as found:
        return bytes(found.openstream(name).read(max_bytes))
