"""Documents are read in child processes that have no network, no secrets and no time to lose.

Each child is a fresh interpreter (not a fork: it shares no memory, no files and no environment with us), warm for many
documents, and replaced after `DOCUMENTS_A_CHILD` of them, after a limit was hit and after a crash. What a child may do
is in `ingest.parsers.confinement`, which also says what the full sandbox adds; what is believed of its answers is in
`ingest.parsers.wire`. Documents with different rights share a child one after the other: as long as native code of a
parser could be taken over, such a child could mix them up, which is a further reason for the full sandbox.
"""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import LifoQueue
from secrets import token_bytes
from select import select
from threading import Timer
from types import TracebackType
from typing import BinaryIO, Self, cast

from ingest.extraction import Extraction
from ingest.parsers.wire import MAX_ANSWER_BYTES, NUMBER_BYTES, READY, Malformed, decode, receive, send
from rag.errors import DocumentRefused, RefusalReason, Unavailable

PARSERS = "1"
"""Raised when parsers learn to read more: what they refused before is then read again."""

MEMORY_BYTES = 2_000_000_000
DOCUMENTS_A_CHILD = 200
START_S = 30.0
ENDING_S = 0.5
ENVIRONMENT = {
    "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
    "PYTHONDONTWRITEBYTECODE": "1",
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "DO_NOT_TRACK": "1",  # unstructured
    "SCARF_NO_ANALYTICS": "1",
    "UNSTRUCTURED_DISABLE_NOTICE": "1",
}
"""All that a child knows. Nothing is inherited, so no secret of ours can be read out of it."""


class ParserPool:
    """Parses documents in up to `workers` children at once; threads may share it.

    Args:
        timeout_s: wall time for one document; also its CPU time.
        max_bytes: larger documents are refused unread.
        memory_bytes: address space of a child.
        command: starts a child; by default `ingest.parsers.child`.
    """

    def __init__(
        self,
        workers: int = 2,
        *,
        timeout_s: float = 60.0,
        max_bytes: int = 100_000_000,
        memory_bytes: int = MEMORY_BYTES,
        command: Sequence[str] = (),
    ) -> None:
        limits = (str(memory_bytes), str(math.ceil(timeout_s)))
        self._command = tuple(command) or (sys.executable, "-P", "-m", "ingest.parsers.child", *limits)
        self._workers = workers
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._memory_bytes = memory_bytes
        self._free: LifoQueue[_Child | None] = LifoQueue()  # the warmest child first
        for _ in range(workers):
            self._free.put(None)

    @property
    def decided_by(self) -> str:
        """What a refusal depends on beside the document."""
        return (
            f"parsers {PARSERS}, {self._max_bytes} bytes, {self._timeout_s:g} s, {self._memory_bytes} bytes of memory"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Waits for the documents under way and ends the children."""
        for _ in range(self._workers):
            if child := self._free.get():
                child.end()
        for _ in range(self._workers):
            self._free.put(None)

    def parse(self, data: bytes, name: str) -> Extraction:
        """What the document holds.

        Raises:
            DocumentRefused: it cannot be read, or reading it hit a limit or ended the child.
            Unavailable: no child can be started; this says nothing about the document.
        """
        if len(data) > self._max_bytes:
            raise DocumentRefused(RefusalReason.TOO_LARGE, f"{len(data):,} bytes; {self._max_bytes:,} are allowed")
        child = self._free.get()
        try:
            child = self._reusable(child) or _Child(self._command)
            return child.parse(data, name, self._timeout_s)
        finally:
            self._free.put(self._reusable(child))

    def _reusable(self, child: _Child | None) -> _Child | None:
        """The child if it may go on; None after ending one that may not."""
        if child is None or (child.alive and child.served < DOCUMENTS_A_CHILD):
            return child
        child.end()
        return None


class _Child:
    """One child process and the conversation with it."""

    def __init__(self, command: Sequence[str]) -> None:
        self.served = 0
        self._expired = False
        self._in_step = False  # false while an answer is due: whoever left then would meet the wrong one
        self._process = _start(command)
        self._questions, self._answers = cast(BinaryIO, self._process.stdin), cast(BinaryIO, self._process.stdout)
        try:
            with self._within(START_S):
                self._in_step = receive(self._answers, len(READY)) == READY
        except (OSError, Malformed):
            self._in_step = False
        if not self.alive:
            self.end()
            raise Unavailable(f"the parser process does not start ({self._process.returncode})")

    @property
    def alive(self) -> bool:
        """Whether it may get the next document. One that speaks unasked may not: it would answer for another."""
        return self._in_step and not self._expired and not select([self._answers], [], [], 0)[0]

    def parse(self, data: bytes, name: str, timeout_s: float) -> Extraction:
        self.served += 1
        self._in_step = False
        try:
            with self._within(timeout_s):
                extraction = decode(self._ask(data, name))
        except (OSError, Malformed) as error:
            raise self._refusal(timeout_s) from error
        except DocumentRefused as refusal:
            # A heap that ran full is torn; the next document gets a whole one.
            self._in_step = refusal.reason is not RefusalReason.MEMORY_LIMIT
            raise
        self._in_step = True
        return extraction

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._questions.close()
        self._answers.close()

    def _ask(self, data: bytes, name: str) -> bytes:
        """The answer to this document: it repeats a number that nobody knew before the document was handed over."""
        number = token_bytes(NUMBER_BYTES)
        send(self._questions, number, name.encode(errors="replace"), data)
        repeated, answer = receive(self._answers, NUMBER_BYTES), receive(self._answers, MAX_ANSWER_BYTES)
        if repeated != number or answer is None:
            raise Malformed("the child ended without an answer, or answered out of turn")
        return answer

    @contextmanager
    def _within(self, timeout_s: float) -> Iterator[None]:
        """Kills the child when the time is over, which ends every wait on its pipes."""
        timer = Timer(timeout_s, self._expire)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def _expire(self) -> None:
        self._expired = True
        self._process.kill()

    def _refusal(self, timeout_s: float) -> DocumentRefused:
        with suppress(subprocess.TimeoutExpired):  # its pipes close a moment before it can be asked how it ended
            self._process.wait(ENDING_S)
        if self._expired or self._process.returncode == -signal.SIGXCPU:
            return DocumentRefused(RefusalReason.TIME_LIMIT, f"reading it takes longer than {timeout_s:g} s")
        return DocumentRefused(RefusalReason.PARSER_FAILED, f"the parser process ended ({self._process.returncode})")


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603  our own interpreter, no shell, no argument from outside
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            start_new_session=True,  # a Ctrl-C at our terminal is not meant for it
        )
    except OSError as error:
        raise Unavailable(f"no parser process can be started: {error.strerror}") from error
