"""Builds the writing half of Kustos on top of the reading half."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING

from connectors.base import Connector
from ingest.progress import SyncProgress
from rag.bootstrap import Kustos, Rebuilt, Records, open_languages, open_records, rebuild_index
from rag.errors import Unavailable
from rag.machine import processors
from rag.models.embedders import open_embedder
from rag.ports import ChunkWriter, Embedder, OnProgress
from rag.settings import Settings

if TYPE_CHECKING:
    from ingest.pipeline import Ingestion, SyncReport

WRITING = "writing"
"""Name of the lease under which sync and rebuild write: one at a time over all processes of a catalog."""


@contextmanager
def open_ingestion(kustos: Kustos, stop: Event | None = None) -> Iterator[Ingestion]:
    """What brings sources into catalog and index; its parser processes live as long as the block."""
    with _ingestion(kustos.records, kustos.index_writer, kustos.embedder, stop) as ingestion:
        yield ingestion


@contextmanager
def _ingestion(
    records: Records, index: ChunkWriter, embedder: Embedder, stop: Event | None = None
) -> Iterator[Ingestion]:
    # Imported here because LlamaIndex takes longer to load than a question takes to answer.
    from ingest.chunking import Chunker
    from ingest.pipeline import Ingestion
    from ingest.sandbox import ParserPool

    settings = records.settings
    lexical, detector = open_languages(settings)
    workers = processors()
    with ParserPool(workers, timeout_s=settings.parse_timeout_s, max_bytes=settings.max_document_bytes) as pool:
        yield Ingestion(
            settings.tenant,
            records.writer,
            index,
            embedder=embedder,
            lexical=lexical,
            detector=detector,
            chunker=Chunker.of_embedder(embedder),
            parse=pool.parse,
            readers=workers,
            decided_by=pool.decided_by,
            stop=stop,
        )


class Ingesting:
    """One sync at a time inside a service. Parser processes start with the sync and end with it."""

    def __init__(self, kustos: Kustos) -> None:
        self._kustos = kustos
        self._busy = Lock()
        self._stopping = Event()

    def sync(
        self,
        connector: Connector,
        *,
        root: str = "",
        moved: bool = False,
        confirm_deletions: bool = False,
        progress: SyncProgress | None = None,
    ) -> SyncReport:
        """See `Ingestion.sync`.

        Raises:
            Unavailable: another sync is running, in this process or in another that shares the catalog; or this service
                is stopping, and what was committed stays.
            StoreUnavailable: a rebuild elsewhere has replaced the index that this process has open.
        """
        if not self._busy.acquire(blocking=False):
            raise Unavailable("another sync is running in this service, or it is stopping; try again later")
        try:
            with self._kustos.records.catalog.lease(WRITING):
                self._kustos.check_index()  # nobody can rebuild it while the lease is held
                with open_ingestion(self._kustos, self._stopping) as ingestion:
                    return ingestion.sync(
                        connector, root=root, moved=moved, confirm_deletions=confirm_deletions, progress=progress
                    )
        finally:
            self._busy.release()

    def stop(self) -> None:
        """Asks a running sync to end soon. Returns at once; a signal's handler may call it."""
        self._stopping.set()

    def close(self) -> None:
        """Stops a running sync and waits until it has let go of catalog and index; further ones are refused."""
        self.stop()
        self._busy.acquire()  # for good


def filesystem_source(
    settings: Settings, name: str, path: Path, *, cross_mounts: bool = False, poll: bool = False
) -> Connector:
    """The connector of a folder, see `connectors.filesystem`."""
    from connectors.filesystem import FilesystemConnector

    return FilesystemConnector(name, path, max_bytes=settings.max_document_bytes, cross_mounts=cross_mounts, poll=poll)


def rebuild(
    settings: Settings, on_total: Callable[[int], None] | None = None, on_embedded: OnProgress | None = None
) -> Rebuilt:
    """Builds the index of the configured model from the catalog, then removes the old one; see `rebuild_index`.

    Until it is complete the old index stays as it is. Where the index is on a Qdrant server, nothing tells of services
    that have it open: they go on with the old one until then, and have to be started again.

    Raises:
        ModelUnavailable, StoreUnavailable: the live index stays; the next attempt begins anew.
    """
    records, embedder = open_records(settings), open_embedder(settings)
    if on_total:
        on_total(records.status.passages())

    def fill(index: ChunkWriter) -> int:
        with _ingestion(records, index, embedder) as ingestion:
            return ingestion.rebuild(on_embedded)

    with records.catalog.lease(WRITING):
        return rebuild_index(records, embedder.profile, fill)
