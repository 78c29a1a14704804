"""A sync that is told to stop: it ends in order, keeps what is committed, and lets go before anything is closed."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from api.routes.ingest import lines
from connectors.base import Listing
from ingest.bootstrap import Ingesting
from ingest.pipeline import CHUNKS_A_BATCH, Ingestion, SyncReport
from ingest.reading import DocumentReader
from rag.errors import Unavailable
from rag.ports import OnProgress, Vectors
from rag.stores.catalog import Catalog, sqlite_url
from rag.stores.catalog_status import CatalogStatus
from rag.stores.catalog_writing import CatalogWriter
from tests.fakes import GermanOrEnglish, MemoryIndex, WordEmbedder, WordEncoder
from tests.hostile import hostile_pool
from tests.library import open_library
from tests.memory_source import MemorySource, chunker_by_line, parse_lines

TENANT = "main"
PATIENCE_S = 30.0


class StoppingEmbedder(WordEmbedder):
    """Somebody stops the sync while text number `at` is embedded."""

    def __init__(self, at: int, stop: threading.Event) -> None:
        self.left, self.stop = at, stop

    def embed_documents(self, texts: Sequence[str], on_progress: OnProgress | None = None) -> Vectors:
        vectors = super().embed_documents(texts)
        for _ in texts:
            self.left -= 1
            if self.left == 0:
                self.stop.set()
            if on_progress:
                on_progress(1)
        return vectors


def sync(catalog: Catalog, index: MemoryIndex, source: MemorySource, stop: threading.Event, at: int = 0) -> SyncReport:
    ingestion = Ingestion(
        TENANT,
        CatalogWriter(catalog, TENANT),
        index,
        embedder=StoppingEmbedder(at, stop),
        lexical=WordEncoder(),
        reader=DocumentReader(TENANT, parse_lines, chunker_by_line(), GermanOrEnglish()),
        stop=stop,
    )
    return ingestion.sync(source)


@pytest.mark.parametrize("at", [1, CHUNKS_A_BATCH + 1, 2 * CHUNKS_A_BATCH])
def test_a_sync_that_is_stopped_keeps_what_is_committed_and_the_next_one_does_the_rest(tmp_path: Path, at: int) -> None:
    source, index, every = MemorySource(), MemoryIndex(), 4 * CHUNKS_A_BATCH
    for number in range(every):
        source.write(f"{number:03}", "one")
    catalog = Catalog.open(sqlite_url(tmp_path / "catalog.db"))
    with pytest.raises(Unavailable, match="stopping; what is committed stays"):
        sync(catalog, index, source, threading.Event(), at)
    kept = CatalogStatus(catalog, TENANT).passages()
    assert kept <= at
    report = sync(catalog, index, source, threading.Event())
    assert (report.unchanged, report.written) == (kept, every - kept)
    assert len(index.stored) == CatalogStatus(catalog, TENANT).passages() == every
    catalog.close()


class SlowSource(MemorySource):
    """Its listing lasts until it is told to end."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def list(self, cursor: str = "") -> Listing:
        self.begun.set()
        assert self.go_on.wait(PATIENCE_S)
        return super().list(cursor)


def test_closing_waits_for_the_sync_that_it_stops_and_takes_in_nothing_more(tmp_path: Path) -> None:
    ingesting, source, ended = Ingesting(open_library(tmp_path / "home").kustos), SlowSource(), []

    def run() -> None:
        try:
            ingesting.sync(source)
        except Unavailable as error:
            ended.append(str(error))

    def close() -> None:
        ingesting.close()
        ended.append("closed")

    syncing, closing = threading.Thread(target=run, daemon=True), threading.Thread(target=close, daemon=True)
    syncing.start()
    assert source.begun.wait(PATIENCE_S)
    closing.start()
    closing.join(0.1)
    assert ended == []
    source.go_on.set()
    closing.join(PATIENCE_S)
    syncing.join(PATIENCE_S)
    assert sorted(ended) == [
        "closed",
        "the service is stopping; what is committed stays, and the next run goes on from there",
    ]
    with pytest.raises(Unavailable, match="stopping"):
        ingesting.sync(source)


def test_closing_does_not_wait_for_a_document_that_is_being_read(tmp_path: Path) -> None:
    ingesting, source, ended = Ingesting(open_library(tmp_path / "home").kustos), MemorySource(), []
    ingesting.pool.close()
    ingesting.pool = hostile_pool(timeout_s=10 * PATIENCE_S)
    source.write("sleep", "forever")

    def run() -> None:
        with pytest.raises(Unavailable):
            ingesting.sync(source)
        ended.append("sync")

    syncing = threading.Thread(target=run, daemon=True)
    syncing.start()
    while not ingesting.pool.at_work:
        syncing.join(0.01)
    closing = threading.Thread(target=ingesting.close, daemon=True)
    closing.start()
    closing.join(PATIENCE_S)
    syncing.join(PATIENCE_S)
    assert not closing.is_alive()
    assert ended == ["sync"]


def test_silence_of_a_sync_is_filled_with_empty_lines_that_clients_pass_over() -> None:
    told: queue.SimpleQueue[dict[str, object] | None] = queue.SimpleQueue()
    late = threading.Timer(PATIENCE_S, told.put, ({"event": "late"},))  # or a silence without end would hang the test
    late.daemon = True
    late.start()
    sent = lines(told, heartbeat_s=0.01)
    assert next(sent) == "\n"
    late.cancel()
    told.put({"event": "listed", "items": 3})
    told.put(None)
    heard = [each for each in sent if each.strip()]
    assert [json.loads(each) for each in heard] == [{"event": "listed", "items": 3}]
