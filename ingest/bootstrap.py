"""Builds the writing half of Kustos on top of the reading half."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING

from connectors.base import Connector
from ingest.pages import PageImages
from ingest.parsers.options import OCR_ENGINES, PDF_READERS, ReadingOptions
from ingest.progress import SyncProgress
from ingest.sandbox import ParserPool
from rag.bootstrap import WRITING, Kustos, Rebuilt, Records, open_languages, open_records, rebuild_index
from rag.errors import Misconfigured, Unavailable
from rag.machine import processors
from rag.models.embedders import open_embedder
from rag.ports import ChunkWriter, Embedder, OnProgress
from rag.settings import Settings
from rag.stores.catalog_known import Today

if TYPE_CHECKING:
    from ingest.pipeline import Ingestion, SyncReport

OCR_SHARE = 2 / 3  # of the time for a document: then what was recognised is kept, instead of all being lost


def open_pool(settings: Settings) -> ParserPool:
    """Parser processes, one for each processor. None starts before the first document comes; close it at the end.

    Raises:
        Misconfigured: a PDF reader or a recognition engine that is none.
    """
    return ParserPool(
        processors(),
        timeout_s=settings.parse_timeout_s,
        max_bytes=settings.max_document_bytes,
        options=ReadingOptions(
            pdf_reader=_one_of(PDF_READERS, "KUSTOS_PDF_READER", settings.pdf_reader),
            ocr=_one_of(OCR_ENGINES, "KUSTOS_OCR", settings.ocr),
            ocr_pages=settings.ocr_pages,
            ocr_s=OCR_SHARE * settings.parse_timeout_s,
        ),
    )


def _one_of(names: Collection[str], key: str, name: str) -> str:
    if name not in names:
        raise Misconfigured(f"{key}={name!r} is none of {', '.join(sorted(names))}")
    return name


@contextmanager
def open_ingestion(kustos: Kustos, stop: Event | None = None) -> Iterator[Ingestion]:
    """What brings sources into catalog and index; its parser processes live as long as the block."""
    with open_pool(kustos.records.settings) as pool:
        yield _ingestion(kustos.records, kustos.index_writer, kustos.embedder, pool, stop)


def _ingestion(
    records: Records, index: ChunkWriter, embedder: Embedder, pool: ParserPool, stop: Event | None = None
) -> Ingestion:
    # Imported here because LlamaIndex takes longer to load than a question takes to answer.
    from ingest.chunking import Chunker
    from ingest.pipeline import Ingestion
    from ingest.reading import DocumentReader

    settings = records.settings
    lexical, detector = open_languages(settings)
    chunker = Chunker.of_embedder(embedder)
    return Ingestion(
        settings.tenant,
        records.writer,
        index,
        embedder=embedder,
        lexical=lexical,
        reader=DocumentReader(
            settings.tenant,
            pool.parse,
            chunker,
            detector,
            today=Today(pool.decided_by, f"{pool.read_by}, chunks of {chunker.max_tokens} tokens"),
        ),
        readers=processors(),
        stop=stop,
    )


class Ingesting:
    """One sync at a time inside a service, which closes this at its end.

    Attributes:
        pool: the service's parser processes; they stay warm from one sync to the next.
    """

    def __init__(self, kustos: Kustos) -> None:
        self.pool = open_pool(kustos.records.settings)
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
        with self._alone() as ingestion:
            return ingestion.sync(
                connector, root=root, moved=moved, confirm_deletions=confirm_deletions, progress=progress
            )

    def forget(self, source: str) -> int:
        """See `Ingestion.forget`.

        Raises:
            Unavailable, StoreUnavailable: as for `sync`.
        """
        with self._alone() as ingestion:
            return ingestion.forget(source)

    @contextmanager
    def _alone(self) -> Iterator[Ingestion]:
        if not self._busy.acquire(blocking=False):
            raise Unavailable("another sync is running in this service, or it is stopping; try again later")
        try:
            kustos = self._kustos
            with kustos.records.catalog.lease(WRITING, kustos.records.settings.tenant):
                kustos.check_index()  # nobody can rebuild it while the lease is held
                yield _ingestion(kustos.records, kustos.index_writer, kustos.embedder, self.pool, self._stopping)
        finally:
            self._busy.release()

    def stop(self) -> None:
        """Asks a running sync to end soon. Returns at once; a signal's handler may call it."""
        self._stopping.set()

    def close(self) -> None:
        """Stops a running sync, ends the parser processes, and waits until the sync has let go of catalog and index.

        Documents that are being read are left to the next run. Further syncs are refused.
        """
        self.stop()
        self.pool.close()  # before the sync ends: it waits for documents that only this gives up
        self._busy.acquire()  # for good


def open_pages(kustos: Kustos, pool: ParserPool) -> PageImages:
    """What draws pages of documents, in the processes of `pool`."""
    settings = kustos.records.settings
    return PageImages(kustos.records.writer, partial(filesystem_source, settings), parse=pool.parse, render=pool.render)


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
        with open_pool(settings) as pool:
            return _ingestion(records, index, embedder, pool).rebuild(on_embedded)

    with records.catalog.lease(WRITING, settings.tenant):
        return rebuild_index(records, embedder.profile, fill)
