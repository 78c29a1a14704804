"""The bytes of a file outside of this process's own memory: sealed, counted, and never whole in it."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from functools import partial
from pathlib import Path

import pytest

from connectors.base import ItemGone, Sink
from connectors.filesystem import FilesystemConnector
from ingest.content import collected, content_of
from rag.errors import Unavailable

MEGABYTE = 1 << 20


def test_content_is_what_was_written_with_its_size_and_hash() -> None:
    with collected(lambda sink: [sink.write(piece) for piece in (b"ein", b"", b"s")]) as content:
        assert (content.read(), content.size) == (b"eins", 4)
        assert content.sha256 == hashlib.sha256(b"eins").hexdigest()


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system cannot seal files")
def test_in_01_a_parser_cannot_change_the_file_that_it_was_handed() -> None:
    with content_of(b"eins") as content:
        for attempt in (lambda: os.pwrite(content.descriptor, b"x", 0), lambda: os.ftruncate(content.descriptor, 0)):
            with pytest.raises(PermissionError):
                attempt()
        assert content.read() == b"eins"


def test_what_the_source_raises_comes_through_and_leaves_nothing_open() -> None:
    before = os.listdir("/proc/self/fd")

    def fails(sink: Sink) -> None:
        sink.write(b"half")
        raise ItemGone("x")

    with pytest.raises(ItemGone), collected(fails):
        pass
    assert os.listdir("/proc/self/fd") == before


def test_ft_05_a_machine_without_room_is_unavailable_and_says_nothing_of_the_document(monkeypatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(Unavailable, match="No space left"), content_of(b"eins"):
        pass


def test_a_large_file_is_never_whole_in_memory(tmp_path: Path) -> None:
    with (tmp_path / "large.txt").open("wb") as file:
        for number in range(64):
            file.write(bytes([number]) * MEGABYTE)
    source = FilesystemConnector("share", tmp_path, max_bytes=100 * MEGABYTE)
    (item,) = source.list().items
    tracemalloc.start()
    try:
        with collected(partial(source.fetch, item)) as content:
            assert content.size == 64 * MEGABYTE
        assert tracemalloc.get_traced_memory()[1] < 4 * MEGABYTE
    finally:
        tracemalloc.stop()
