"""What is recorded: every decision that released or refused passages, and every deed of those who run Kustos.

Records name people by subject and hold no text unless the settings keep it; what the catalog makes of them, and how
their chain is kept, is in `rag.access.audit_chain` and `rag.stores.catalog_audit`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from enum import StrEnum

from rag.access.principals import Principal


class Action(StrEnum):
    """Why somebody reads."""

    SEARCH = "search"
    ANSWER = "answer"
    READ = "read"
    LIST = "list"
    EVALUATE = "evaluate"  # documents were counted in measures; no text of theirs left


class Act(StrEnum):
    """What is done beside reading."""

    EXPLAIN = "explain"
    INGEST = "ingest"
    SOURCE_FORGOTTEN = "source_forgotten"
    KEY_MADE = "key_made"
    KEY_FIRST_USED = "key_first_used"
    KEY_REVOKED = "key_revoked"
    DIRECTORY_CHANGED = "directory_changed"
    GRANT_PROPOSED = "grant_proposed"
    GRANT_CONFIRMED = "grant_confirmed"
    GRANT_REVOKED = "grant_revoked"
    AUDIT_READ = "audit_read"
    AUDIT_EXPORTED = "audit_exported"
    AUDIT_PRUNED = "audit_pruned"
    PERSON_FORGOTTEN = "person_forgotten"
    TENANT_REMOVED = "tenant_removed"


class Outcome(StrEnum):
    RELEASED = "released"
    NOTHING = "nothing"  # found nothing that the caller may read; absent and hidden are not told apart
    NO_PRINCIPALS = "no_principals"
    DONE = "done"  # a deed


@dataclass(frozen=True, slots=True)
class Purpose:
    """Why something is read: for the audit record alone, without any influence on the decision."""

    action: Action
    request_id: str
    question: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Released:
    """What was released of one document: itself, or passages of it (`chunks`, their ids)."""

    document: str
    version: str
    chunks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One decision.

    Attributes:
        about: id of the document that was asked for, where one was; whether there is one is not said.
        grants: ids of the break-glass grants that were in force.
        client: what the person came with, as in `Caller`.
        texts: the released passages' texts, for the settings that keep them.
    """

    tenant: str
    subject: str
    principals_hash: str
    purpose: Purpose
    outcome: Outcome
    released: tuple[Released, ...]
    stale_index: int = 0
    about: str | None = None
    grants: tuple[str, ...] = ()
    client: str = ""
    texts: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that was done to Kustos, or asked of its records.

    Attributes:
        subject: who did it.
        about: what it was done to: a document, a key, a grant, a source.
        concerning: the subject of another person whom it concerns. People are named here and in `subject` only.
        detail: what else there is to know; no text of documents, no secret, nobody's name.
    """

    tenant: str
    subject: str
    act: Act
    request_id: str
    about: str | None = None
    concerning: str | None = None
    detail: Mapping[str, str | int] = field(default_factory=dict)


def principals_hash(principals: Set[Principal]) -> str:
    """sha256 hex over the sorted principals: tells whether two decisions had the same rights, and nothing else."""
    return hashlib.sha256("\0".join(sorted(principals)).encode("utf-8", "surrogatepass")).hexdigest()
