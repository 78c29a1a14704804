"""The seams of Kustos: what the inside needs from the outside, as Protocols owned by the inside.

Each port has hand-written fakes in `tests/fakes.py` and one contract suite in `tests/contract/`, run by every adapter.
Adapters translate their vendor's errors into the tree of `rag.errors`; nothing else may come out of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rag.access.acl import Acl
from rag.access.audit import AuditRecord, Deed
from rag.access.break_glass import Grant
from rag.access.principals import Principal
from rag.access.scope import AccessScope
from rag.documents import (
    Candidate,
    Chunk,
    Document,
    IndexPoint,
    IndexProfile,
    Passage,
    Position,
    Question,
    SparseVector,
)

Vectors = NDArray[np.float32]
OnProgress = Callable[[int], None]
"""Called with the number of items just finished."""


class Embedder(Protocol):
    """Turns text into dense vectors, with the model's own prefixes for documents and questions."""

    @property
    def profile(self) -> IndexProfile:
        """Model, dimension, prefixes and sha256 of the weights; identifies every vector made here."""

    @property
    def max_tokens(self) -> int:
        """Tokens of one text, prefix included, beyond which the model cuts."""

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` without prefix and special tokens.

        Raises:
            ModelUnavailable: as below.
        """

    def embed_documents(self, texts: Sequence[str], on_progress: OnProgress | None = None) -> Vectors:
        """float32[n, dim], normalised to length 1, in the order of `texts`.

        A text's vector does not depend on the texts beside it.

        Raises:
            ModelUnavailable: the model is not present or its runtime does not answer.
        """

    def embed_question(self, text: str) -> Vectors:
        """float32[dim], normalised to length 1.

        Raises:
            ModelUnavailable: as above.
        """


class LexicalEncoder(Protocol):
    """BM25 term weights by language, in steps of `WEIGHT_STEP`. IDF is not in them: the gate puts it into questions."""

    def document(self, text: str, language: str) -> SparseVector:
        """Term weights of a chunk; `language` (ISO 639-1) chooses stemmer and stop words."""

    def question(self, text: str, languages: Sequence[str]) -> SparseVector:
        """Weight 1 for every distinct term, stemmed in each of `languages`."""


class LanguageDetector(Protocol):
    """Tells in which language a text is."""

    def detect(self, text: str) -> str:
        """ISO 639-1 code of the most likely language; the configured default where the text does not tell."""


class ChunkReader(Protocol):
    """The index as the gate sees it. Nobody but the gate holds one (contract in CI)."""

    def candidates(self, scope: AccessScope, question: Question, limit: int) -> Sequence[Candidate]:
        """The best chunks of each leg that `scope` may read, at most `limit` a leg, best first, without duplicates.

        The scope is a filter inside the query, in the outer query and in every prefetch. A lexical score is the plain
        sum of products of weights; IDF is in the question's. The order is by leg score, equal ones by chunk id; fusing
        the legs is the caller's work.

        A leg is shorter than `limit` only where nothing more is on it, whatever scores are equal: the gate asks deeper
        until then.

        Raises:
            BadFilter: `question.narrow` names a field that is not indexed for callers.
            StoreUnavailable: the engine does not answer.
        """


class ChunkWriter(Protocol):
    """Writes to the index and cannot search: no task of the writing side can read past the gate."""

    def upsert(self, points: Sequence[IndexPoint]) -> None:
        """Writes points durably. Idempotent; an equal id replaces."""

    def delete(self, chunk_ids: Sequence[str]) -> None:
        """Removes points durably. Ids that are not there are no error."""

    def set_acl(self, acl_id: str, acl: Acl) -> None:
        """Rewrites allow and deny on every point governed by `acl_id`, without touching vectors."""

    def move(self, document_ids: Sequence[str], acl_id: str, acl: Acl) -> None:
        """Puts every point of these documents under another `acl_id`, without touching vectors."""

    def settle(self) -> None:
        """Lets the engine merge and index what was written. Results are right before and after."""


@dataclass(frozen=True, slots=True)
class Governed:
    """What the catalog says of a chunk right now: the place its rights come from, what they are, and its language."""

    acl_id: str
    acl: Acl
    language: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A document, or one chunk of it, with the ACL that governs it right now."""

    document: Document
    acl: Acl
    chunk: Chunk | None = None


@dataclass(frozen=True, slots=True)
class GoverningPlace:
    """A place that rights come from: its id, the number under which its terms are counted, and its ACL."""

    id: str
    number: int
    acl: Acl


class Authority(Protocol):
    """The catalog as the gate sees it: current state by id, within one tenant, each row with its ACL.

    It decides nothing; the gate applies the rule. Every method raises StoreUnavailable when the database does not
    answer.
    """

    def governing(self, tenant: str, chunk_ids: Sequence[str]) -> Mapping[str, Governed]:
        """The ACL of each chunk that is part of a current version; other ids are missing from the result."""

    def chunks(self, tenant: str, chunk_ids: Sequence[str]) -> Mapping[str, Stored]:
        """Current chunks by id; ids that are not current are missing from the result."""

    def passages(self, tenant: str, document_id: str, first: int, last: int) -> Sequence[Stored]:
        """The chunks of a document with ordinals `first` to `last`, both included, in order."""

    def document(self, tenant: str, document_id: str) -> Stored | None:
        """A current document; None if there is none."""

    def acls(self, tenant: str) -> Mapping[str, Acl]:
        """Every governing place of a tenant that has documents, with its ACL."""

    def rights_revision(self, tenant: str) -> int:
        """Another number after every change of the tenant's governing places; 0 before the first."""

    def governing_places(self, tenant: str) -> tuple[int, Sequence[GoverningPlace]]:
        """Every governing place of a tenant, with documents or without, and the revision at which they are so."""

    def term_counts(self, places: Sequence[int], terms: Sequence[int]) -> tuple[int, Mapping[int, int]]:
        """How many passages the places with these numbers have, and how many of them hold each term."""

    def documents_governed_by(self, tenant: str, acl_ids: Set[str], after: Position, limit: int) -> Sequence[Document]:
        """Documents under any of `acl_ids` in order of their position, beginning behind `after`."""


class DirectoryEdges(Protocol):
    """Group memberships as the catalog keeps them."""

    def revision(self, tenant: str) -> int:
        """Another number after every change of the tenant's memberships; 0 before the first."""

    def containers(self, tenant: str, principals: Set[Principal]) -> frozenset[Principal]:
        """Every group that holds one of `principals`, directly or through other groups. Cycles end."""


class GroupChains(Protocol):
    """How groups hold each other, for explanations."""

    def chain(self, tenant: str, members: Set[Principal], container: Principal) -> tuple[Principal, ...]:
        """A shortest chain of groups from one of `members` up to `container`, both included; empty if there is none."""


class PlaceOrigins(Protocol):
    """Where ACLs come from, for explanations."""

    def origin(self, acl_id: str) -> tuple[str, str | None]:
        """Which entry of the source an ACL comes from, and why that entry could not be read, if so."""


@dataclass(frozen=True, slots=True)
class PastPlace:
    """What governed documents at a moment: the entry of the source, its rights, and since when they had been so."""

    acl: Acl
    origin: str
    problem: str | None
    since: datetime


@dataclass(frozen=True, slots=True)
class PastDocument:
    """A document as it was at a moment, and since when it had been so."""

    uri: str
    version: str
    acl_id: str
    since: datetime


class Past(Protocol):
    """What held at a moment, within one tenant, as far back as is kept. Moments have a zone."""

    def document(self, document_id: str, at: datetime) -> PastDocument | None:
        """The document at that moment; None where it was not there."""

    def place(self, acl_id: str, at: datetime) -> PastPlace | None:
        """The rights of a governing place at that moment; None where it was not there."""

    def memberships(self, principals: Set[Principal], at: datetime) -> Set[tuple[Principal, Principal]]:
        """The memberships of `principals` at that moment, of people too, as pairs of member and what holds it."""

    def grants(self, person: Principal, at: datetime) -> Sequence[str]:
        """Ids of the break-glass grants that the person held at that moment."""


class AuditLog(Protocol):
    """Where decisions and deeds are recorded."""

    def record(self, record: AuditRecord | Deed) -> None:
        """Writes one record, before anything is released or done.

        Raises:
            StoreUnavailable: it could not be written; the release, or the deed, must not happen.
        """


class Grants(Protocol):
    """Break-glass grants."""

    def in_force(self, tenant: str, subject: str) -> Sequence[Grant]:
        """The grants that somebody holds at this moment.

        Raises:
            StoreUnavailable: nobody can tell.
        """


@dataclass(frozen=True, slots=True)
class Bucket:
    """Whose requests are counted, and how many there may be in a minute; so many can be saved up."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Level:
    """What is in a bucket: whole tokens, seconds until there are as many as were wanted, seconds until it is full."""

    bucket: Bucket
    tokens: int
    next_s: float
    full_s: float

    @classmethod
    def of(cls, bucket: Bucket, full_s: float, window_s: float, wanted: int = 1) -> Level:
        """The level of a bucket that will be full in `full_s` seconds, and fills in `window_s`."""
        step, rounding = window_s / bucket.size, 1e-3
        tokens = int((window_s - full_s + rounding) / step)
        return cls(bucket, max(0, tokens), max(0.0, full_s + wanted * step - window_s), max(0.0, full_s))


@dataclass(frozen=True, slots=True)
class Taken:
    """The levels after a request, and the one that refused it, if one did; then nothing was taken from any."""

    levels: tuple[Level, ...]
    refused: Level | None = None


class Limits(Protocol):
    """Token buckets that all replicas share."""

    def take(self, buckets: Sequence[Bucket], tokens: int = 1) -> Taken:
        """Takes so many tokens from each bucket, or none from any. A bucket that never holds as many refuses.

        Raises:
            StoreUnavailable: nothing is known, so nothing may be let through.
        """

    def give_back(self, bucket: Bucket) -> None:
        """Puts a token back that was taken.

        Raises:
            StoreUnavailable: as above.
        """


class Index(Protocol):
    """One open index: its two narrow faces, and its life."""

    @property
    def reader(self) -> ChunkReader: ...

    @property
    def writer(self) -> ChunkWriter: ...

    @property
    def profile(self) -> IndexProfile: ...

    def points(self) -> int:
        """Number of stored points, for operators only."""

    def close(self) -> None: ...


class Answerer(Protocol):
    """Writes an answer from numbered passages. It sees nothing but the question and those passages."""

    @property
    def model(self) -> str:
        """Public name of what answers, for instance `text-general` or `extractive`."""

    def answer(self, question: str, passages: Sequence[Passage], language: str) -> Iterator[str]:
        """Pieces of the answer as they arise, with citations written `[n]` for `passages[n - 1]`.

        Raises:
            ModelUnavailable: before the first piece or in mid-stream.
        """
