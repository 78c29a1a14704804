"""What Kustos keeps and hands out, as frozen values. No I/O, no vendor types."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

_NAMESPACE = uuid.UUID("6b757374-6f73-5f64-8f63-756d656e7473")
HEADING_SEPARATOR = " › "
SORTED_CHARS = 300
"""So much of its uri a document is listed by: what a database can index is bounded, and uris are not."""
INSIDE = "!/"
"""Between the uri of a file and the name of one inside it, as in `mails/offer.eml!/price list.xlsx`."""
_SCHEME = "file://"
_AS_STORED = re.compile(_SCHEME + r"(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})*")

Position = tuple[str, str]
"""Where a document stands in a listing: the beginning of its uri, and its id."""


def document_id(tenant: str, source: str, item: str) -> str:
    """UUID of the document `item` (the source's own immutable id) in `source` of `tenant`. Same in, same out."""
    return str(uuid.uuid5(_NAMESPACE, "\0".join(("document", tenant, source, item))))


def attachment_id(parent: str, name: str, occurrence: int) -> str:
    """UUID of the file `name` inside the document `parent`; `occurrence` from 1 tells equal names apart.

    No item of a source can have such an id, whatever it is called (IN-14).
    """
    return str(uuid.uuid5(_NAMESPACE, "\0".join(("attachment", parent, name, str(occurrence)))))


def addresses(given: str) -> tuple[str, ...]:
    """The uris that an address may mean, first of all itself.

    People write umlauts and blanks where a connector percent-encodes the bytes of the name; the name of a file inside
    another stays as it is. An address that is written as connectors write it means nothing else.
    """
    if not given.startswith(_SCHEME) or _AS_STORED.fullmatch(given):
        return (given,)
    outer, inside, name = given.partition(INSIDE)
    return given, _encoded(given), f"{_encoded(outer)}{inside}{name}"


def _encoded(address: str) -> str:
    return _SCHEME + quote(os.fsencode(address.removeprefix(_SCHEME)))


def acl_id(tenant: str, source: str, reference: str) -> str:
    """UUID of the place in a source whose rights govern documents, for instance a folder with a sidecar.

    Many documents share one place, so taking a right away is one row however many passages it affects.
    """
    return str(uuid.uuid5(_NAMESPACE, "\0".join(("acl", tenant, source, reference))))


def chunk_id(document: str, content_hash: str, occurrence: int) -> str:
    """UUID of a chunk: its document, its content, and its how-manieth occurrence (from 0) in that document.

    Independent of version and position, so a chunk that an edit leaves alone keeps its id and its vector; dependent on
    the document, so two documents with the same text keep separate chunks with separate rights (IN-14).
    """
    return str(uuid.uuid5(_NAMESPACE, "\0".join(("chunk", document, content_hash, str(occurrence)))))


@dataclass(frozen=True, slots=True)
class Box:
    """Where something stands on its page, as shares of the page's width and height from the top left corner.

    All four are between 0 and 1, `left` below `right` and `top` below `bottom`, whatever the resolution of an image.
    """

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of one version of a document, small enough to embed and to quote.

    Attributes:
        ordinal: position in the document, from 1; passage number in the API.
        text: what is quoted, exactly `extracted_text[start:end]`.
        heading_path: headings above the chunk, outermost first.
        page: page or slide number from 1; None where the format has none.
        start, end: character span in the document's extracted text.
        language: ISO 639-1 code.
        content_hash: sha256 hex of `indexed_text` and the language; equal hash, equal vectors.
        boxes: where the text stands on `page`, in reading order; none where the format has no pages to look at.
        confidence: of character recognition, 0 to 1, the lowest of what the chunk holds; None where nothing had to be
            recognised.
    """

    id: str
    document_id: str
    ordinal: int
    text: str
    heading_path: tuple[str, ...]
    page: int | None
    start: int
    end: int
    language: str
    content_hash: str
    boxes: tuple[Box, ...] = ()
    confidence: float | None = None

    @property
    def indexed_text(self) -> str:
        return indexed_text(self.heading_path, self.text)


def indexed_text(heading_path: tuple[str, ...], text: str) -> str:
    """What is embedded and indexed: the heading path in front of the text. The path is never part of a quotation."""
    return f"{HEADING_SEPARATOR.join(heading_path)}\n{text}" if heading_path else text


def content_hash(heading_path: tuple[str, ...], text: str, language: str) -> str:
    """sha256 hex over everything that the vectors of a chunk depend on, beside the model."""
    return hashlib.sha256("\0".join((language, indexed_text(heading_path, text))).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Document:
    """One document as the catalog knows it.

    Attributes:
        version: sha256 hex of the bytes that were read.
        author: as the file names it; empty where it does not.
        created_at: as the file says; None where it does not.
        parent_id: the listed document that this one came in, attached or packed, at whatever depth; its rights are
            those of that one.
    """

    id: str
    tenant: str
    source: str
    uri: str
    title: str
    media_type: str
    language: str
    version: str
    acl_id: str
    bytes: int
    modified_at: datetime | None
    passages: int
    author: str = ""
    created_at: datetime | None = None
    parent_id: str | None = None

    @property
    def position(self) -> Position:
        return self.uri[:SORTED_CHARS], self.id


@dataclass(frozen=True, slots=True)
class KnownItem:
    """A document as the catalog has it.

    Attributes:
        change_token: of the listing that its last attempt was made for; "" asks for another attempt.
        acl_reference: place that governs it in the catalog.
        refused: the content listed with `change_token` could not be read; passages, if any, are of an older version.
    """

    document_id: str
    item_id: str
    change_token: str
    acl_reference: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that the gate released to one caller, with what a citation needs."""

    chunk: Chunk
    document: Document
    rank: int


WEIGHT_STEP = 2.0**-9
"""Term weights of passages are multiples of this, so that sums of them need no rounding (rag.access.term_weights)."""


@dataclass(frozen=True, slots=True)
class SparseVector:
    """Term ids and weights, `uint32[n]` and `float32[n]`, in increasing order of ids."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """One question, ready for the index.

    Attributes:
        dense: float32[dim], normalised; None leaves the dense leg out.
        lexical: query term weights; the gate puts IDF into them. None leaves the lexical leg out.
        language: ISO 639-1 code, as detected.
        narrow: further conditions of the caller, field to accepted values, already validated; can only narrow.
    """

    dense: tuple[float, ...] | None
    lexical: SparseVector | None
    language: str
    narrow: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk id proposed by the index. Nothing of it may be shown before the catalog has confirmed it.

    Scores are unbounded, higher is better; None where that leg has none for the chunk. They never leave the service.
    `language` is empty until the catalog has confirmed the candidate.
    """

    chunk_id: str
    dense: float | None
    lexical: float | None
    language: str = ""


@dataclass(frozen=True, slots=True)
class IndexPoint:
    """What the index stores of a chunk: vectors and the fields that filters need. The text stays in the catalog."""

    chunk_id: str
    document_id: str
    source: str
    language: str
    tenant: str
    acl_id: str
    allow: tuple[str, ...]
    deny: tuple[str, ...]
    dense: tuple[float, ...]
    lexical: SparseVector


@dataclass(frozen=True, slots=True)
class IndexProfile:
    """What an index was built with. A different profile means different vectors, so it is refused."""

    model: str
    dimension: int
    query_prefix: str
    document_prefix: str
    sha256: str
    schema: int = 2

    def fingerprint(self) -> str:
        """16 hex digits that differ for profiles that differ; names the index."""
        parts = (self.model, self.dimension, self.query_prefix, self.document_prefix, self.sha256, self.schema)
        return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]
