"""Random companies, random changes, and every way to a document compared with the reference evaluator.

    .venv/bin/python -m tests.security.random_access [--checks 1000000] [--seed N]

Two tenants live in one catalog and one index; tenants, people, groups, places and documents all have the same names. Each
round changes something: rights of a place, memberships, nested groups, the place of a document, its text, its existence;
sometimes the index follows, sometimes it does not. Then callers search, list, read and ask for explanations. One check is
one answer about one document, compared with `tests.security.reference`, which shares nothing with the product.

Everything is real but the embedder, which counts words, and the audit log, which is left out. A failure prints the seed and the
round; the same seed makes the same company.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random, SystemRandom
from typing import cast

from ingest.pipeline import Ingestion
from ingest.reading import DocumentReader
from rag.access.acl import Acl
from rag.access.audit import Action, Purpose
from rag.access.directory import Directory
from rag.access.explain import Explainer
from rag.access.gate import Gate
from rag.access.principals import Principal
from rag.access.scope import AccessScope, Caller
from rag.documents import Chunk, Document, Passage, acl_id, chunk_id, content_hash, document_id
from rag.errors import NotFound
from rag.retrieval import MAX_PASSAGES, Request, Retrieval
from rag.stores.catalog import Catalog, sqlite_url
from rag.stores.catalog_directory import CatalogDirectory
from rag.stores.catalog_reading import CatalogReader
from rag.stores.catalog_writing import CatalogWriter, NewVersion, Place
from rag.stores.edge import EdgeIndex
from tests.fakes import GermanOrEnglish, NoAudit, WordEmbedder, WordEncoder
from tests.security.reference import EVERYONE, Rights, may_read

TENANTS = ("north", "south")
SOURCE, ORIGINS = "share", ("keycloak", "entra")
DOCUMENTS, PLACES = 16, 6
WORD = "kiel"
PURPOSE = Purpose(Action.SEARCH, "random access")

PEOPLE = tuple(f"kc:acme:user:{name}" for name in ("ann", "bob", "eve"))
GROUPS = tuple(f"kc:acme:group:/{name}" for name in ("a", "a/b", "a/b/c", "d", "b"))
ROLES = ("kc:acme:role:staff", "kc:acme:client:kustos:role:staff")
HOLDERS = (*PEOPLE, *GROUPS)
NAMEABLE = (*PEOPLE, *GROUPS, *ROLES, EVERYONE)


class Wrong(AssertionError):
    """The product and the reference differ."""


@dataclass
class Tenant:
    """What the reference knows of a tenant. `behind` are documents that the index may not show yet to new readers."""

    name: str
    places: dict[str, Rights] = field(default_factory=dict)
    documents: dict[str, str] = field(default_factory=dict)  # name to place
    edges: dict[str, set[tuple[str, str]]] = field(default_factory=lambda: {each: set() for each in ORIGINS})
    behind: set[str] = field(default_factory=set)

    def permits(self, own: frozenset[str], document: str) -> bool:
        place = self.documents.get(document)
        pairs = set[tuple[str, str]]().union(*self.edges.values())
        return place is not None and may_read(own, pairs, self.places[place])


class Company:
    """The product over a catalog and an index in a folder, and what the reference knows of its two tenants."""

    def __init__(self, home: Path, seed: int) -> None:
        self.random = Random(seed)
        self.checks = Counter[str]()
        self.calls = Counter[str]()
        self.tenants = [Tenant(each) for each in TENANTS]
        self._texts = count()
        self._catalog = Catalog.open(sqlite_url(home / "catalog.db"))
        self._index = EdgeIndex.open(home / "index", WordEmbedder.profile)
        self._directory = CatalogDirectory(self._catalog)
        reader, widening = CatalogReader(self._catalog), Directory(self._directory)
        self._gate = Gate(self._index.reader, reader, widening, NoAudit())
        self._explainer = Explainer(reader, widening, self._directory, reader)
        self._retrieval = Retrieval(self._gate, WordEmbedder(), WordEncoder(), GermanOrEnglish(), covers=lambda _: True)
        for tenant in self.tenants:
            self._found(tenant)

    def close(self) -> None:
        self._index.close()
        self._catalog.close()

    def round(self) -> None:
        """A few changes in each tenant, then every check for every caller."""
        for tenant in self.tenants:
            for _ in range(self.random.randint(1, 4)):
                self.random.choice(self._changes())(tenant)
            if self.random.random() < 0.6:
                self._follow(tenant)
        for tenant in self.tenants:
            for own in self._callers():
                self._check(tenant, own)

    # What happens

    def _changes(self) -> tuple[Callable[[Tenant], None], ...]:
        return (self._regrant, self._revoke, self._regroup, self._move, self._delete, self._write, self._write)

    def _found(self, tenant: Tenant) -> None:
        for number in range(PLACES):
            self._set(tenant, f"place {number}", self._rights())
        for _ in range(DOCUMENTS):
            self._write(tenant)
        self._regroup(tenant)

    def _rights(self) -> Rights:
        allow = self.random.sample(NAMEABLE, self.random.randint(0, 4))
        deny = self.random.sample(NAMEABLE[:-1], self.random.choice((0, 0, 0, 1, 2)))
        return Rights(frozenset(allow), frozenset(deny))

    def _regrant(self, tenant: Tenant) -> None:
        self._set(tenant, self.random.choice(sorted(tenant.places)), self._rights())

    def _revoke(self, tenant: Tenant) -> None:
        place = self.random.choice(sorted(tenant.places))
        held, taken = tenant.places[place], frozenset(self.random.sample(NAMEABLE, 3))
        denied = frozenset(self.random.sample(NAMEABLE[:-1], self.random.choice((0, 1))))
        self._set(tenant, place, Rights(held.allow - taken, held.deny | denied))

    def _set(self, tenant: Tenant, place: str, rights: Rights) -> None:
        acl = Acl.of(frozenset(map(Principal, rights.allow)), frozenset(map(Principal, rights.deny)))
        self._writer(tenant).set_places(SOURCE, [Place(place, acl, "random")])
        before = tenant.places.get(place, Rights())
        if rights.allow - before.allow or before.deny - rights.deny:
            tenant.behind |= {name for name, where in tenant.documents.items() if where == place}
        tenant.places[place] = rights

    def _regroup(self, tenant: Tenant) -> None:
        origin = self.random.choice(ORIGINS)
        number = self.random.randint(0, 6)
        edges = {(self.random.choice(HOLDERS), self.random.choice((*GROUPS, *ROLES))) for _ in range(number)}
        tenant.edges[origin] = edges
        pairs = [(Principal(member), Principal(group)) for member, group in edges]
        self._directory.replace(tenant.name, origin, pairs)

    def _move(self, tenant: Tenant) -> None:
        if not tenant.documents:
            return
        name, place = self.random.choice(sorted(tenant.documents)), self.random.choice(sorted(tenant.places))
        self._writer(tenant).regovern({document_id(tenant.name, SOURCE, name): acl_id(tenant.name, SOURCE, place)})
        tenant.documents[name] = place
        tenant.behind.add(name)

    def _delete(self, tenant: Tenant) -> None:
        if len(tenant.documents) > DOCUMENTS // 2:
            name = self.random.choice(sorted(tenant.documents))
            self._writer(tenant).remove([document_id(tenant.name, SOURCE, name)])
            del tenant.documents[name]
            tenant.behind.discard(name)

    def _write(self, tenant: Tenant) -> None:
        """A new document, or a new text, in another place perhaps, for one that is there."""
        name, place = f"document {self.random.randrange(DOCUMENTS)}", self.random.choice(sorted(tenant.places))
        self._ingestion(tenant).write([self._version(tenant, name, place)])
        if name in tenant.documents and tenant.documents[name] != place:
            self._writer(tenant).regovern({document_id(tenant.name, SOURCE, name): acl_id(tenant.name, SOURCE, place)})
        tenant.documents[name] = place

    def _follow(self, tenant: Tenant) -> None:
        self._ingestion(tenant).follow()
        tenant.behind.clear()

    # What callers see

    def _callers(self) -> Iterator[frozenset[str]]:
        """Nobody, and some people with groups and roles of their token."""
        yield frozenset()
        for person in PEOPLE:
            yield frozenset({person, *self.random.sample((*GROUPS, *ROLES), self.random.randint(0, 2))})

    def _check(self, tenant: Tenant, own: frozenset[str]) -> None:
        caller = Caller(tenant.name, "somebody", frozenset(map(Principal, own)))
        scope = self._gate.scope_for(caller, PURPOSE)
        expected = {f"document {each}": tenant.permits(own, f"document {each}") for each in range(DOCUMENTS)}
        listed = {each.uri for each in self._listed(scope)}
        self._compare("list", tenant, own, expected, {each: each in listed for each in expected})
        found = {each.document.uri for each in self._search(caller)}
        lagging = {each: each in found or (each in tenant.behind and expected[each]) for each in expected}
        self._compare("search", tenant, own, expected, lagging)
        readable = {each: self._readable(tenant, scope, each) for each in expected}
        self._compare("read", tenant, own, expected, readable)
        explained = {each: self._explained(tenant, caller, each) for each in expected}
        self._compare("explain", tenant, own, expected, explained)

    def _compare(
        self, way: str, tenant: Tenant, own: frozenset[str], expected: dict[str, bool], told: dict[str, bool]
    ) -> None:
        self.checks[way] += len(expected)
        for name, permitted in expected.items():
            if told[name] != permitted:
                fault = "WRONGLY DENIED" if permitted else "LEAK"
                raise Wrong(f"{fault}: {way} of {name!r} in tenant {tenant.name} by {sorted(own)}")

    def _listed(self, scope: AccessScope | None) -> Iterator[Document]:
        after = ("", "")
        while page := self._gate.documents(scope, PURPOSE, after, limit=10):
            self.calls["list"] += 1
            self._own(page[0].tenant, scope)
            yield from page
            after = page[-1].position

    def _search(self, caller: Caller) -> list[Passage]:
        self.calls["search"] += 1
        text = f"{WORD} {self.random.choice(('alpha', 'bravo', ''))}"
        return self._retrieval.search(caller, Request(text, MAX_PASSAGES), PURPOSE)

    def _readable(self, tenant: Tenant, scope: AccessScope | None, name: str) -> bool:
        self.calls["read"] += 1
        identifier = document_id(tenant.name, SOURCE, name)
        try:
            if self.random.random() < 0.5:
                return self._gate.document(scope, identifier, PURPOSE).uri == name
            return all(each.document.uri == name for each in self._gate.passages(scope, identifier, (1, 9), PURPOSE))
        except NotFound:
            return False

    def _explained(self, tenant: Tenant, caller: Caller, name: str) -> bool:
        self.calls["explain"] += 1
        try:
            return self._explainer.explain(caller, document_id(tenant.name, SOURCE, name)).decision.allowed
        except NotFound:
            return False

    def _own(self, tenant: str, scope: AccessScope | None) -> None:
        if scope is None or tenant != scope.tenant:
            raise Wrong(f"LEAK: a document of tenant {tenant} is listed elsewhere")

    # Parts of the product

    def _writer(self, tenant: Tenant) -> CatalogWriter:
        return CatalogWriter(self._catalog, tenant.name)

    def _ingestion(self, tenant: Tenant) -> Ingestion:
        unused = cast(DocumentReader, None)  # versions are made here, nothing is read
        return Ingestion(
            tenant.name,
            self._writer(tenant),
            self._index.writer,
            embedder=WordEmbedder(),
            lexical=WordEncoder(),
            reader=unused,
        )

    def _version(self, tenant: Tenant, name: str, place: str) -> NewVersion:
        identifier = document_id(tenant.name, SOURCE, name)
        words = [f"{WORD} {self.random.choice(('alpha', 'bravo', 'delta'))} {next(self._texts)}" for _ in range(2)]
        chunks = []
        for ordinal, text in enumerate(words[: self.random.randint(1, 2)], start=1):
            digest = content_hash((), text, "en")
            piece = chunk_id(identifier, digest, ordinal)
            chunks.append(Chunk(piece, identifier, ordinal, text, (), None, 0, len(text), "en", digest))
        about = Document(
            id=identifier,
            tenant=tenant.name,
            source=SOURCE,
            uri=name,
            title=name,
            media_type="text/plain",
            language="en",
            version=content_hash((), str(words), "en"),
            acl_id=acl_id(tenant.name, SOURCE, place),
            bytes=1,
            modified_at=None,
            passages=len(chunks),
        )
        return NewVersion(about, name, "1", chunks)


def checked(company: Company, checks: int) -> int:
    """Rounds until so many checks are done.

    Raises:
        Wrong: the product and the reference differ; the message has the round.
    """
    for number in count(1):
        try:
            company.round()
        except Wrong as wrong:
            raise Wrong(f"round {number}: {wrong}") from wrong
        if company.checks.total() >= checks:
            return number
    raise AssertionError


def main(arguments: list[str]) -> int:
    """Runs and prints; exit status."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--checks", type=int, default=1_000_000)
    options.add_argument("--seed", type=int, default=SystemRandom().randrange(2**32))
    chosen = options.parse_args(arguments)
    print(f"Seed {chosen.seed}", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kustos-random-") as home:
        company = Company(Path(home), chosen.seed)
        try:
            rounds = checked(company, chosen.checks)
        except Wrong as wrong:
            print(f"{wrong}; repeat with --seed {chosen.seed}", file=sys.stderr)
            return 1
        finally:
            company.close()
    for way, number in sorted(company.checks.items()):
        print(f"{number:>9,} checks of {way}, by {company.calls[way]:,} calls")
    print(
        f"{company.checks.total():,} checks in {rounds:,} rounds and {time.monotonic() - started:.0f} s: no leak, no wrong denial"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
