"""Two tenants who have everything in common, in one catalog and one index: no query of one ever meets the other (MT-01).

    .venv/bin/python -m tests.security.tenant_walls [--queries 100000] [--seed N]

Realm, people, groups, sources, paths, names of documents and their words are the same; each passage alone tells by its last
word whose it is. Harsher than what is installed, where each tenant has an index of his own. Queries are random: words,
principals, legs, and narrowing by ids of either tenant. Besides hits the callers list and read. A failure prints the seed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random, SystemRandom

from qdrant_client import QdrantClient

from ingest.pipeline import Ingestion
from ingest.reading import DocumentReader
from rag.access import principals
from rag.access.acl import Acl
from rag.access.audit import Action, Purpose
from rag.access.directory import Directory
from rag.access.gate import Gate
from rag.access.principals import EVERYONE_IN_TENANT, Principal
from rag.access.scope import Caller
from rag.documents import document_id
from rag.errors import NotFound
from rag.ports import Index
from rag.retrieval import Mode, Request, Retrieval
from rag.stores.catalog import Catalog, sqlite_url
from rag.stores.catalog_directory import CatalogDirectory
from rag.stores.catalog_reading import CatalogReader
from rag.stores.catalog_writing import CatalogWriter
from rag.stores.edge import EdgeIndex
from rag.stores.qdrant import QdrantIndex
from tests.fakes import GermanOrEnglish, NoAudit, WordEmbedder, WordEncoder
from tests.memory_source import SOURCE, MemorySource, chunker_by_line, parse_lines

TENANTS = ("north", "south")
REALM, DOCUMENTS = "company", 24
WORDS = ("hotel", "leave", "plan", "budget", "forklift", "canteen")
GROUPS = tuple(principals.group(REALM, f"/{name}") for name in ("staff", "sales", "board"))
PEOPLE = tuple(principals.user(REALM, name) for name in ("ann", "bob"))
NAMEABLE = (*GROUPS, *PEOPLE, EVERYONE_IN_TENANT)
PURPOSE = Purpose(Action.SEARCH, "tenant walls")

INDEXES: Mapping[str, Callable[[Path], Index]] = {
    "edge": lambda home: EdgeIndex.open(home / "index", WordEmbedder.profile),
    "qdrant": lambda _: QdrantIndex.open(QdrantClient(":memory:"), "shared", WordEmbedder.profile),
}


class CrossHit(AssertionError):
    """Something of one tenant came to the other."""


class Street:
    """Both tenants over one catalog and one index."""

    def __init__(self, home: Path, index: Index, seed: int) -> None:
        self.random = Random(seed)
        self.hits = Counter[str]()
        self._catalog = Catalog.open(sqlite_url(home / "catalog.db"))
        self._index = index
        directory, reader = CatalogDirectory(self._catalog), CatalogReader(self._catalog)
        self.gate = Gate(index.reader, reader, Directory(directory), NoAudit())
        self._retrieval = Retrieval(self.gate, WordEmbedder(), WordEncoder(), GermanOrEnglish(), covers=lambda _: True)
        for tenant in TENANTS:
            directory.replace(tenant, "realm", [(PEOPLE[0], GROUPS[1]), (GROUPS[1], GROUPS[0])])
            self._fill(tenant)

    def close(self) -> None:
        self._index.close()
        self._catalog.close()

    def ask(self) -> None:
        """One random query of a random caller, and now and then a list and a single read."""
        tenant = self.random.choice(TENANTS)
        held = self.random.sample((*GROUPS, *PEOPLE), self.random.randint(1, 3))
        caller = Caller(tenant, "somebody", frozenset(held))
        text = " ".join(self.random.choices((*WORDS, *TENANTS), k=self.random.randint(1, 4)))
        request = Request(text, self.random.randint(1, 30), self._narrow(), self.random.choice(list(Mode)))
        for each in self._retrieval.search(caller, request, PURPOSE):
            self._own("search", tenant, each.document.tenant, each.chunk.text.endswith(tenant))
        if self.random.random() < 0.05:
            self._list_and_read(tenant, caller)

    def _list_and_read(self, tenant: str, caller: Caller) -> None:
        scope = self.gate.scope_for(caller, PURPOSE)
        for each in self.gate.documents(scope, PURPOSE, limit=DOCUMENTS):
            self._own("list", tenant, each.tenant, True)
        owner = self.random.choice(TENANTS)
        name = document_id(owner, SOURCE, f"document {self.random.randrange(DOCUMENTS)}")
        try:
            self._own("read", tenant, self.gate.document(scope, name, PURPOSE).tenant, owner == tenant)
        except NotFound:
            self.hits["read nothing"] += 1

    def _own(self, way: str, tenant: str, found: str, says_so: bool) -> None:
        self.hits[way] += 1
        if found != tenant or not says_so:
            raise CrossHit(f"{way}: a caller of {tenant} got something of {found}")

    def _narrow(self) -> dict[str, tuple[str, ...]]:
        if self.random.random() < 0.6:
            return {}
        names = [f"document {self.random.randrange(DOCUMENTS)}" for _ in range(6)]
        of_either = tuple(document_id(each, SOURCE, name) for each in TENANTS for name in names)
        return self.random.choice(({"document": of_either}, {"source": (SOURCE,)}, {"language": ("en",)}))

    def _fill(self, tenant: str) -> None:
        """The same for every tenant, but for the last word of each passage."""
        same = Random(0)
        source = MemorySource()
        for place in range(4):
            allow = frozenset(Principal(each) for each in same.sample(NAMEABLE, 3))
            source.rights[f"place {place}"] = Acl.of(allow, frozenset(same.sample(PEOPLE, place % 2)))
        for number in range(DOCUMENTS):
            lines = (f"{same.choice(WORDS)} {same.choice(WORDS)} {line} {tenant}" for line in range(3))
            source.write(f"document {number}", "\n".join(lines), f"place {same.randrange(4)}")
        reader = DocumentReader(tenant, parse_lines, chunker_by_line(), GermanOrEnglish())
        writer, points = CatalogWriter(self._catalog, tenant), self._index.writer
        Ingestion(tenant, writer, points, embedder=WordEmbedder(), lexical=WordEncoder(), reader=reader).sync(source)


def walked(kind: str, home: Path, queries: int, seed: int) -> Counter[str]:
    """What callers got in so many queries, by the way that they got it.

    Raises:
        CrossHit: something of the other tenant.
    """
    street = Street(home, INDEXES[kind](home), seed)
    try:
        for number in range(queries):
            try:
                street.ask()
            except CrossHit as hit:
                raise CrossHit(f"query {number} over {kind}: {hit}; repeat with --seed {seed}") from hit
    finally:
        street.close()
    return street.hits


def main(arguments: list[str]) -> int:
    """Runs and prints; exit status."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--queries", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=SystemRandom().randrange(2**32))
    chosen = options.parse_args(arguments)
    print(f"Seed {chosen.seed}", flush=True)
    for kind in INDEXES:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="kustos-walls-") as home:
            try:
                hits = walked(kind, Path(home), chosen.queries, chosen.seed)
            except CrossHit as hit:
                print(hit, file=sys.stderr)
                return 1
        told = ", ".join(f"{number:,} {way}" for way, number in sorted(hits.items()))
        print(
            f"{kind}: {chosen.queries:,} queries in {time.monotonic() - started:.0f} s, no cross hit ({told})",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
