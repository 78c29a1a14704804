"""Widens a caller by the groups that hold him, at query time. Documents keep groups as groups."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from rag.access.principals import EVERYONE_IN_TENANT, Principal
from rag.access.scope import Caller
from rag.ports import DirectoryEdges

REMEMBERED_CALLERS = 10_000


class Directory:
    """Resolves callers against the catalog's group edges.

    What it remembers is keyed by the directory's revision, which is read from the catalog each time: a membership that
    was taken away holds in the next question.
    """

    def __init__(self, edges: DirectoryEdges) -> None:
        self._edges = edges
        self._remembered: OrderedDict[tuple[str, int, frozenset[Principal]], frozenset[Principal]] = OrderedDict()
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
            self._remembered[key] = widened
            while len(self._remembered) > REMEMBERED_CALLERS:
                self._remembered.popitem(last=False)
        return widened
