"""Widens a caller by the groups that hold him, at query time. Documents keep groups as groups."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from rag.access.principals import EVERYONE_IN_TENANT, Principal
from rag.access.scope import Caller
from rag.ports import DirectoryEdges

REMEMBERED_PRINCIPALS = 500_000
"""So many are held for all callers together, given and widened: 4,000 callers of 40 whom 80 more hold, or 160 of 1,000.
Measured with names of 60 characters: 50 to 75 MB."""

_Key = tuple[str, int, frozenset[Principal]]


class Directory:
    """Resolves callers against the catalog's group edges.

    What it remembers is keyed by the directory's revision, which is read from the catalog each time: a membership that
    was taken away holds in the next question. With a new revision everything of the old one is forgotten.
    """

    def __init__(self, edges: DirectoryEdges, most_remembered: int = REMEMBERED_PRINCIPALS) -> None:
        self._edges = edges
        self._most_remembered = most_remembered
        self._remembered: OrderedDict[_Key, frozenset[Principal]] = OrderedDict()
        self._revisions: dict[str, int] = {}
        self._held = 0
        self._lock = Lock()

    def widen(self, caller: Caller) -> frozenset[Principal]:
        """The caller's principals, every group that holds one of them at any depth, and everyone in the tenant.

        A caller without principals stays without: he is not "everyone" (RM-09).

        Raises:
            StoreUnavailable: the catalog does not answer.
        """
        if not caller.principals:
            return frozenset()
        key = (caller.tenant, self._edges.revision(caller.tenant), caller.principals)
        with self._lock:
            if key in self._remembered:
                self._remembered.move_to_end(key)
                return self._remembered[key]
        containers = self._edges.containers(caller.tenant, caller.principals)
        widened = caller.principals | containers | {EVERYONE_IN_TENANT}
        with self._lock:
            self._remember(key, widened)
        return widened

    def _remember(self, key: _Key, widened: frozenset[Principal]) -> None:
        tenant, revision, _ = key
        if self._revisions.get(tenant) != revision:
            self._revisions[tenant] = revision
            for old in [each for each in self._remembered if each[0] == tenant]:
                self._forget(old)
        if key not in self._remembered:
            self._remembered[key] = widened
            self._held += _size(key, widened)
        while self._held > self._most_remembered:
            self._forget(next(iter(self._remembered)))

    def _forget(self, key: _Key) -> None:
        self._held -= _size(key, self._remembered.pop(key))


def _size(key: _Key, widened: frozenset[Principal]) -> int:
    return len(key[2]) + len(widened)
