"""What is recorded of every decision that released or refused passages. Hashes and ids only; no text, no titles."""

from __future__ import annotations

import hashlib
from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum

from rag.access.principals import Principal


class Action(StrEnum):
    SEARCH = "search"
    ANSWER = "answer"
    READ = "read"
    LIST = "list"


class Outcome(StrEnum):
    RELEASED = "released"
    NOTHING = "nothing"  # found nothing that the caller may read; absent and hidden are not told apart
    NO_PRINCIPALS = "no_principals"


@dataclass(frozen=True, slots=True)
class Purpose:
    """Why something is read: for the audit record alone, without any influence on the decision."""

    action: Action
    request_id: str
    question: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One decision. `released` holds pairs of chunk or document id and document version."""

    tenant: str
    subject: str
    principals_hash: str
    purpose: Purpose
    outcome: Outcome
    released: tuple[tuple[str, str], ...]
    stale_index: int = 0

    @property
    def question_hash(self) -> str | None:
        """sha256 hex of the question; None where nothing was asked."""
        question = self.purpose.question
        return None if question is None else hashlib.sha256(question.encode("utf-8", "surrogatepass")).hexdigest()


def principals_hash(principals: Set[Principal]) -> str:
    """sha256 hex over the sorted principals: tells whether two decisions had the same rights, and nothing else."""
    return hashlib.sha256("\0".join(sorted(principals)).encode("utf-8", "surrogatepass")).hexdigest()
