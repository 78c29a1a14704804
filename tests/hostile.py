"""What tests of the sandbox share: pools whose children do what a document that took one over could make them do."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ingest.sandbox import ParserPool
from rag.errors import DocumentRefused, RefusalReason

MEMORY = 500_000_000
COMMAND = (sys.executable, str(Path(__file__).with_name("hostile_child.py")), str(MEMORY))


def hostile_pool(
    workers: int = 1,
    *,
    timeout_s: float = 30.0,
    idle_s: float = 300.0,
    more: tuple[str, ...] = (),
    programs: Mapping[str, str] | None = None,
) -> ParserPool:
    return ParserPool(
        workers,
        timeout_s=timeout_s,
        memory_bytes=MEMORY,
        idle_s=idle_s,
        command=(*COMMAND, *more),
        programs=programs or {},
    )


def said(pool: ParserPool, name: str, data: bytes = b"") -> str:
    return pool.parse(data, name).title


def refused(pool: ParserPool, name: str, data: bytes = b"") -> RefusalReason:
    with pytest.raises(DocumentRefused) as refusal:
        pool.parse(data, name)
    return refusal.value.reason


def nest(folder: Path, levels: int) -> None:
    """Makes folders in folders, deeper than a path can reach."""
    inner = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=inner)
        outer, inner = inner, os.open("d", os.O_RDONLY, dir_fd=inner)
        os.close(outer)
    os.close(inner)


def wait_until(holds: Callable[[], bool]) -> None:
    """Returns as soon as it holds; the test's own time limit is the only other way out."""
    waiting = threading.Event()
    while not holds():
        waiting.wait(0.01)
