"""Answers in the making: each on a thread of its own, and only so many at a time.

A model may let everybody wait for minutes. On the threads that all requests share, as many slow answers as there are
threads would stop searching, signing in and /readyz. So answers have threads of their own, and an answer that finds
none is refused at once instead of waiting for its turn unseen.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator

from anyio import CapacityLimiter, to_thread

from rag.errors import Overloaded

MOST_AT_A_TIME = 32
"""More than a model on one machine writes at once; the others wait in its runtime."""


class Generations:
    """Counts the answers that are written at this moment. Belongs to the event loop of one service."""

    def __init__(self, most: int = MOST_AT_A_TIME) -> None:
        self._most = most
        self._running = 0
        self._threads = CapacityLimiter(most)

    async def pieces(self, answer: Iterator[str]) -> AsyncGenerator[str]:
        """The pieces, each made in a thread. Closing this closes `answer`, which ends the generation.

        Raises:
            Overloaded: before the first piece; as many answers as can be are being written.
        """
        if self._running >= self._most:
            raise Overloaded(f"{self._running} answers are being written, as many as may be at a time")
        self._running += 1
        try:
            while (piece := await to_thread.run_sync(next, answer, None, limiter=self._threads)) is not None:
                yield piece
        finally:
            self._running -= 1
            if isinstance(answer, Generator):
                answer.close()
