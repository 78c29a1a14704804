"""What an identity provider says of itself (OpenID Connect Discovery 1.0), and whether it answers at all."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from threading import Lock

import httpx

from api.tokens.auth import LEEWAY_S
from api.tokens.published import client, read_json
from rag.errors import KustosError, Unavailable

log = logging.getLogger(__name__)

PATH = "/.well-known/openid-configuration"
KNOWN_S = 5.0
"""So long what is known of its answering counts, whoever asks how often: outsiders may, and each would be a request."""


class Provider:
    """The provider whose addresses begin with `base`. Decides nothing about anybody."""

    def __init__(
        self,
        base: str,
        http: httpx.Client,
        clock: Callable[[], float] = time.monotonic,
        ask_as_us: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`ask_as_us` asks it what only this service may ask, and says by how many seconds its clock is ahead of ours.

        It raises KustosError if there is no answer.
        """
        self._ask_as_us = ask_as_us
        self._url = base + PATH
        self._http = http
        self._clock = clock
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="identity provider")
        self._context = copy_context()  # whoever asks, its lines of the log are of the tenant for whom it was opened
        self._asked: Future[bool] | None = None
        self._asked_at = 0.0
        self._silent = False
        self._wrong_clock: str | None = None

    @classmethod
    def at(cls, base: str, ask_as_us: Callable[[], float] = lambda: 0.0) -> Provider:
        return cls(base, client(), ask_as_us=ask_as_us)

    def issuer(self) -> str:
        """What it calls itself in its tokens. Asks each time: for operators, not for callers.

        Raises:
            Unavailable: it does not say; the message says why.
        """
        try:
            return _issuer(read_json(self._http, self._url, self._clock))
        except (httpx.HTTPError, ValueError, RecursionError) as error:
            raise Unavailable(f"the identity provider does not answer at {self._url}: {error}") from error

    def answers(self, patience_s: float) -> bool:
        """Whether it answers, and this service too, as of `KNOWN_S` ago or later.

        A question that is open for `patience_s` counts as no.
        """
        with self._lock:
            now = self._clock()
            if self._asked is None or (self._asked.done() and now >= self._asked_at + KNOWN_S):
                self._asked, self._asked_at = self._thread.submit(self._context.run, self._tried), now
            asked, left_s = self._asked, self._asked_at + patience_s - now
        try:
            return asked.result(max(0.0, left_s))
        except TimeoutError:
            return False

    @property
    def wrong_clock(self) -> str | None:
        """What is wrong with this machine's clock, as of the last answer: None if tokens bear how far it is off."""
        return self._wrong_clock

    def _tried(self) -> bool:
        """Asks. The log is told when it falls silent and when that is over, and not each time."""
        try:
            self.issuer()
            self._compare_clocks(self._ask_as_us())
        except KustosError as error:
            if not self._silent:
                log.warning("nobody can be admitted until this is over: %s", error)
            self._silent = True
            return False
        if self._silent:
            log.info("the identity provider answers again")
        self._silent = False
        return True

    def _compare_clocks(self, ahead_s: float) -> None:
        wrong = _wrong_clock(ahead_s)
        if wrong and not self._wrong_clock:
            log.warning("%s", wrong)
        self._wrong_clock = wrong


def _wrong_clock(ahead_s: float) -> str | None:
    if abs(ahead_s) <= LEEWAY_S:
        return None
    side = "behind" if ahead_s > 0 else "ahead of"
    return (
        f"The clock of this machine is {abs(ahead_s):.0f} s {side} the identity provider's, so tokens are refused or "
        "end at the wrong time. Set both by NTP."
    )


def _issuer(told: object) -> str:
    found = told.get("issuer") if isinstance(told, dict) else None
    if not isinstance(found, str):
        raise ValueError("it names no issuer")  # noqa: TRY004  of what came, not of what was given
    return found
