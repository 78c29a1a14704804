"""One home for tests of the writing path: a real catalog, with source, parser, models and index in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from ingest.pipeline import Ingestion, SyncReport
from ingest.reading import DocumentReader
from rag.access.acl import Acl
from rag.access.principals import Principal, group, user
from rag.documents import IndexPoint, document_id
from rag.errors import KustosError, ModelUnavailable
from rag.ports import OnProgress, Stored, Vectors
from rag.stores.catalog import Catalog
from rag.stores.catalog_known import Today
from rag.stores.catalog_reading import CatalogReader
from rag.stores.catalog_status import CatalogStatus
from rag.stores.catalog_writing import CatalogWriter
from tests.fakes import GermanOrEnglish, MemoryIndex, WordEmbedder, WordEncoder
from tests.memory_source import SOURCE, MemorySource, Watched, chunker_by_line, parse_lines

TENANT = "main"
ANN, BOB = user("acme", "ann"), user("acme", "bob")
STAFF = group("acme", "/staff")
FOR_ANN, FOR_BOB, FOR_BOTH = Acl.of({ANN}), Acl.of({BOB}), Acl.of({ANN, BOB})


class CountingEmbedder(WordEmbedder):
    """Remembers every text; `fails_after` so many it fails, and always with a text that holds `cannot`."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.fails_after = 10**9
        self.cannot: str | None = None
        self.failure: KustosError = ModelUnavailable("Ollama refused the model with status 500")

    def embed_documents(self, texts: Sequence[str], on_progress: OnProgress | None = None) -> Vectors:
        if len(self.texts) + len(texts) > self.fails_after:
            raise ModelUnavailable("the model's runtime does not answer")
        if self.cannot and any(self.cannot in text for text in texts):
            raise self.failure
        self.texts += texts
        return super().embed_documents(texts, on_progress)


class Crash(Exception):
    """The sync ends here."""


@dataclass
class World:
    """One home: a catalog, an index, and what a sync asks of them, in order."""

    catalog: Catalog
    index: MemoryIndex = field(default_factory=MemoryIndex)
    embedder: CountingEmbedder = field(default_factory=CountingEmbedder)
    source: MemorySource = field(default_factory=MemorySource)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    crash_at: int = 0
    decided_by: str = "a parser"
    read_by: str = "a parser"
    readers: int = 2
    clock: Callable[[], float] = time.monotonic

    def twin(self, catalog: Catalog) -> World:
        """Another home as this one is now, over a copy of its catalog."""
        return World(catalog, MemoryIndex(dict(self.index.stored)), source=deepcopy(self.source))

    @property
    def writer(self) -> CatalogWriter:
        return CatalogWriter(self.catalog, TENANT)

    def ingestion(self) -> Ingestion:
        return Ingestion(
            TENANT,
            self._watched(self.writer),
            self._watched(self.index),
            embedder=self._watched(self.embedder),
            lexical=WordEncoder(),
            readers=self.readers,
            reader=DocumentReader(
                TENANT,
                parse_lines,
                chunker_by_line(),
                GermanOrEnglish(),
                today=Today(self.decided_by, self.read_by),
                clock=self.clock,
            ),
        )

    def sync(self, *, confirm_deletions: bool = False) -> SyncReport:
        self.calls.clear()
        self.embedder.texts.clear()
        self.source.fetched.clear()
        return self.ingestion().sync(self.source, confirm_deletions=confirm_deletions)

    def _watched(self, part: Any) -> Any:
        return Watched(part, lambda *_: self._burn(), self._called)

    def _called(self, name: str, arguments: Any) -> None:
        self.calls.append((name, arguments))
        self._burn()

    def _burn(self) -> None:
        self.crash_at -= 1
        if self.crash_at == 0:
            raise Crash

    def stored(self, name: str) -> Stored | None:
        return CatalogReader(self.catalog).document(TENANT, document_id(TENANT, SOURCE, name))

    def texts(self, name: str) -> list[str]:
        found = CatalogReader(self.catalog).passages(TENANT, document_id(TENANT, SOURCE, name), 1, 99)
        return [each.chunk.text for each in found if each.chunk]

    def passages(self) -> int:
        return CatalogStatus(self.catalog, TENANT).passages()

    def points(self) -> dict[str, IndexPoint]:
        return dict(self.index.stored)

    def rights_in_the_index(self, name: str) -> set[tuple[str, ...]]:
        wanted = document_id(TENANT, SOURCE, name)
        return {each.allow for each in self.index.stored.values() if each.document_id == wanted}


def texts(*allowed: Principal) -> set[tuple[str, ...]]:
    """What `World.rights_in_the_index` gives where these are allowed."""
    return {tuple(sorted(allowed))}
