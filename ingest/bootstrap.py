"""Builds the writing half of Kustos on top of the reading half."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from connectors.base import Connector
from ingest.progress import SyncProgress
from rag.bootstrap import Kustos, open_kustos, switch_index
from rag.errors import Unavailable
from rag.ports import OnProgress
from rag.settings import Settings

if TYPE_CHECKING:
    from ingest.pipeline import Ingestion, SyncReport


@contextmanager
def open_ingestion(kustos: Kustos) -> Iterator[Ingestion]:
    """What brings sources into catalog and index; its parser processes live as long as the block."""
    # Imported here because LlamaIndex takes longer to load than a question takes to answer.
    from ingest.chunking import Chunker
    from ingest.pipeline import Ingestion
    from ingest.sandbox import ParserPool

    settings = kustos.records.settings
    with ParserPool(timeout_s=settings.parse_timeout_s, max_bytes=settings.max_document_bytes) as pool:
        yield Ingestion(
            settings.tenant,
            kustos.records.writer,
            kustos.index_writer,
            embedder=kustos.embedder,
            lexical=kustos.lexical,
            detector=kustos.detector,
            chunker=Chunker(kustos.embedder.count_tokens),
            parse=pool.parse,
        )


class Ingesting:
    """One sync at a time inside a service. Parser processes start with the sync and end with it."""

    def __init__(self, kustos: Kustos) -> None:
        self._kustos = kustos
        self._busy = Lock()

    def sync(
        self, connector: Connector, *, confirm_deletions: bool = False, progress: SyncProgress | None = None
    ) -> SyncReport:
        """See `Ingestion.sync`.

        Raises:
            Unavailable: another sync is running.
        """
        if not self._busy.acquire(blocking=False):
            raise Unavailable("another sync is running in this service; try again when it is done")
        try:
            with open_ingestion(self._kustos) as ingestion:
                return ingestion.sync(connector, confirm_deletions=confirm_deletions, progress=progress)
        finally:
            self._busy.release()


def filesystem_source(settings: Settings, name: str, path: Path) -> Connector:
    """The connector of a folder."""
    from connectors.filesystem import FilesystemConnector

    return FilesystemConnector(name, path, max_bytes=settings.max_document_bytes)


def rebuild_index(
    settings: Settings, on_total: Callable[[int], None] | None = None, on_embedded: OnProgress | None = None
) -> int:
    """Builds the index of the configured model from the catalog, then removes those of other models.

    Until it is complete the old index stays as it is. Returns passages written.

    Raises:
        ModelUnavailable, StoreUnavailable: nothing was removed; the next attempt begins anew.
    """
    kustos = open_kustos(settings, rebuild=True)
    try:
        if on_total:
            on_total(kustos.records.status.passages())
        with open_ingestion(kustos) as ingestion:
            written = ingestion.rebuild(on_embedded)
    finally:
        kustos.close()
    switch_index(settings, kustos.embedder.profile)
    return written
