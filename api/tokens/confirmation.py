"""Somebody who proved who he is, and whose rights are still being asked for.

The question runs beside other work, on threads of its own. As long as it has no answer there is no `Caller`, and
without a `Caller` no scope: what a route could do meanwhile opens nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from threading import Lock
from typing import TypeVar

from rag.access.scope import Caller
from rag.errors import NotAuthenticated, Overloaded, Unavailable

PATIENCE_S = 4.0
"""Nobody waits longer for an answer, whatever it hangs on."""
AT_A_TIME = 16
MOST_WAITING = 512

T = TypeVar("T")


class Questions:
    """Puts questions to another service, so many at a time; what is beyond `MOST_WAITING` is refused at once.

    Threads of its own, because a slow service would otherwise hold those on which everything else runs (FT-03).
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._threads = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix=name)
        self._open = 0
        self._lock = Lock()

    def put(self, ask: Callable[[], T]) -> Future[T]:
        """The answer to come. A question that nobody waits for any more when its turn comes is not put.

        Raises:
            Overloaded: too many wait already, or this machine has no thread left.
        """
        with self._lock:
            if self._open >= MOST_WAITING:
                raise Overloaded(f"{self._open} questions to the {self._name} are open, as many as may be")
            self._open += 1
        try:
            asked = self._threads.submit(copy_context().run, ask)
        except RuntimeError as error:  # no thread can be started
            self._done()
            raise Overloaded(f"no question can be put to the {self._name}: {error}") from error
        asked.add_done_callback(self._done)
        return asked

    def _done(self, _: Future[T] | None = None) -> None:
        with self._lock:
            self._open -= 1


class Unconfirmed:
    """Not a `Caller`: what this person may read is not known yet. `subject` is who he says he is, as in `Caller`."""

    def __init__(
        self,
        subject: str,
        ask: Callable[[], Future[Caller]],
        patience_s: float = PATIENCE_S,
        again: Callable[[], Future[Caller]] | None = None,
    ) -> None:
        """Asks at once. `again` asks later, where that is another question than the first: for a session's next token.

        Raises:
            Overloaded: too many wait already.
        """
        self.subject = subject
        self._again = again or ask
        self._patience_s = patience_s
        self._asked = ask()

    def when_refused(self, then: Callable[[], None]) -> None:
        """Calls `then`, on any thread, if the answer is that he is nobody any more; at once where it is there."""

        def look(asked: Future[Caller]) -> None:
            if not asked.cancelled() and isinstance(asked.exception(), NotAuthenticated):
                then()

        self._asked.add_done_callback(look)

    async def confirmed(self) -> Caller:
        """Who he is and what he may read, as of when he was admitted or later.

        Raises:
            NotAuthenticated: nobody any more.
            Unavailable: it cannot be known now.
        """
        return await self._answer(self._asked)

    async def confirmed_again(self) -> Caller:
        """As `confirmed`, as of now: for what is released long after the request came (RC-05)."""
        return await self._answer(self._again())

    def wait(self) -> Caller:
        """As `confirmed`, for who has a thread to wait on."""
        try:
            return self._asked.result(self._patience_s)
        except TimeoutError:
            self._asked.cancel()
            raise self._too_late() from None

    async def _answer(self, asked: Future[Caller]) -> Caller:
        if asked.done():
            return asked.result()
        try:
            async with asyncio.timeout(self._patience_s):
                return await asyncio.wrap_future(asked)
        except TimeoutError:
            raise self._too_late() from None

    def _too_late(self) -> Unavailable:
        return Unavailable(f"what the caller may read was not known within {self._patience_s} s")
