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
from ingest.pipeline import Ingestion, SyncReport
from rag.bootstrap import Kustos, open_kustos
from rag.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "examples" / "company"
ROUNDS = 3
GOAL = 0.9


def ingest_figures(settings: Settings) -> Iterator[Figure]:
    """Passages a second of a whole sync and of the embedder alone, in turn; and what a second sync embeds.

    Both are measured warm: what is loaded once in the life of a service (the weights, the tokenizer, the parsers in
    their processes) is loaded by a first sync under another name, whose time is a figure of its own.
    """
    passages, syncing, embedding = 0, 0.0, 0.0
    with _opened(settings) as kustos, open_ingestion(kustos) as ingestion:
        kustos.embedder.embed_documents(["warm"])
        cold = _sync(kustos, ingestion, "cold")
        for number in range(ROUNDS):
            source = f"company {number}"
            first = _sync(kustos, ingestion, source)
            texts = [
                chunk.indexed_text
                for chunk, its_source, *_ in kustos.records.writer.everything()
                if its_source == source
            ]
            started = perf_counter()
            kustos.embedder.embed_documents(texts)
            embedding += perf_counter() - started
            syncing += first.seconds
            passages += len(texts)
        second = _sync(kustos, ingestion, source)
    name = "ingest of the sample company"
    yield at_least(name, passages / syncing, "passages/s", passages / embedding, GOAL)
    yield plain(f"{name}: documents", first.written, "documents")
    yield plain(f"{name}: passages", first.embedded, "passages")
    yield plain(f"{name}: first sync of a process", cold.seconds, "s")
    yield exactly(f"{name}: texts embedded by a second run", second.embedded, "texts", 0)
    yield plain(f"{name}: second run", second.seconds, "s")


@contextmanager
def _opened(settings: Settings) -> Iterator[Kustos]:
    with (
        TemporaryDirectory(prefix="kustos-bench-") as home,
        closing(open_kustos(replace(settings, home=Path(home)))) as kustos,
    ):
        yield kustos


def _sync(kustos: Kustos, ingestion: Ingestion, source: str) -> SyncReport:
    return ingestion.sync(FilesystemConnector(source, EXAMPLES, max_bytes=kustos.records.settings.max_document_bytes))
