"""Follows the realm in the background while the service runs."""

from __future__ import annotations

import logging
from contextvars import copy_context
from threading import Event, Thread

from api.keycloak_realm.sync import RealmSync
from rag.errors import KustosError

log = logging.getLogger(__name__)


class RealmWatch:
    """Runs a sync at once and then each `interval_s` seconds, on a thread of its own, until it is stopped."""

    def __init__(self, sync: RealmSync, interval_s: float) -> None:
        self._sync = sync
        self._interval_s = interval_s
        self._stopped = Event()
        self._failing = False
        self._thread = Thread(target=copy_context().run, args=(self._run,), name="directory", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Does not wait: what a sync had not finished is done at the next start."""
        self._stopped.set()

    def once(self) -> None:
        """One sync. No failure ends the watching; each is in the log, one of Keycloak's once until it is over."""
        try:
            done = self._sync.run()
        except KustosError as error:
            if not self._failing:
                log.warning("the directory does not follow the realm until this is over: %s", error)
            self._failing = True
            return
        except Exception:  # the last catch of this thread: without it nobody would notice that it has ended
            log.exception("the directory does not follow the realm, by a fault of Kustos; it is tried again")
            self._failing = True
            return
        if self._failing:
            log.info("the directory follows the realm again")
        self._failing = False
        if done.full_because:
            log.info(
                "directory: %d groups, %d accounts that hold something, because %s",
                done.groups,
                done.people,
                done.full_because,
            )

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.once()
            self._stopped.wait(self._interval_s)
