"""What a running service does by itself, once when it starts and then once a day."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from datetime import UTC, datetime, timedelta

from rag.bootstrap import Records
from rag.errors import KustosError

log = logging.getLogger(__name__)

DAY_S = 86_400.0


def keep(records: Records) -> None:
    """All of it."""
    keep_audit(records)
    keep_history(records)


def keep_audit(records: Records) -> None:
    """Forgets names and removes records as the settings promise. A failure is logged; the next day tries again."""
    settings = records.settings
    try:
        gone = records.keeping.expire(int(time.time() * 1000), settings.audit_names_days, settings.audit_days)
    except KustosError as error:
        log.warning("the audit's old names and records stay for another day: %s", error)
    else:
        log.info("%d old records of the audit removed", gone)


def keep_history(records: Records) -> None:
    """Forgets what ended longer ago than the settings say. A failure is logged; the next day tries again."""
    try:
        gone = records.history.prune(datetime.now(UTC) - timedelta(days=records.settings.history_days))
    except KustosError as error:
        log.warning("the old history of rights stays for another day: %s", error)
    else:
        log.info("%d old entries of the history of rights removed", gone)


@contextmanager
def every_day(work: Callable[[], None]) -> Iterator[None]:
    """Does `work` on a thread of its own, at once and then each day, for as long as the block lasts.

    What `work` raises is logged, and ends neither the days to come nor the service.
    """
    ended = threading.Event()

    def run() -> None:
        while True:
            try:
                work()
            except Exception:  # the last catch of this thread: without it nobody would notice that it has ended
                log.exception("the daily upkeep failed by a fault of Kustos; the next day tries again")
            if ended.wait(DAY_S):
                return

    thread = threading.Thread(target=copy_context().run, args=(run,), name="upkeep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
