"""Real catalog and index for many histories one after the other, and a fuse that ends a sync in the middle."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import delete, select

from ingest.pipeline import Ingestion
from ingest.reading import DocumentReader
from rag.access.acl import Acl
from rag.access.directory import Directory
from rag.access.explain import Explainer
from rag.access.gate import Gate
from rag.access.principals import EVERYONE_IN_TENANT
from rag.models.language import LinguaDetector
from rag.models.lexical import Bm25Encoder
from rag.retrieval import Retrieval
from rag.stores.catalog import Catalog, sqlite_url
from rag.stores.catalog_directory import CatalogDirectory
from rag.stores.catalog_reading import CatalogReader
from rag.stores.catalog_schema import acls, chunks, documents, metadata, term_counts
from rag.stores.catalog_terms import PASSAGES
from rag.stores.catalog_writing import CatalogWriter
from rag.stores.edge import EdgeIndex
from tests.fakes import NoAudit, WordEmbedder
from tests.memory_source import MemorySource, Watched, chunker_by_line, parse_lines

SOURCE, TENANT = "share", "main"


class Crash(Exception):
    """The sync ends here, as if the process had."""


@dataclass
class Fuse:
    """Blows before or after the nth call of a name that a sync makes to catalog, index or embedder."""

    at: tuple[str, str, int] | None = None
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)

    def around(self, part: Any) -> Any:
        return Watched(part, lambda name, _: self._burn("before", name), lambda name, _: self._burn("after", name))

    def _burn(self, when: str, name: str) -> None:
        self.seen[when, name] += 1
        if self.at == (when, name, self.seen[when, name]):
            raise Crash


class Stores:
    """Catalog and index in a folder, opened as a process would open them; closing and opening is a restart."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lexical, self._detector = Bm25Encoder(("en", "de")), LinguaDetector(("en", "de"))
        self._neighbours = 0
        self.open()
        self._move_in_next_door()

    def open(self) -> None:
        self.catalog = Catalog.open(sqlite_url(self._home / "catalog.db"))
        self.index = EdgeIndex.open(self._home / "index", WordEmbedder.profile)
        self._assemble()

    def _assemble(self) -> None:
        self.directory = CatalogDirectory(self.catalog)
        reader = CatalogReader(self.catalog)
        widening = Directory(self.directory)
        self.gate = Gate(self.index.reader, reader, widening, NoAudit())
        self.explainer = Explainer(reader, widening, self.directory, reader)
        self.retrieval = Retrieval(self.gate, WordEmbedder(), self._lexical, self._detector, covers=lambda _: True)

    def close(self) -> None:
        self.index.close()
        self.catalog.close()

    def empty(self) -> None:
        """Takes out everything of our tenant, so that equal histories are equal to the last id."""
        self._assemble()  # nothing that is remembered of one history may be met in the next
        writer = CatalogWriter(self.catalog, TENANT)
        writer.remove([each.document_id for each in writer.known(SOURCE)])
        self.ingestion().follow()
        with self.catalog.writing(durable=False) as connection:
            for table in reversed(metadata.sorted_tables):
                if "tenant" in table.c:
                    connection.execute(delete(table).where(table.c.tenant == TENANT))
        if self.points():
            self._begin_anew()

    def points(self) -> int:
        """Number of points of our tenant."""
        return self.index.points() - self._neighbours

    def term_counts(self) -> tuple[Counter[tuple[int, int]], Counter[tuple[int, int]]]:
        """The counts that the catalog keeps, and the same counted anew from its passages."""
        passages = (
            select(acls.c.number, chunks.c.terms)
            .join(documents, documents.c.id == chunks.c.document_id)
            .join(acls, acls.c.id == documents.c.acl_id)
        )
        counted = Counter[tuple[int, int]]()
        with self.catalog.reading() as connection:
            kept = Counter({(term, place): number for term, place, number in connection.execute(select(term_counts))})
            for place, terms in connection.execute(passages):
                counted.update((int(term), place) for term in (PASSAGES, *np.frombuffer(terms, dtype="<u4")))
        return kept, counted

    def ingestion(self, fuse: Fuse | None = None, tenant: str = TENANT) -> Ingestion:
        fuse = fuse or Fuse()
        return Ingestion(
            tenant,
            fuse.around(CatalogWriter(self.catalog, tenant)),
            fuse.around(self.index.writer),
            embedder=fuse.around(WordEmbedder()),
            lexical=self._lexical,
            reader=DocumentReader(tenant, parse_lines, chunker_by_line(), self._detector),
        )

    def _move_in_next_door(self) -> None:
        source = MemorySource(SOURCE, rights={"p": Acl.of({EVERYONE_IN_TENANT})})
        source.write("x.txt", "kiel alpha", "p")
        self.ingestion(tenant="next door").sync(source)
        self._neighbours = self.index.points()

    def _begin_anew(self) -> None:
        """After a history that failed and left points that nobody knows of."""
        self.close()
        shutil.rmtree(self._home / "index")
        self.open()
        self.ingestion(tenant="next door").rebuild()
