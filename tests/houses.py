"""Two companies behind one address that have everything in common: realm, people, groups, folders, names of documents.

Everything is real but the embedder, which counts words, and Keycloak: tokens are worth what they say.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.admission.key_issue import issue
from api.admission.local_operator import LocalOperator
from api.app import create_app
from api.tenants import Tenants
from api.tokens.auth import AsIssued, Identity, Issuer
from api.tokens.jwks import StaticKeys
from ingest.bootstrap import Ingesting
from ingest.pipeline import Ingestion
from ingest.reading import DocumentReader
from rag.access import principals
from rag.access.acl import Acl
from rag.access.api_keys import KeyScope
from rag.access.principals import Principal
from rag.access.scope import Caller
from rag.bootstrap import Kustos, open_kustos
from rag.documents import document_id
from rag.errors import NotAuthenticated
from rag.settings import Settings
from tests.fakes import WordEmbedder
from tests.library import AUDIENCE, KID, claims, jwk
from tests.memory_source import SOURCE, MemorySource, chunker_by_line, parse_lines

NAMES = ("north", "south")
REALM = "company"
STAFF = principals.group(REALM, "/staff")


@cache
def key_of(name: str) -> rsa.RSAPrivateKey:
    """The key of this company's identity provider."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True)
class Everybody:
    """Whoever has an account is one of the staff."""

    tenant: str

    def subject(self, who: str) -> str:
        return principals.user(REALM, who)

    def caller(self, subject: str) -> Caller:
        if subject == self.subject("gone"):
            raise NotAuthenticated("the account is disabled")
        return Caller(self.tenant, subject, frozenset({Principal(subject), STAFF}))


@dataclass(frozen=True)
class House:
    """One company: its own Kustos, its own application, and tokens of its people."""

    name: str
    kustos: Kustos
    ingesting: Ingesting
    app: FastAPI
    local: LocalOperator

    @property
    def host(self) -> str:
        return f"{self.name}.example"

    @property
    def issuer(self) -> str:
        return issuer_of(self.name)

    def token(self, subject: str = "ann", **changes: object) -> str:
        usual: dict[str, Any] = {"iss": self.issuer, "sub": subject, "groups": ["/staff"]}
        payload = json.dumps(claims(**{**usual, **changes})).encode()
        return jwt.PyJWS().encode(payload, key_of(self.name), "RS256", headers={"kid": KID})

    def key(self, subject: str = "ann") -> str:
        who = principals.user(REALM, subject)
        return issue(self.kustos.records, who, [KeyScope.QUERY], name="", days=1, by=who)[0].text

    def document(self, name: str) -> str:
        return document_id(self.name, SOURCE, name)

    def take_in(self, source: MemorySource) -> None:
        kustos = self.kustos
        reader = DocumentReader(self.name, parse_lines, chunker_by_line(), kustos.detector)
        Ingestion(
            self.name,
            kustos.records.writer,
            kustos.index_writer,
            embedder=kustos.embedder,
            lexical=kustos.lexical,
            reader=reader,
        ).sync(source)


def issuer_of(name: str) -> str:
    return f"https://id.example/realms/{name}"


def settings_of(name: str, home: Path, **settings: Any) -> Settings:
    usual = {"requests_per_subject": 0, "requests_per_key": 0, "failures_per_address": 0}
    where = {"page_url": f"https://{name}.example", "public_name": f"{name}.example"}
    return Settings(home=home / name, tenant=name, **{**usual, **where, **settings})


@contextmanager
def house(settings: Settings, embedder: WordEmbedder) -> Iterator[House]:
    kustos = open_kustos(settings, embedder)
    ingesting = Ingesting(kustos)
    try:
        name = settings.tenant
        keys = StaticKeys({KID: jwk(key_of(name))})
        issuer = Issuer(issuer_of(name), AUDIENCE, REALM, name, frozenset({"web"}), keys, AsIssued())
        local = LocalOperator.load(settings.home)
        app = create_app(kustos, Identity([issuer]), None, local, ingesting, subjects=Everybody(name))
        yield House(name, kustos, ingesting, app, local)
    finally:
        ingesting.close()
        kustos.close()


@contextmanager
def street(
    home: Path,
    names: Sequence[str] = NAMES,
    base: Settings | None = None,
    clock: Callable[[], float] = time.monotonic,
    **settings: Any,
) -> Iterator[Street]:
    """The companies, each with a document `plan` of its own text that all staff may read."""
    embedder = WordEmbedder()
    with ExitStack() as stack:
        houses = [stack.enter_context(house(settings_of(each, home, **settings), embedder)) for each in names]
        for each in houses:
            source = MemorySource(rights={"p": Acl.of({STAFF})})
            source.write("plan", f"The hotel of {each.name} is blue.")
            each.take_in(source)
        front = Tenants([each.app for each in houses], base or Settings(failures_per_address=0), clock)
        yield Street(houses, front)


@dataclass(frozen=True)
class Street:
    """The companies, and what stands before their applications."""

    houses: Sequence[House]
    front: Tenants

    def client(self, host: str, **headers: str) -> TestClient:
        return TestClient(self.front, base_url=f"https://{host}", headers=headers, follow_redirects=False)
