"""A process to be killed: `python -m tests.chaos.driver HOME ROOT` syncs ROOT into HOME and tells of every event.

Everything is the product's own but the embedder, which counts words: so that loading a model is not most of the time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from ingest.bootstrap import filesystem_source, open_ingestion
from rag.access.directory import Directory
from rag.access.gate import Gate
from rag.answering import Answering
from rag.bootstrap import Kustos, open_records
from rag.models.answerers import Answerers
from rag.models.language import LinguaDetector
from rag.models.lexical import Bm25Encoder
from rag.retrieval import Retrieval
from rag.settings import Settings
from rag.stores.catalog_reading import CatalogReader
from rag.stores.edge import EdgeIndex
from tests.fakes import NamedAnswerers, QuotingAnswerer, WordEmbedder

SOURCE = "share"


@contextmanager
def opened(home: Path) -> Iterator[Kustos]:
    """As `rag.bootstrap.open_kustos`, with an embedder that needs no model."""
    settings = Settings(home=home)
    records, embedder = open_records(settings), WordEmbedder()
    index = EdgeIndex.open(home / "index" / "words", embedder.profile)
    lexical, detector = Bm25Encoder(settings.languages), LinguaDetector(settings.languages)
    gate = Gate(index.reader, CatalogReader(records.catalog), Directory(records.directory), records.audit)
    retrieval = Retrieval(gate, embedder, lexical, detector, covers=lambda _: True)
    answerers = cast(Answerers, NamedAnswerers({"extractive": QuotingAnswerer()}))
    try:
        yield Kustos(
            records=records,
            embedder=embedder,
            lexical=lexical,
            detector=detector,
            gate=gate,
            retrieval=retrieval,
            answering=Answering(retrieval, answerers.choose),
            answerers=answerers,
            index_writer=index.writer,
            points=index.points,
            check_index=lambda: None,
            close=index.close,
        )
    finally:
        index.close()
        records.catalog.close()


class Telling:
    """Every event a line, at once."""

    def listed(self, items: int) -> None:
        _tell(f"listed {items}")

    def read(self, name: str) -> None:
        _tell(f"read {name}")

    def chunked(self, chunks: int) -> None:
        _tell(f"chunked {chunks}")

    def embedded(self, chunks: int) -> None:
        _tell(f"embedded {chunks}")


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    home, root = map(Path, sys.argv[1:])
    with opened(home) as kustos, open_ingestion(kustos) as ingestion:
        ingestion.sync(filesystem_source(kustos.records.settings, SOURCE, root), progress=Telling())
    _tell("done")


if __name__ == "__main__":
    main()
