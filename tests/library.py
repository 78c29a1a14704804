"""A small library of documents with rights, in a real catalog and an index in memory, and tokens of people who read it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI
from jwt.algorithms import RSAAlgorithm

from api.access_table import Row
from api.admission.local_operator import LocalOperator
from api.admission.subjects import Subjects
from api.app import create_app
from api.sign_in.sessions import Sessions
from api.tokens.auth import AsIssued, Identity, Issuer, Worth
from api.tokens.demo_issuer import DemoIssuer
from api.tokens.jwks import StaticKeys
from rag.access import principals
from rag.access.acl import Acl
from rag.access.break_glass import NO_GRANTS
from rag.access.directory import Directory
from rag.access.gate import Gate
from rag.access.principals import Principal
from rag.access.scope import Caller
from rag.answering import Answering
from rag.bootstrap import Kustos, open_records
from rag.documents import Chunk, Document, IndexPoint, acl_id, chunk_id, content_hash, document_id
from rag.errors import NotAuthenticated, NotFound
from rag.models.answerers import Answerers
from rag.models.extractive import ExtractiveAnswerer
from rag.models.lexical import Bm25Encoder
from rag.ports import AuditLog, Index
from rag.retrieval import Retrieval
from rag.settings import Settings
from rag.stores.catalog_reading import CatalogReader
from rag.stores.catalog_writing import NewVersion, Place
from tests.fakes import GermanOrEnglish, MemoryIndex, NamedAnswerers, QuotingAnswerer, WordEmbedder, WordEncoder

TENANT, REALM, SOURCE = "main", "acme", "share"
ISSUER, AUDIENCE = "https://id.example/realms/acme", "kustos"
KID = "key-1"
OPERATOR = LocalOperator("o" * 43)
SALES, STAFF = principals.group(REALM, "/sales"), principals.realm_role(REALM, "staff")


@dataclass(frozen=True)
class Written:
    """A document to be: its passages, and who may read it."""

    name: str
    passages: Sequence[str]
    allow: frozenset[Principal]
    deny: frozenset[Principal] = frozenset()
    title: str = ""
    heading: str = "Chapter"

    @property
    def id(self) -> str:
        return document_id(TENANT, SOURCE, self.name)

    @property
    def uri(self) -> str:
        return f"file:///share/{self.name}"


@dataclass
class NamedSubjects:
    """People by name, and what they hold beside themselves."""

    people: Mapping[str, frozenset[Principal]]

    def subject(self, who: str) -> str:
        if who not in self.people:
            raise NotFound(f"there is no account with the user name or id {who!r}")
        return principals.user(REALM, who)

    def caller(self, subject: str) -> Caller:
        name = subject.rpartition(":")[2]
        return Caller(TENANT, subject, self.people[name] | {Principal(subject)})


@dataclass
class CurrentSubjects:
    """Accounts by subject, as they are now. `failure` is raised in place of an answer."""

    held: dict[str, frozenset[Principal]]
    failure: Exception | None = None

    def caller(self, subject: str) -> Caller:
        if self.failure:
            raise self.failure
        if subject not in self.held:
            raise NotAuthenticated("the account is disabled")
        return Caller(TENANT, subject, self.held[subject])

    def subject(self, who: str) -> str:
        return principals.user(REALM, who)


@dataclass
class Library:
    """The open Kustos with its replaceable parts at hand."""

    kustos: Kustos
    index: MemoryIndex
    answerer: QuotingAnswerer
    people: dict[str, frozenset[Principal]] = field(default_factory=lambda: {"ann": frozenset({SALES})})

    def app(
        self,
        demo: DemoIssuer | None = None,
        *,
        worth: Worth | None = None,
        subjects: Subjects | None = None,
        sessions: Sessions | None = None,
    ) -> FastAPI:
        issuers = [issuer(worth=worth), *([demo.issuer(TENANT)] if demo else [])]
        known = subjects or NamedSubjects(self.people)
        return create_app(self.kustos, Identity(issuers), demo, OPERATOR, subjects=known, sessions=sessions)

    def add(self, *documents: Written) -> None:
        writer = self.kustos.records.writer
        writer.set_places(SOURCE, [Place(each.name, Acl(each.allow, each.deny), each.name) for each in documents])
        terms = {chunk.id: self._point(each, chunk).lexical.indices for each in documents for chunk in _chunks(each)}
        writer.commit([NewVersion(_document(each), each.name, "1", _chunks(each)) for each in documents], terms)
        self.write_points(*documents)

    def write_points(self, *documents: Written) -> None:
        """Into the index alone, as a sync that dies before it commits."""
        points = [self._point(each, chunk) for each in documents for chunk in _chunks(each)]
        self.kustos.index_writer.upsert(points)

    def _point(self, written: Written, chunk: Chunk) -> IndexPoint:
        return IndexPoint(
            chunk_id=chunk.id,
            document_id=written.id,
            source=SOURCE,
            language="en",
            tenant=TENANT,
            acl_id=acl_id(TENANT, SOURCE, written.name),
            allow=tuple(sorted(written.allow)),
            deny=tuple(sorted(written.deny)),
            dense=tuple(self.kustos.embedder.embed_question(chunk.indexed_text).tolist()),
            lexical=self.kustos.lexical.document(chunk.indexed_text, "en"),
        )

    def regrant(self, document: Written, acl: Acl) -> None:
        """Changes rights in the catalog alone: the index still shows the old ones."""
        self.kustos.records.writer.set_places(SOURCE, [Place(document.name, acl, document.name)])


def open_library(
    home: Path,
    *documents: Written,
    audit: AuditLog | None = None,
    real_index: Index | None = None,
    **settings: Any,
) -> Library:
    """The library, whose callers may ask as often as they like unless `settings` say otherwise; with `real_index` over that one and with the real BM25 and quotations."""
    settings = {"requests_per_subject": 0, "requests_per_key": 0, "failures_per_address": 0, **settings}
    records = open_records(Settings(home=home, tenant=TENANT, **settings))
    embedder, detector, memory = WordEmbedder(), GermanOrEnglish(), MemoryIndex()
    index = real_index or memory
    lexical = Bm25Encoder(("en", "de")) if real_index else WordEncoder()
    log = audit or records.audit
    gate = Gate(
        index.reader, CatalogReader(records.catalog), Directory(records.directory), log, records.grants or NO_GRANTS
    )
    retrieval = Retrieval(gate, embedder, lexical, detector, covers=lambda _: True)
    answerer = QuotingAnswerer()
    quoting = ExtractiveAnswerer(embedder) if real_index else answerer
    answerers = NamedAnswerers({"text-general": answerer, "extractive": quoting})
    kustos = Kustos(
        records=records,
        embedder=embedder,
        lexical=lexical,
        detector=detector,
        gate=gate,
        retrieval=retrieval,
        answering=Answering(retrieval, answerers.choose),
        answerers=cast(Answerers, answerers),
        index_writer=index.writer,
        points=index.points,
        check_index=lambda: None,
        close=records.catalog.close,
    )
    library = Library(kustos, memory, answerer)
    library.add(*documents)
    return library


@cache
def signing_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk(key: rsa.RSAPrivateKey, kid: str = KID, **more: str) -> dict[str, Any]:
    return {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", "alg": "RS256", **more}


def issuer(keys: Mapping[str, Mapping[str, object]] | None = None, worth: Worth | None = None) -> Issuer:
    known = StaticKeys(keys or {KID: jwk(signing_key())})
    return Issuer(ISSUER, AUDIENCE, REALM, TENANT, frozenset({"web"}), known, worth or AsIssued())


def claims(issued_at: int | None = None, **changes: object) -> dict[str, Any]:
    """Claims of a valid token of Ann, who is in no group; `...` takes a claim out."""
    iat = int(time.time()) if issued_at is None else issued_at
    usual = {"iss": ISSUER, "aud": AUDIENCE, "azp": "web", "typ": "Bearer", "sub": "ann", "iat": iat, "exp": iat + 3600}
    usual |= {"groups": [], "realm_access": {"roles": []}}
    return {name: value for name, value in {**usual, **changes}.items() if value is not ...}


def token(issued_at: int | None = None, **changes: object) -> str:
    """A signed token with these claims, whatever they are."""
    payload = json.dumps(claims(issued_at, **changes)).encode()
    return jwt.PyJWS().encode(payload, signing_key(), "RS256", headers={"kid": KID})


def person(
    subject: str, *, groups: Sequence[str] = (), roles: Sequence[str] = (), duties: Sequence[str] = ()
) -> dict[str, str]:
    """The header of a signed-in person."""
    ours = {AUDIENCE: {"roles": list(duties)}}
    signed = token(sub=subject, groups=list(groups), realm_access={"roles": list(roles)}, resource_access=ours)
    return {"Authorization": f"Bearer {signed}"}


def segment(value: object) -> str:
    """A part of a token that is made by hand."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def address(row: Row, document: Written) -> str:
    """The row's path, about this document where it is about one, and otherwise about whatever has the name 1."""
    known = {"document_id": document.id, "name": "app.css"}
    return re.sub(r"{(\w+)}", lambda name: known.get(name[1], "1"), row.path)


def _document(written: Written) -> Document:
    return Document(
        id=written.id,
        tenant=TENANT,
        source=SOURCE,
        uri=written.uri,
        title=written.title or written.name,
        media_type="text/plain",
        language="en",
        version=hashlib.sha256("\n".join(written.passages).encode()).hexdigest(),
        acl_id=acl_id(TENANT, SOURCE, written.name),
        bytes=sum(map(len, written.passages)),
        modified_at=None,
        passages=len(written.passages),
    )


def _chunks(written: Written) -> list[Chunk]:
    chunks, at, headings = [], 0, (written.heading,)
    for ordinal, text in enumerate(written.passages, start=1):
        digest = content_hash(headings, text, "en")
        identifier = chunk_id(written.id, digest, ordinal)
        chunks.append(Chunk(identifier, written.id, ordinal, text, headings, 1, at, at + len(text), "en", digest))
        at += len(text)
    return chunks
