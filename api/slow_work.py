"""What may take a person's minute: on threads of its own, and only so much of it at a time.

A model may let everybody wait for minutes, and a hostile page may take long to draw. On the threads that all requests
share, as many of these as there are threads would stop searching, signing in and /readyz. So slow work has threads of
its own, and one piece of it too many is refused at once instead of waiting for its turn unseen. Nobody has all places:
who reads his answers slowly, or asks for picture after picture, would shut out everybody else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from rag.errors import Overloaded, TooManyRequests

ANSWERS_AT_A_TIME = 32
"""More than a model on one machine writes at once; the others wait in its runtime."""
ANSWERS_OF_ONE = 8
PICTURES_AT_A_TIME = 8
"""Pictures of pages that are drawn or wait for it; a page of a document has one."""
PICTURES_OF_ONE = 3
EVALUATIONS_AT_A_TIME = 4
"""One runs and the others wait, so that measuring takes a single thread from people's questions."""
EVALUATIONS_OF_ONE = 2
RETRY_S = 2.0

T = TypeVar("T")


class SlowWork:
    """Counts the work of one kind that is under way. Belongs to the event loop of one service.

    Args:
        most: pieces of it at a time; further ones are refused.
        threads: so many of them run; the others wait.
        of_one: so many at a time are one person's; no limit of his own without it.
    """

    def __init__(self, what: str, most: int, threads: int, of_one: int | None = None) -> None:
        self._what = what
        self._most = most
        self._of_one = of_one or most
        self._running = 0
        self._by_person: Counter[str] = Counter()
        self._threads = CapacityLimiter(threads)

    @contextmanager
    def place(self, person: str = "") -> Iterator[None]:
        """A place for one piece of a person's work; of nobody's, where it is none's in particular.

        Raises:
            Overloaded: all are taken.
            TooManyRequests: he has all that one person gets.
        """
        if self._running >= self._most:
            raise Overloaded(f"{self._running} {self._what} are under way, as many as may be at a time")
        if person and self._by_person[person] >= self._of_one:
            raise TooManyRequests(f"{self._of_one} {self._what} of this account are under way already.", RETRY_S)
        self._running += 1
        self._by_person[person] += 1
        try:
            yield
        finally:
            self._running -= 1
            self._by_person -= Counter((person,))  # and forgets who has none

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

    async def pieces(self, answer: Iterator[str], person: str) -> AsyncGenerator[str]:
        """The pieces, each made on one of the threads. Closing this closes `answer`, which ends its generation.

        Raises:
            Overloaded, TooManyRequests: before the first piece, as `place`.
        """
        with self.place(person):
            try:
                while (piece := await self.run(lambda: next(answer, None))) is not None:
                    yield piece
            finally:
                if isinstance(answer, Generator):
                    answer.close()
