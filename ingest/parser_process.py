"""One parser process: how it starts, the conversation with it, and what it is ended for."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes
from select import select
from shutil import rmtree
from tempfile import TemporaryFile, mkdtemp
from threading import Lock
from time import monotonic
from typing import BinaryIO, TypeVar, cast

from ingest.parsers.confinement import TEMPORARY_BYTES, Measures
from ingest.parsers.wire import MAX_HEAD_BYTES, NUMBER_BYTES, Malformed, Wanted, ask, decode_ready, receive
from rag.errors import DocumentRefused, RefusalReason, Unavailable

START_S = 30.0
ENDING_S = 0.5
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MAX_THREADS = 200
SEALS = 0b1111  # no more seals, not shorter, not longer, not written to (linux/fcntl.h)
ENVIRONMENT = {
    "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
    "PYTHONDONTWRITEBYTECODE": "1",
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_THREAD_LIMIT": "1",  # tesseract
    "DO_NOT_TRACK": "1",  # unstructured
    "SCARF_NO_ANALYTICS": "1",
    "UNSTRUCTURED_DISABLE_NOTICE": "1",
}
"""All that a child knows. Nothing is inherited, so no secret of ours can be read out of it."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Load:
    """What a process and everything it started use now: bytes of resident memory, threads."""

    resident_bytes: int
    threads: int


class ParserProcess:
    """A child and the conversation with it. One thread at a time asks; another may `inspect`.

    Args:
        program: name of what it may start; empty for nothing.

    Attributes:
        served: documents that it was given.
        taken: it has begun with the last one of them.
        measures: what holds it.
    """

    def __init__(self, command: Sequence[str], memory_bytes: int, program: str = "") -> None:
        self.program = program
        self.served = 0
        self.taken = False
        self.idle_since = monotonic()
        self.measures = Measures()
        self._memory_bytes = memory_bytes
        self._in_step = False  # false while an answer is due: whoever left then would meet the wrong one
        self._watched = Lock()
        self._deadline: float | None = None
        self._ended_for: DocumentRefused | None = None
        self._folder = mkdtemp(prefix="kustos-parser-")
        try:
            self._process, self._questions = _start(
                command, ENVIRONMENT | dict.fromkeys(("PARSER_FOLDER", "TMPDIR", "HOME"), self._folder)
            )
        except Unavailable:
            rmtree(self._folder, ignore_errors=True)
            raise
        self._answers = cast(BinaryIO, self._process.stdout)

    def confine(self) -> None:
        """Waits until the child has confined itself, which takes as long as a Python start.

        Raises:
            Unavailable: it does not start.
        """
        try:
            with self._within(START_S):
                self.measures = decode_ready(receive(self._answers, MAX_HEAD_BYTES))
                self._in_step = True
        except (OSError, Malformed) as error:
            self.end()
            raise Unavailable(f"the parser process does not start ({self._process.returncode})") from error

    @property
    def alive(self) -> bool:
        """Whether it may get the next document. One that speaks unasked may not: it would answer for another."""
        return self._in_step and self._ended_for is None and not select([self._answers], [], [], 0)[0]

    def answer(self, document: int, wanted: Wanted, believe: Callable[[BinaryIO], T], timeout_s: float) -> T:
        """What `believe` makes of the answer about an open file.

        Raises:
            DocumentRefused: by the child, or because it was ended over the document.
        """
        self.served += 1
        self._in_step = self.taken = False
        number = token_bytes(NUMBER_BYTES)  # nobody knew it before the document was handed over
        try:
            with self._within(timeout_s):
                ask(self._questions, number, wanted, document)
                self._hear(number)
                self.taken = True
                found = believe(self._answers)
        except (OSError, Malformed) as error:
            raise self._refusal(timeout_s) from error
        except DocumentRefused as refusal:
            # A heap that ran full is torn; the next document gets a whole one.
            self._in_step = refusal.reason is not RefusalReason.MEMORY_LIMIT
            raise
        self._in_step = True
        self.idle_since = monotonic()
        return found

    def inspect(self) -> None:
        """Ends the child if it is at work and beyond a limit that it cannot be trusted to keep."""
        with self._watched:
            if self._deadline is None or self._ended_for is not None:
                return
            self._ended_for = self._exceeded(self._deadline)
            if self._ended_for is not None:
                self._kill()

    def abandon(self) -> None:
        """Ends the child if it is at work, whatever it is at."""
        with self._watched:
            if self._deadline is not None:
                self._kill()

    def end(self) -> None:
        """Ends the child and what it started, and removes its folder."""
        self._kill()
        self._process.wait()
        self._questions.close()
        self._answers.close()
        rmtree(self._folder, ignore_errors=True)

    def _hear(self, number: bytes) -> None:
        """Hears that the child begins with this very document."""
        if receive(self._answers, NUMBER_BYTES) != number:
            raise Malformed("the child answered out of turn")

    def _exceeded(self, deadline: float) -> DocumentRefused | None:
        if monotonic() > deadline:
            return DocumentRefused(RefusalReason.TIME_LIMIT, "reading it takes too long")
        load = load_of(self._process.pid, with_group=bool(self.program))
        if load.resident_bytes > self._memory_bytes:
            return DocumentRefused(
                RefusalReason.MEMORY_LIMIT, f"reading it takes more than {self._memory_bytes:,} bytes"
            )
        if load.threads > MAX_THREADS:
            return DocumentRefused(RefusalReason.PARSER_FAILED, f"reading it takes more than {MAX_THREADS} threads")
        if _size_of(self._folder) > TEMPORARY_BYTES:
            return DocumentRefused(
                RefusalReason.TOO_LARGE, f"reading it takes more than {TEMPORARY_BYTES:,} bytes of disk"
            )
        return None

    @contextmanager
    def _within(self, timeout_s: float) -> Iterator[None]:
        """Has the child watched; ending it ends every wait on it."""
        self._deadline = monotonic() + timeout_s
        try:
            yield
        finally:
            with self._watched:
                self._deadline = None

    def _kill(self) -> None:
        if self._process.returncode is None:  # so the number is still its own
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()

    def _refusal(self, timeout_s: float) -> DocumentRefused:
        with suppress(subprocess.TimeoutExpired):  # its pipes close a moment before it can be asked how it ended
            self._process.wait(ENDING_S)
        if self._ended_for is not None and self._ended_for.reason is not RefusalReason.TIME_LIMIT:
            return self._ended_for
        if self._ended_for is not None or self._process.returncode == -signal.SIGXCPU:
            return DocumentRefused(RefusalReason.TIME_LIMIT, f"reading it takes longer than {timeout_s:g} s")
        return DocumentRefused(RefusalReason.PARSER_FAILED, f"the parser process ended ({self._process.returncode})")


@contextmanager
def sealed(data: bytes) -> Iterator[int]:
    """An open file of that content, which nobody can change any more where the system can seal files."""
    if not hasattr(os, "memfd_create"):
        with TemporaryFile() as file:
            file.write(data)
            file.flush()
            yield file.fileno()
        return
    descriptor = os.memfd_create("document", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
        yield descriptor
    finally:
        os.close(descriptor)


def load_of(pid: int, *, with_group: bool = False) -> Load:
    """What process `pid` uses, with `with_group` all of its process group; nothing where there is no `/proc`."""
    found = [each for each in _statuses() if each[2] == str(pid)] if with_group else [_status(pid)]
    # Fields of proc_pid_stat(5), from the third on: the second, a name in brackets, may hold anything.
    resident = sum(int(fields[21]) for fields in found if fields) * PAGE_BYTES
    return Load(resident, sum(int(fields[17]) for fields in found if fields))


def _statuses() -> Iterator[list[str]]:
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _status(int(entry))):
            yield fields


def _status(pid: int) -> list[str]:
    """Fields of a process; empty where it is gone, or the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().decode(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _size_of(folder: str) -> int:
    """Bytes in a folder and below; 0 where it is a file system of the child's own, which has a size of its own."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                size += os.lstat(os.path.join(place, name)).st_blocks * 512
    return size


def _start(command: Sequence[str], environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The process, and where its questions go."""
    ours, its = socket.socketpair()
    with its:
        try:
            process = subprocess.Popen(  # noqa: S603  our own interpreter, no shell, no argument from outside
                command,
                bufsize=0,
                stdin=its.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # a Ctrl-C at our terminal is not meant for it; one group to end it with
            )
        except OSError as error:
            ours.close()
            raise Unavailable(f"no parser process can be started: {error.strerror}") from error
    return process, ours
