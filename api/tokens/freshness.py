"""How old the knowledge may be of what a token is worth: `KUSTOS_FRESHNESS_S`, by default 0, so it is asked each time.

With a longer time the answer is kept for that time at most, counted from when the question went out, and no longer
than the token lives. Beyond it there is no answer but a new one: if there is none to be had, nobody is admitted. Each
process keeps its own.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Lock
from time import monotonic, time

from api.tokens.confirmation import Questions
from rag.access.scope import Caller

MOST_PRINCIPALS = 200_000
"""So many are remembered for all tokens together: 5,000 tokens of 40. Measured with names of 60 characters: 34 MB for
5,000 tokens of 40, 55 MB for 40,000 of 5."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a token is worth.

    Attributes:
        session: its `sid`; None for a token without one, as a service account's.
        ends_at: its `exp`, in seconds since 1970.
    """

    caller: Caller
    session: str | None
    ends_at: float


@dataclass(frozen=True, slots=True)
class _Known:
    standing: Standing
    asked_at: float


class Freshness:
    """Asks what tokens are worth, and remembers it for `bound_s` seconds at most."""

    def __init__(self, bound_s: float, clock: Callable[[], float] = monotonic, now: Callable[[], float] = time) -> None:
        """`clock` measures how old an answer is, `now` tells whether a token has ended (seconds since 1970)."""
        self._bound_s = bound_s
        self._clock = clock
        self._now = now
        self._questions = Questions("identity provider")
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._principals = 0
        self._forgotten = 0
        self._lock = Lock()

    def caller(self, token: str, ask: Callable[[], Standing]) -> Future[Caller]:
        """Who the token stands for; `ask` is called on another thread unless that is known and fresh enough.

        Raises:
            Overloaded: too many wait for an answer already.
        """
        if not self._bound_s:
            return self._questions.put(lambda: ask().caller)
        key = hashlib.sha256(token.encode()).digest()
        known = self._fresh(key)
        if known is None:
            return self._questions.put(lambda: self._asked(key, ask))
        answered: Future[Caller] = Future()
        answered.set_result(known)
        return answered

    def forget(self, *, subject: str | None = None, session: str | None = None) -> None:
        """Drops what is remembered of a `Caller.subject` or of a session, or everything.

        An answer that is on its way now may be from before the event, so it is used once and not remembered.
        """
        with self._lock:
            self._forgotten += 1
            for key, known in list(self._known.items()):
                about = known.standing
                if (subject is None or about.caller.subject == subject) and (
                    session is None or about.session == session
                ):
                    self._drop(key)

    def _fresh(self, key: bytes) -> Caller | None:
        with self._lock:
            known = self._known.get(key)
            if known is None:
                return None
            if self._clock() - known.asked_at >= self._bound_s or self._now() >= known.standing.ends_at:
                self._drop(key)
                return None
            self._known.move_to_end(key)
            return known.standing.caller

    def _asked(self, key: bytes, ask: Callable[[], Standing]) -> Caller:
        asked_at, forgotten = self._clock(), self._forgotten
        standing = ask()
        with self._lock:
            if forgotten == self._forgotten:
                self._remember(key, _Known(standing, asked_at))
        return standing.caller

    def _remember(self, key: bytes, known: _Known) -> None:
        earlier = self._known.get(key)
        if earlier and earlier.asked_at > known.asked_at:
            return  # two requests with one token: the answer to the later question came first
        if earlier:
            self._drop(key)
        self._known[key] = known
        self._principals += len(known.standing.caller.principals)
        while self._principals > MOST_PRINCIPALS:
            self._drop(next(iter(self._known)))

    def _drop(self, key: bytes) -> None:
        self._principals -= len(self._known.pop(key).standing.caller.principals)
