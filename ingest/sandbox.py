"""Documents are read in child processes that have no network, no secrets, no files and no time to lose.

Each child is a fresh interpreter (not a fork: it shares no memory, no files and no environment with us), warm for many
documents, and replaced after `DOCUMENTS_A_CHILD` of them, after a limit was hit, after a crash and after some idle
minutes. What a child may do is in `ingest.parsers.confinement`, how it is watched in `ingest.parser_process`, what is
believed of its answers in `ingest.parsers.wire`; the reasons are in docs/decisions/0007. Documents with different
rights share a child one after the other: a parser that was taken over could mix the next ones up, until the child is
replaced.
"""

from __future__ import annotations

import logging
import math
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from contextvars import copy_context
from functools import cached_property
from threading import Condition, Thread
from time import monotonic, sleep
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

from ingest.content import Content, content_of
from ingest.extraction import Extraction
from ingest.parser_folder import sweep
from ingest.parser_process import Allowance, ParserProcess
from ingest.parsers.confinement import Measures
from ingest.parsers.options import ReadingOptions
from ingest.parsers.wire import NeedsProgram, Wanted, receive_extraction, receive_image
from rag.documents import Box
from rag.errors import DocumentRefused, RefusalReason, Unavailable

PARSERS = "4"
"""Raised when parsers read or refuse differently than before: everything is then read again, by the next sync."""

MEMORY_BYTES = 1_500_000_000
DOCUMENTS_A_CHILD = 200
IDLE_S = 300.0
TICK_S = 0.05
PROGRAMS = ("soffice",)
PROGRAM_PATH = "/usr/bin:/usr/local/bin:/opt/libreoffice/program:/snap/bin"
UNHELD = (
    "an older Office format: {} is installed, but not started, as this system does not give what it takes to hold it "
    "(kustos doctor says what); save the file in a current format"
)

log = logging.getLogger(__name__)

T = TypeVar("T")


class ParserPool:
    """Reads documents in up to `workers` children at once; threads may share it. Children start as they are needed.

    Args:
        timeout_s: wall time for one document, over all attempts at it; also the CPU time of each.
        max_bytes: larger documents are refused unread.
        memory_bytes: resident memory of a child, and what it may allocate.
        idle_s: a child that has had nothing to do for so long is ended.
        command: starts a child; by default `ingest.parsers.child`.
        options: what the operator chose about reading.
        programs: name and path of what children may start for documents that need it; by default what is installed.
    """

    def __init__(
        self,
        workers: int = 2,
        *,
        timeout_s: float = 60.0,
        max_bytes: int = 100_000_000,
        memory_bytes: int = MEMORY_BYTES,
        idle_s: float = IDLE_S,
        command: Sequence[str] = (),
        programs: Mapping[str, str] | None = None,
        options: ReadingOptions = ReadingOptions(),  # noqa: B008  frozen
    ) -> None:
        limits = (str(memory_bytes), str(math.ceil(timeout_s)), options.to_word())
        self._command = tuple(command) or (sys.executable, "-P", "-m", "ingest.parsers.child", *limits)
        self._workers = workers
        self._timeout_s = timeout_s
        self._options = options
        self._max_bytes = max_bytes
        self._memory_bytes = memory_bytes
        self._idle_s = idle_s
        self._given_programs = programs
        self._changed = Condition()
        self._closed = False
        self._busy = 0  # children at work, or about to be started
        self._children: set[ParserProcess] = set()
        self._idle: list[ParserProcess] = []  # the warmest last
        self._watching = False
        self._swept = False
        self._measures: Measures | None = None  # those of any child: they are the machine's

    @property
    def read_by(self) -> str:
        """What a whole extraction depends on beside the document."""
        return f"parsers {PARSERS}"

    @property
    def decided_by(self) -> str:
        """What a refusal depends on beside the document."""
        programs = "".join(f", {name}" for name in sorted(self._programs) if self._may_start_programs)
        choices = f"{self._options.pdf_reader}, {self._options.ocr} {self._options.ocr_pages} pages"
        return (
            f"{self.read_by}{programs}, {choices}, "
            f"{self._max_bytes} bytes, {self._timeout_s:g} s, "
            f"{self._memory_bytes} bytes of memory"
        )

    @property
    def at_work(self) -> int:
        """Documents that are being read now."""
        return self._busy

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the children for good. Documents under way are left to another run: reading them is Unavailable."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            for child in self._children:
                child.abandon()
            self._changed.wait_for(lambda: not self._busy)
            self._end(self._idle)
            self._idle = []

    def parse(self, document: Content | bytes, name: str) -> Extraction:
        """What the document holds.

        Raises:
            DocumentRefused: it cannot be read, or reading it hit a limit or ended the child.
            Unavailable: no child can be started, or the pool is closed; this says nothing about the document.
        """
        wanted, time = Wanted(name), Allowance(self._timeout_s)
        try:
            return self._asked(document, wanted, receive_extraction, time)
        except NeedsProgram as refusal:
            if refusal.program not in self._programs:
                raise
            if not self.measures().programs:
                raise DocumentRefused(RefusalReason.UNSUPPORTED, UNHELD.format(refusal.program)) from refusal
            return self._asked(document, wanted, receive_extraction, time, refusal.program)

    def render(self, document: Content | bytes, page: int, width: int, marked: Sequence[Box] = ()) -> bytes:
        """The image of a page (from 1), `width` pixels wide, with `marked` places highlighted: a PNG.

        So says the child; whoever shows it shows it as an image only.

        Raises:
            DocumentRefused, Unavailable: as for `parse`.
        """
        wanted = Wanted(page=page, width=width, marked=tuple(marked))
        return self._asked(document, wanted, receive_image, Allowance(self._timeout_s))

    def measures(self) -> Measures:
        """What holds the children on this machine.

        Raises:
            Unavailable: no child can be started.
        """
        if self._measures is None:
            self._given_back(self._taken(""))
        assert self._measures is not None
        return self._measures

    @cached_property
    def _programs(self) -> Mapping[str, str]:
        if self._given_programs is not None:
            return self._given_programs
        return {name: path for name in PROGRAMS if (path := shutil.which(name, path=PROGRAM_PATH))}

    @property
    def _may_start_programs(self) -> bool:
        try:
            return self.measures().programs
        except Unavailable:  # a sync that only takes rights away needs no parser, so it must not fail here
            return False

    def _asked(
        self,
        document: Content | bytes,
        wanted: Wanted,
        believe: Callable[[BinaryIO], T],
        time: Allowance,
        program: str = "",
    ) -> T:
        with nullcontext(document) if isinstance(document, Content) else content_of(document) as content:
            if content.size > self._max_bytes:
                told = f"{content.size:,} bytes; {self._max_bytes:,} are allowed"
                raise DocumentRefused(RefusalReason.TOO_LARGE, told)
            child = self._taken(program)
            warm = child.served > 0
            try:
                return child.answer(content.descriptor, wanted, believe, time)
            except DocumentRefused as refusal:
                if self._closed:
                    raise _closed() from refusal
                # What others have left in a warm child's memory is not this document's fault, nor is a child that had
                # ended before it came.
                if not warm or (child.taken and refusal.reason is not RefusalReason.MEMORY_LIMIT):
                    raise
                if not child.taken:
                    time = Allowance(self._timeout_s)
            finally:
                self._given_back(child)
            child = self._taken(program, fresh=True)
            try:
                return child.answer(content.descriptor, wanted, believe, time)
            except DocumentRefused as refusal:
                if self._closed:
                    raise _closed() from refusal
                raise
            finally:
                self._given_back(child)

    def _taken(self, program: str, *, fresh: bool = False) -> ParserProcess:
        """A child that is ready, and that nobody else uses; a `fresh` one has seen no document."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._busy < self._workers)
            if self._closed:
                raise _closed()
            self._busy += 1
            self._changed.notify_all()  # whoever watches looks now and then only while nobody is at work
            suitable = (each for each in reversed(self._idle) if each.program == program and not fresh)
            child = next(suitable, None)
            if child is not None:
                self._idle.remove(child)
            if child is not None and not child.alive:
                self._end([child])
                child = None
        try:
            return child or self._started(program)
        except BaseException:
            self._leave_place()
            raise

    def _started(self, program: str) -> ParserProcess:
        with self._changed:
            first, self._swept = not self._swept, True
        if first:
            sweep()
        programs = (self._programs[program],) if program else ()
        child = ParserProcess((*self._command, *programs), self._memory_bytes, program)
        with self._changed:
            self._children.add(child)
        try:
            self._have_watched()
            child.confine()
        except BaseException:
            with self._changed:
                self._end([child])
            raise
        self._measures = child.measures
        return child

    def _have_watched(self) -> None:
        """Starts the watch where there is none, unless the pool was closed meanwhile."""
        with self._changed:
            if self._closed:
                raise _closed()
            if self._watching:
                return
            try:
                Thread(target=copy_context().run, args=(self._watch,), name="parser-watch", daemon=True).start()
            except RuntimeError as error:
                raise Unavailable("no thread can be started to watch parser processes") from error
            self._watching = True

    def _given_back(self, child: ParserProcess) -> None:
        with self._changed:
            if child.alive and child.served < DOCUMENTS_A_CHILD and not self._closed:
                self._idle.append(child)
            else:
                self._end([child])
        self._leave_place()

    def _leave_place(self) -> None:
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()

    def _end(self, children: Sequence[ParserProcess]) -> None:
        for child in children:
            self._children.discard(child)
            child.end()
        self._changed.notify_all()

    def _watch(self) -> None:
        """Looks at every child many times a second while one is at work, and now and then while none is."""
        while True:
            try:
                if not self._looked():
                    return
            except Exception:
                log.exception("parser processes could not be looked at; the next attempt follows")
                sleep(TICK_S)

    def _looked(self) -> bool:
        """Whether there was a child to look at; waits first and afterwards."""
        with self._changed:
            self._changed.wait_for(lambda: self._busy or not self._children, self._idle_s / 10)
            stale = [each for each in self._idle if monotonic() - each.idle_since > self._idle_s]
            self._idle = [each for each in self._idle if each not in stale]
            self._end(stale)
            if not self._children:
                self._watching = False
                return False
            children = tuple(self._children)
        for child in children:
            child.inspect()
        with self._changed:
            self._changed.wait_for(lambda: not self._children, TICK_S if self._busy else 0)
        return True


def _closed() -> Unavailable:
    return Unavailable("the parser processes are being ended; read the document again when the service is back")
