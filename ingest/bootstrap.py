"""Builds the writing half of Kustos on top of the reading half."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ingest.chunking import Chunker
from ingest.pipeline import Ingestion
from ingest.sandbox import ParserPool
from rag.bootstrap import Kustos, open_kustos, switch_index
from rag.ports import OnProgress
from rag.settings import Settings


@contextmanager
def open_ingestion(kustos: Kustos) -> Iterator[Ingestion]:
    """What brings sources into catalog and index; its parser processes live as long as the block."""
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
