"""A company of 100,000 chunks out of a fixed seed: topics, folders, groups, and questions about them.

Nearest neighbours are only hard to find where vectors have the structure of real ones, and filters are only hard where
rights do not follow topics at random: so chunks of a folder share a topic, and a folder's rights cover all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from rag.access import principals
from rag.access.acl import Acl
from rag.access.principals import EVERYONE_IN_TENANT, Principal
from rag.access.scope import Caller
from rag.documents import (
    WEIGHT_STEP,
    Chunk,
    Document,
    IndexPoint,
    Question,
    SparseVector,
    acl_id,
    chunk_id,
    document_id,
)
from rag.ports import Vectors
from rag.stores.catalog_writing import NewVersion, Place

SEED = 20_240_601
TENANT = "bench"
SOURCE = "share"
REALM = "bench"
DIMENSION = 384
LANGUAGE = "de"
DOCUMENTS = 10_000
CHUNKS_A_DOCUMENT = 10
FOLDERS = 500
TOPICS = 200
GROUPS = 4_000
OPEN_FOLDERS = 0.03  # to everyone in the tenant
SPREAD = 0.9  # length of the noise beside a topic's vector of length 1
VOCABULARY = 50_000
STOP_WORDS = 100  # the most frequent words of a language, which the lexical encoder leaves out
TERMS_A_CHUNK = 60
TERMS_A_QUESTION = 6
CHARACTERS_A_CHUNK = 800

ARCHIVE = FOLDERS  # number of the folder behind the others
ARCHIVE_ACL = Acl.of(allow={principals.group(REALM, "/archivists")})

Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class Written:
    """One document with what catalog and index are given of it."""

    version: NewVersion
    points: tuple[IndexPoint, ...]


@dataclass(frozen=True, slots=True)
class Company:
    """Topics, terms and rights; documents are made as they are asked for.

    Attributes:
        topics: float32[topics, dim], normalised.
        words: the vocabulary, most frequent first.
        cumulative: float64[vocabulary], running sum of the words' frequencies by Zipf's law, ending at 1.
        acls: rights of each folder.
    """

    topics: Vectors
    words: tuple[str, ...]
    cumulative: NDArray[np.float64]
    acls: tuple[Acl, ...]

    def places(self) -> list[Place]:
        """Every folder with its rights."""
        return [Place(_folder(at), acl, origin="bench") for at, acl in enumerate(self.acls)]

    def documents(self) -> Iterator[Written]:
        """`DOCUMENTS` documents spread over the folders, the same ones each time."""
        random = np.random.default_rng(SEED + 1)
        for number in range(DOCUMENTS):
            yield self._document(random, number, number % FOLDERS)

    def archive(self) -> Iterator[Written]:
        """As many further documents, all of them in one folder: `ARCHIVE`."""
        random = np.random.default_rng(SEED + 4)
        for number in range(DOCUMENTS, 2 * DOCUMENTS):
            yield self._document(random, number, ARCHIVE)

    def questions(self, number: int) -> list[Question]:
        """Questions near random topics, in random frequent and rare words."""
        random = np.random.default_rng(SEED + 2)
        topics = random.integers(len(self.topics), size=number)
        dense = self._near(random, topics)
        return [
            Question(tuple(vector.tolist()), self._terms(random, TERMS_A_QUESTION, weighted=False), LANGUAGE)
            for vector in dense
        ]

    def _document(self, random: Generator, number: int, folder: int) -> Written:
        identifier = document_id(TENANT, SOURCE, str(number))
        dense = self._near(random, np.full(CHUNKS_A_DOCUMENT, number % TOPICS))
        texts = [self._text(random) for _ in range(CHUNKS_A_DOCUMENT)]
        chunks = tuple(_chunk(identifier, at, text) for at, text in enumerate(texts))
        about = _about(identifier, number, folder)
        acl = self.acls[folder]
        points = tuple(
            IndexPoint(
                chunk_id=chunk.id,
                document_id=identifier,
                source=SOURCE,
                language=chunk.language,
                tenant=TENANT,
                acl_id=about.acl_id,
                allow=tuple(sorted(acl.allow)),
                deny=tuple(sorted(acl.deny)),
                dense=tuple(vector.tolist()),
                lexical=self._terms(random, TERMS_A_CHUNK, weighted=True),
            )
            for chunk, vector in zip(chunks, dense, strict=True)
        )
        return Written(NewVersion(about, str(number), "1", chunks), points)

    def _near(self, random: Generator, topics: NDArray[np.int64]) -> Vectors:
        noise = random.standard_normal((len(topics), DIMENSION)) * (SPREAD / DIMENSION**0.5)
        return _normalised(self.topics[topics] + noise)

    def _terms(self, random: Generator, number: int, *, weighted: bool) -> SparseVector:
        """Distinct terms by Zipf's law; weights as BM25 gives them to a chunk, or 1 as in a question."""
        terms = np.unique(self._drawn(random, number))
        weights = _in_steps(random.uniform(0.6, 1.8, len(terms))) if weighted else np.ones(len(terms))
        return SparseVector(tuple(terms.tolist()), tuple(weights.tolist()))

    def _text(self, random: Generator) -> str:
        drawn = self._drawn(random, CHARACTERS_A_CHUNK // 5).tolist()
        return " ".join([self.words[each] for each in drawn])[:CHARACTERS_A_CHUNK]

    def _drawn(self, random: Generator, number: int) -> NDArray[np.int64]:
        return np.minimum(self.cumulative.searchsorted(random.random(number)), VOCABULARY - 1)


def company() -> Company:
    """The company, always the same."""
    random = np.random.default_rng(SEED)
    weights = 1 / (np.arange(1, VOCABULARY + 1) + STOP_WORDS)
    return Company(
        topics=_normalised(random.standard_normal((TOPICS, DIMENSION))),
        words=tuple(_word(random) for _ in range(VOCABULARY)),
        cumulative=np.cumsum(weights / weights.sum()),
        acls=(*(_acl(random) for _ in range(FOLDERS)), ARCHIVE_ACL),
    )


def caller(number_of_principals: int, *, archivist: bool = False, seed: int = SEED + 3) -> Caller:
    """Somebody who is himself and a member of random groups; the gate adds everyone in the tenant."""
    random = np.random.default_rng(seed)
    groups = random.choice(GROUPS, size=number_of_principals - 2 - archivist, replace=False)
    held = {_group(int(each)) for each in groups} | {principals.user(REALM, "reader")}
    return Caller(TENANT, "reader", frozenset(held | ARCHIVE_ACL.allow if archivist else held))


def readable_share(who: Caller, acls: tuple[Acl, ...]) -> float:
    """Share of the folders (all but the archive) that `who` may read; each holds equally many chunks."""
    held = who.principals | {EVERYONE_IN_TENANT}
    return sum(bool(acl.allow & held) and not acl.deny & held for acl in acls[:FOLDERS]) / FOLDERS


def _acl(random: Generator) -> Acl:
    """One to four groups or everyone; sometimes somebody is denied in spite of his group."""
    if random.random() < OPEN_FOLDERS:
        return Acl.of(allow={EVERYONE_IN_TENANT})
    allow = {_group(int(each)) for each in random.choice(GROUPS, size=int(random.integers(1, 5)), replace=False)}
    deny = {principals.user(REALM, f"denied-{random.integers(100)}")} if random.random() < 0.1 else set()
    return Acl.of(allow=allow, deny=deny)


def _group(number: int) -> Principal:
    return principals.group(REALM, f"/company/department-{number % 40}/team-{number}")


def _folder(number: int) -> str:
    return f"folder-{number}"


def archive_place(acl: Acl) -> Place:
    """The archive with other rights."""
    return Place(_folder(ARCHIVE), acl, origin="bench")


def _about(identifier: str, number: int, folder: int) -> Document:
    return Document(
        id=identifier,
        tenant=TENANT,
        source=SOURCE,
        uri=f"{_folder(folder)}/document-{number}.txt",
        title=f"Document {number}",
        media_type="text/plain",
        language=LANGUAGE,
        version=sha256(identifier.encode()).hexdigest(),
        acl_id=acl_id(TENANT, SOURCE, _folder(folder)),
        bytes=CHUNKS_A_DOCUMENT * CHARACTERS_A_CHUNK,
        modified_at=None,
        passages=CHUNKS_A_DOCUMENT,
    )


def _chunk(document: str, at: int, text: str) -> Chunk:
    digest = sha256(text.encode()).hexdigest()
    start = at * (CHARACTERS_A_CHUNK + 2)
    return Chunk(
        id=chunk_id(document, digest, 0),
        document_id=document,
        ordinal=at + 1,
        text=text,
        heading_path=("Handbook",),
        page=None,
        start=start,
        end=start + len(text),
        language=LANGUAGE,
        content_hash=digest,
    )


def _word(random: Generator) -> str:
    return "".join(random.choice(list("abcdefghiklmnoprstuwz"), size=int(random.integers(3, 9))))


def _in_steps(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.round(weights / WEIGHT_STEP) * WEIGHT_STEP


def _normalised(vectors: NDArray[np.float64]) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)
