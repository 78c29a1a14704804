"""One parser process: how it starts, the conversation with it, and what it is ended for."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes
from select import POLLIN, poll
from threading import Lock
from time import monotonic
from typing import BinaryIO, TypeVar, cast

from ingest.parser_folder import OUR_WANT, ParserFolder
from ingest.parsers.confinement import TEMPORARY_BYTES, Measures
from ingest.parsers.wire import MAX_HEAD_BYTES, NUMBER_BYTES, Malformed, Wanted, ask, decode_ready, receive
from rag.errors import DocumentRefused, KustosError, RefusalReason, Unavailable

START_S = 30.0
ENDING_S = 0.5
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MAX_THREADS = 200
OUT_OF_TIME = (-signal.SIGXCPU, -signal.SIGALRM)
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


class Allowance:
    """Time for one document, over all attempts to read it.

    Attributes:
        total_s: what it may take.
        left_s: what of that is left.
    """

    def __init__(self, total_s: float) -> None:
        self.total_s = self.left_s = total_s

    @contextmanager
    def spending(self) -> Iterator[None]:
        began = monotonic()
        try:
            yield
        finally:
            self.left_s = max(0.0, self.left_s - (monotonic() - began))


class ParserProcess:
    """A child and the conversation with it. One thread at a time asks; another may `inspect`.

    Args:
        program: name of what it may start; empty for nothing.

    Raises:
        Unavailable: it cannot be started, or this process is short of what that takes.

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
        self._ended_for: KustosError | None = None
        try:
            with ExitStack() as undone:
                self._folder = ParserFolder()
                undone.callback(self._folder.remove)
                environment = ENVIRONMENT | dict.fromkeys(("PARSER_FOLDER", "TMPDIR", "HOME"), self._folder.path)
                self._process, self._questions = _start(command, environment)
                undone.pop_all()
        except OSError as error:
            raise Unavailable(f"no parser process can be started: {error.strerror}") from error
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
        return self._in_step and self._ended_for is None and not self._speaks

    @property
    def _speaks(self) -> bool:
        """Whether it has said something that nobody has heard, or is gone."""
        heard = poll()
        heard.register(self._answers, POLLIN)
        return bool(heard.poll(0))

    def answer(self, document: int, wanted: Wanted, believe: Callable[[BinaryIO], T], time: Allowance) -> T:
        """What `believe` makes of the answer about an open file.

        Raises:
            DocumentRefused: by the child, or because it was ended over the document.
            Unavailable: it was ended because it could not be watched.
        """
        self.served += 1
        self._in_step = self.taken = False
        number = token_bytes(NUMBER_BYTES)  # nobody knew it before the document was handed over
        try:
            with time.spending(), self._within(time.left_s):
                ask(self._questions, number, wanted, document)
                self._hear(number)
                self.taken = True
                found = believe(self._answers)
        except (OSError, Malformed) as error:
            raise self._reason(time) from error
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
            try:
                self._ended_for = self._exceeded(self._deadline)
            except Exception as error:  # noqa: BLE001  whatever it is: nobody works unwatched
                self._ended_for = _unwatched(error)
            if self._ended_for is not None:
                self._kill()

    def abandon(self) -> None:
        """Ends the child, whatever it is at. Who asks it waits no longer."""
        with self._watched:
            self._kill()

    def end(self) -> None:
        """Ends the child and what it started, and removes its folder."""
        self._kill()
        self._process.wait()
        self._questions.close()
        self._answers.close()
        self._folder.remove()

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
        if self._folder.overflows(TEMPORARY_BYTES):
            room = f"{TEMPORARY_BYTES:,} bytes of disk, or countless files"
            return DocumentRefused(RefusalReason.TOO_LARGE, f"reading it takes more than {room}")
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

    def _reason(self, time: Allowance) -> KustosError:
        """What the child was ended for, or ended by itself."""
        with suppress(subprocess.TimeoutExpired):  # its pipes close a moment before it can be asked how it ended
            self._process.wait(ENDING_S)
        ended_for = self._ended_for
        if ended_for is None and self._process.returncode in OUT_OF_TIME:
            ended_for = DocumentRefused(RefusalReason.TIME_LIMIT, "")
        if isinstance(ended_for, DocumentRefused) and ended_for.reason is RefusalReason.TIME_LIMIT:
            return DocumentRefused(RefusalReason.TIME_LIMIT, f"reading it takes longer than {time.total_s:g} s")
        if ended_for is not None:
            return ended_for
        return DocumentRefused(RefusalReason.PARSER_FAILED, f"the parser process ended ({self._process.returncode})")


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
    """Fields of a process; empty where it is gone, or the system does not tell.

    Raises:
        OSError: this process is short of what it takes to ask.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().decode(errors="replace").rpartition(")")[2].split()
    except OSError as error:
        if error.errno in OUR_WANT:
            raise
        return []


def _unwatched(error: Exception) -> KustosError:
    """What a child is ended for that could not be looked at: our own want, or something that the document made up."""
    if isinstance(error, OSError | MemoryError):
        return Unavailable("a parser process could not be watched, so it was ended; this machine is short of resources")
    return DocumentRefused(RefusalReason.PARSER_FAILED, f"reading it cannot be watched: {type(error).__name__}")


def _start(command: Sequence[str], environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The process, and where its questions go.

    Raises:
        OSError: it cannot be started.
    """
    ours, its = socket.socketpair()
    with its, ExitStack() as undone:
        undone.callback(ours.close)
        with open(os.devnull, "wb") as nowhere:  # opened by Popen, a failure would cost its pipe
            process = subprocess.Popen(  # noqa: S603  our own interpreter, no shell, no argument from outside
                command,
                bufsize=0,
                stdin=its.fileno(),
                stdout=subprocess.PIPE,
                stderr=nowhere,
                env=environment,
                start_new_session=True,  # a Ctrl-C at our terminal is not meant for it; one group to end it with
            )
        undone.pop_all()
    return process, ours
