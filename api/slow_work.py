"""What may take a person's minute: on threads of its own, and only so much of it at a time.

A model may let everybody wait for minutes, and a hostile page may take long to draw. On the threads that all requests
share, as many of these as there are threads would stop searching, signing in and /readyz. So slow work has threads of
its own, and one piece of it too many is refused at once instead of waiting for its turn unseen.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from rag.errors import Overloaded

ANSWERS_AT_A_TIME = 32
"""More than a model on one machine writes at once; the others wait in its runtime."""
PICTURES_AT_A_TIME = 8
"""Pictures of pages that are drawn or wait for it; a page of a document has one."""
EVALUATIONS_AT_A_TIME = 4
"""One runs and the others wait, so that measuring takes a single thread from people's questions."""

T = TypeVar("T")


class SlowWork:
    """Counts the work of one kind that is under way. Belongs to the event loop of one service.

    Args:
        most: pieces of it at a time; further ones are refused.
        threads: so many of them run; the others wait.
    """

    def __init__(self, what: str, most: int, threads: int) -> None:
        self._what = what
        self._most = most
        self._running = 0
        self._threads = CapacityLimiter(threads)

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for one piece of work.

        Raises:
            Overloaded: all are taken.
        """
        if self._running >= self._most:
            raise Overloaded(f"{self._running} {self._what} are under way, as many as may be at a time")
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, done on one of the threads. The caller holds a place."""
        return await to_thread.run_sync(work, limiter=self._threads)

    async def whole(self, work: Callable[[], T]) -> T:
        """As `run`, in a place of its own.

        Raises:
            Overloaded: all are taken.
        """
        with self.place():
            return await self.run(work)

    async def pieces(self, answer: Iterator[str]) -> AsyncGenerator[str]:
        """The pieces, each made on one of the threads. Closing this closes `answer`, which ends its generation.

        Raises:
            Overloaded: before the first piece; all places are taken.
        """
        with self.place():
            try:
                while (piece := await self.run(lambda: next(answer, None))) is not None:
                    yield piece
            finally:
                if isinstance(answer, Generator):
                    answer.close()
