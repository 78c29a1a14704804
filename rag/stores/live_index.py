"""An open index that is used only while it is the one that the catalog names.

A rebuild by another home or process puts another index into its place. Whoever goes on with the old one would write
what nobody finds, and find less and less of what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rag.access.scope import AccessScope
from rag.documents import Candidate, Question
from rag.errors import StoreUnavailable
from rag.ports import ChunkReader, ChunkWriter, Index


class LiveIndex:
    """One open index. Its reader checks before every search; who writes checks once, under the lease for writing."""

    def __init__(self, index: Index, name: str, live: Callable[[], str | None], tenant: str) -> None:
        """`name` is what the catalog knows `index` by, `live` asks the catalog for the name of the live index."""
        self._index = index
        self._tenant = tenant
        self._name = name
        self._live = live

    def check(self) -> None:
        """Costs one short read of the catalog.

        Raises:
            StoreUnavailable: another index has taken the place of this one, or the catalog does not answer.
        """
        if self._live() != self._name:
            raise StoreUnavailable(
                f"the documents were re-indexed, and this process still has the old index {self._name} open; restart it"
            )

    @property
    def reader(self) -> ChunkReader:
        return _LiveReader(self._index.reader, self.check, self._tenant)

    @property
    def writer(self) -> ChunkWriter:
        return self._index.writer

    def points(self) -> int:
        """Number of stored points, for operators only."""
        return self._index.points()

    def close(self) -> None:
        self._index.close()


class _LiveReader:
    """Searches for one tenant. The filter keeps another's callers from everything; here they do not get that far."""

    def __init__(self, reader: ChunkReader, check: Callable[[], None], tenant: str) -> None:
        self._reader = reader
        self._check = check
        self._tenant = tenant

    def candidates(self, scope: AccessScope, question: Question, limit: int) -> Sequence[Candidate]:
        if scope.tenant != self._tenant:
            raise StoreUnavailable("a query of one tenant to the index of another was stopped before it was sent")
        self._check()
        return self._reader.candidates(scope, question, limit)
