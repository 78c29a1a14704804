"""Hand-written stand-ins for the ports: small, right, and without any product behind them.

The index really filters, by `permits` and the scope, so that a test over these fakes can find a leak above them.
"""

from __future__ import annotations

import re
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rag.access.acl import Acl, permits
from rag.access.audit import AuditRecord, Deed
from rag.access.principals import Principal
from rag.access.scope import AccessScope
from rag.documents import Candidate, IndexPoint, IndexProfile, Passage, Question, SparseVector
from rag.errors import BadFilter, NotFound, StoreUnavailable
from rag.ports import Answerer, OnProgress, Vectors

DIMENSION = 64
NARROWABLE = {"source": "source", "document": "document_id", "language": "language"}
GERMAN = re.compile(r"[äöüß]|\b(der|die|das|und|ist|wie|wer|was|viel|nicht|ein|eine|für)\b", re.IGNORECASE)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


class WordEmbedder:
    """A vector counts words, each hashed to one of 64 places: texts with the same words are close."""

    profile = IndexProfile("words", DIMENSION, "", "", "0" * 64)
    max_tokens = 512

    def count_tokens(self, text: str) -> int:
        return len(words(text))

    def embed_documents(self, texts: Sequence[str], on_progress: OnProgress | None = None) -> Vectors:
        vectors = [self.embed_question(text) for text in texts]
        if on_progress:
            on_progress(len(texts))
        return np.array(vectors, dtype=np.float32).reshape(len(texts), DIMENSION)

    def embed_question(self, text: str) -> Vectors:
        vector = np.full(DIMENSION, 1e-6, dtype=np.float32)
        for word in words(text):
            vector[zlib.crc32(word.encode()) % DIMENSION] += 1
        return vector / np.linalg.norm(vector)


class WordEncoder:
    """Every word is a term, with its count as weight. No stemming."""

    def document(self, text: str, language: str) -> SparseVector:
        counts = sorted(Counter(zlib.crc32(word.encode()) for word in words(text)).items())
        return SparseVector(tuple(term for term, _ in counts), tuple(float(count) for _, count in counts))

    def question(self, text: str, languages: Sequence[str]) -> SparseVector:
        terms = sorted({zlib.crc32(word.encode()) for word in words(text)})
        return SparseVector(tuple(terms), (1.0,) * len(terms))


class GermanOrEnglish:
    """German if a word or letter says so, else English."""

    def detect(self, text: str) -> str:
        return "de" if GERMAN.search(text) else "en"


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: float = field(default_factory=time.time)

    def __call__(self) -> float:
        return self.now


@dataclass
class MemoryIndex:
    """An index in a dictionary: reader and writer in one. `down` makes every search fail, `searched` counts them."""

    stored: dict[str, IndexPoint] = field(default_factory=dict)
    profile: IndexProfile = WordEmbedder.profile
    down: bool = False
    searched: int = 0

    @property
    def reader(self) -> MemoryIndex:
        return self

    @property
    def writer(self) -> MemoryIndex:
        return self

    def points(self) -> int:
        if self.down:
            raise StoreUnavailable("the index does not answer: disk /srv/index is gone")
        return len(self.stored)

    def close(self) -> None:
        self.stored.clear()

    def candidates(self, scope: AccessScope, question: Question, limit: int) -> Sequence[Candidate]:
        self.searched += 1
        if self.down:
            raise StoreUnavailable("the index does not answer: disk /srv/index is gone")
        readable = [each for each in self.stored.values() if _readable(scope, each) and _fits(question, each)]
        dense = _best(readable, lambda point: _dot(question.dense, point), limit)
        lexical = _best(readable, _products(question.lexical), limit)
        return [Candidate(each, dense.get(each), lexical.get(each)) for each in {**dense, **lexical}]

    def upsert(self, points: Sequence[IndexPoint]) -> None:
        self.stored.update({each.chunk_id: each for each in points})

    def delete(self, chunk_ids: Sequence[str]) -> None:
        for each in chunk_ids:
            self.stored.pop(each, None)

    def set_acl(self, acl_id: str, acl: Acl) -> None:
        self._change(lambda point: point.acl_id == acl_id, acl_id, acl)

    def move(self, document_ids: Sequence[str], acl_id: str, acl: Acl) -> None:
        self._change(lambda point: point.document_id in document_ids, acl_id, acl)

    def settle(self) -> None:
        pass

    def _change(self, concerned: Callable[[IndexPoint], bool], acl_id: str, acl: Acl) -> None:
        allow, deny = tuple(sorted(acl.allow)), tuple(sorted(acl.deny))
        changed = [
            replace(each, acl_id=acl_id, allow=allow, deny=deny) for each in self.stored.values() if concerned(each)
        ]
        self.upsert(changed)


def _readable(scope: AccessScope, point: IndexPoint) -> bool:
    acl = Acl(frozenset(map(Principal, point.allow)), frozenset(map(Principal, point.deny)))
    return (
        point.tenant == scope.tenant
        and point.acl_id not in scope.without_acls
        and permits(scope.principals, acl).allowed
    )


def _fits(question: Question, point: IndexPoint) -> bool:
    if unknown := set(question.narrow) - set(NARROWABLE):
        raise BadFilter(f"results cannot be narrowed by {sorted(unknown)}")
    return all(getattr(point, NARROWABLE[name]) in values for name, values in question.narrow.items())


def _dot(question: tuple[float, ...] | None, point: IndexPoint) -> float | None:
    return None if question is None else float(np.dot(question, point.dense))


def _products(question: SparseVector | None) -> Callable[[IndexPoint], float | None]:
    """The sum of products of weights, and None for points without any of the terms."""
    asked = dict(zip(question.indices, question.values, strict=True)) if question else {}

    def score(point: IndexPoint) -> float | None:
        weights = dict(zip(point.lexical.indices, point.lexical.values, strict=True))
        found = asked.keys() & weights.keys()
        return sum(asked[term] * weights[term] for term in found) if found else None

    return score


def _best(points: Sequence[IndexPoint], score: Callable[[IndexPoint], float | None], limit: int) -> dict[str, float]:
    scored = [(value, point.chunk_id) for point in points if (value := score(point)) is not None]
    return {identifier: value for value, identifier in sorted(scored, key=lambda each: (-each[0], each[1]))[:limit]}


@dataclass
class QuotingAnswerer:
    """Quotes every passage whole, with its number. `fails_after` pieces it raises `failure`; `closed` tells of its end."""

    model: str = "extractive"
    failure: Exception | None = None
    fails_after: int = 0
    closed: bool = False
    asked: list[str] = field(default_factory=list)
    seen: list[Sequence[Passage]] = field(default_factory=list)

    def answer(self, question: str, passages: Sequence[Passage], language: str) -> Iterator[str]:
        self.asked.append(question)
        self.seen.append(passages)
        try:
            for number, passage in enumerate(passages, start=1):
                if self.failure is not None and number > self.fails_after:
                    raise self.failure
                yield f"{passage.chunk.text} [{number}]\n"
        finally:
            self.closed = True


@dataclass
class NamedAnswerers:
    """Public names, and what answers under each."""

    by_name: dict[str, Answerer]

    def names(self) -> list[str]:
        return list(self.by_name)

    def choose(self, name: str) -> Answerer:
        if name not in self.by_name:
            raise NotFound(f"there is no model {name!r}; there are {', '.join(self.by_name)}")
        return self.by_name[name]


class NoAudit:
    """Keeps nothing: for tests of what is decided before it is recorded."""

    def record(self, record: AuditRecord | Deed) -> None: ...


@dataclass
class MemoryAudit:
    """Keeps the records: decisions in `records`, deeds in `deeds`."""

    records: list[AuditRecord] = field(default_factory=list)
    deeds: list[Deed] = field(default_factory=list)

    def record(self, record: AuditRecord | Deed) -> None:
        if isinstance(record, Deed):
            self.deeds.append(record)
        else:
            self.records.append(record)
