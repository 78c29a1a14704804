"""Whether questions can be answered: looked at once for however many ask.

Anybody may ask, and a look embeds a text and reads every catalog and index. A look for each asker would be work that
outsiders order, on threads and in places that a probe then does not get, and the service would be taken out (MT-07,
SA-07, SC-14). So looks have one thread of their own, one at a time, and who asks waits without any.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from api.admission.doors import Doors
from api.schemas import Readiness
from rag.bootstrap import Kustos
from rag.errors import KustosError, Unavailable

log = logging.getLogger(__name__)

KNOWN_S = 1.0
"""So long a look counts. Probes come further apart, so each hears of its own moment; outsiders order one a second."""
PATIENCE_S = 2.0
"""A look that takes longer is a no: shorter than the probe in docker-compose.yml waits, which is 3 s."""
PROVIDER_PATIENCE_S = 0.5
SILENT = (
    "The identity provider does not answer, or not this service, so nobody can be admitted until it does. The log says "
    "why. A restart does not help."
)
SILENT_TO_SOME = (
    "An identity provider does not answer, or not this service, so people of some tenants cannot be admitted until it "
    "does. The log says of which, and why. A restart does not help."
)


class SharedLook:
    """What the last look found. Belongs to the event loop of one service."""

    def __init__(
        self,
        look: Callable[[], Readiness],
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._look = look
        self._clock = clock
        self.patience_s = patience_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="readiness")
        self._begun: Future[Readiness | None] | None = None
        self._begun_at = 0.0

    async def found(self) -> Readiness:
        """What is said of a service that is ready, as of `KNOWN_S` ago or later.

        Raises:
            Unavailable: it is not, or the look has been going on for longer than anybody waits.
        """
        now = self._clock()
        if self._begun is None or (self._begun.done() and now >= self._begun_at + KNOWN_S):
            self._begun, self._begun_at = self._thread.submit(self._looked), now
        begun, left_s = self._begun, self._begun_at + self.patience_s - now
        if not begun.done() and left_s > 0:
            await asyncio.wait([asyncio.wrap_future(begun)], timeout=left_s)
        ready = begun.result() if begun.done() else None
        if ready is None:
            raise Unavailable("a look at readiness found that something does not answer, or goes on for too long")
        return ready

    def _looked(self) -> Readiness | None:
        """Looks, and says once in the log what is wrong. Whatever goes wrong, nobody hears that this is ready."""
        try:
            return self._look()
        except KustosError as error:
            log.warning("%s", error)
        except Exception:
            log.exception("nobody can say whether this service is ready")
        return None


def look(services: Sequence[tuple[Kustos, Doors]]) -> Readiness:
    """What is said of the services of all tenants, or of the only one.

    Raises:
        Unavailable: one cannot answer questions; the text says which.
    """
    failing = []
    for kustos, _ in services:
        try:
            _check_stores(kustos)
        except KustosError as error:
            failing.append(f"tenant {kustos.records.settings.tenant}: {error}")
    if failing:
        raise Unavailable(f"not ready: {'; '.join(failing)}")
    for embedder in {id(kustos.embedder): kustos.embedder for kustos, _ in services}.values():  # tenants share one
        embedder.embed_question("ready")
    return _admitting([doors for _, doors in services])


def _check_stores(kustos: Kustos) -> None:
    kustos.records.directory.revision(kustos.records.settings.tenant)
    kustos.check_index()
    kustos.points()


def _admitting(doors: Sequence[Doors]) -> Readiness:
    """Whether everybody's identity provider answers."""
    providers = [each.provider for each in doors if each.provider]
    for each in providers:
        each.answers(0)  # all are asked before one is waited for, or the waits would add up
    if not all(each.answers(PROVIDER_PATIENCE_S) for each in providers):
        return Readiness(status="ready", admits=False, reason=SILENT if len(doors) == 1 else SILENT_TO_SOME)
    wrong_clock = next((each.wrong_clock for each in providers if each.wrong_clock), None)
    return Readiness(status="ready", admits=True, reason=wrong_clock)
