"""Bare readers in a process of their own, which may crash, hang or never give back their memory."""

from __future__ import annotations

import multiprocessing
from importlib import import_module
from multiprocessing.pool import Pool
from pathlib import Path
from types import TracebackType
from typing import Self

from eval.parsing.content import Content

READERS = ("unstructured", "pymupdf")
"""The keys of `eval.parsing.bare.READERS`, which is loaded in the process only."""
DOCUMENTS_A_PROCESS = 50


class Isolated:
    """One bare reader. What it cannot read, or not in time, is empty.

    Args:
        timeout_s: wall time for one file; the first one also waits for the reader's start.
    """

    def __init__(self, library: str, timeout_s: float) -> None:
        self._library = library
        self._timeout_s = timeout_s
        self._process: Pool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def read(self, path: Path) -> Content:
        """Everything in the file."""
        if self._process is None:
            context = multiprocessing.get_context("spawn")  # a fork would share what other threads hold
            self._process = context.Pool(1, maxtasksperchild=DOCUMENTS_A_PROCESS)
        waiting = self._process.apply_async(_read, (self._library, path))
        try:
            return waiting.get(self._timeout_s)
        except multiprocessing.TimeoutError:  # hanging, or dead: a pool does not tell
            self._end()
            return ()

    def _end(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.join()
        self._process = None


def _read(reader: str, path: Path) -> Content:
    """Runs in the process."""
    readers = import_module("eval.parsing.bare").READERS
    try:
        content: Content = readers[reader](path)
    except Exception:  # noqa: BLE001  what a reader raises on a file it cannot read is its own choice; it read nothing
        return ()
    return content
