"""Builds the writing half of Kustos on top of the reading half."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ingest.chunking import Chunker
from ingest.pipeline import Ingestion
from ingest.sandbox import ParserPool
from rag.bootstrap import Kustos


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
