"""Taking in the sample company, against nothing but embedding the same passages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from connectors.filesystem import FilesystemConnector
from eval.bench.figures import Figure, at_least, exactly, plain
from ingest.bootstrap import open_ingestion
from ingest.pipeline import SyncReport
from rag.bootstrap import Kustos, open_kustos
from rag.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "examples" / "company"
ROUNDS = 2
GOAL = 0.9


def ingest_figures(settings: Settings) -> Iterator[Figure]:
    """Passages a second of a whole sync and of the embedder alone, in turn; and what a second sync embeds."""
    passages, syncing, embedding = 0, 0.0, 0.0
    for _ in range(ROUNDS):
        with _opened(settings) as kustos:
            kustos.embedder.embed_documents(["warm"])
            first = _sync(kustos)
            texts = [chunk.indexed_text for chunk, *_ in kustos.records.writer.everything()]
            started = perf_counter()
            kustos.embedder.embed_documents(texts)
            embedding += perf_counter() - started
            syncing += first.seconds
            passages += len(texts)
            second = _sync(kustos)
    name = "ingest of the sample company"
    yield at_least(name, passages / syncing, "passages/s", passages / embedding, GOAL)
    yield plain(f"{name}: documents", first.written, "documents")
    yield plain(f"{name}: passages", first.embedded, "passages")
    yield exactly(f"{name}: texts embedded by a second run", second.embedded, "texts", 0)
    yield plain(f"{name}: second run", second.seconds, "s")


@contextmanager
def _opened(settings: Settings) -> Iterator[Kustos]:
    with (
        TemporaryDirectory(prefix="kustos-bench-") as home,
        closing(open_kustos(replace(settings, home=Path(home)))) as kustos,
    ):
        yield kustos


def _sync(kustos: Kustos) -> SyncReport:
    with open_ingestion(kustos) as ingestion:
        return ingestion.sync(
            FilesystemConnector("company", EXAMPLES, max_bytes=kustos.records.settings.max_document_bytes)
        )
