"""The capability to read. Only the gate makes one; adapters take it as a required argument and cannot work without."""

from __future__ import annotations

from dataclasses import dataclass

from rag.access.principals import Principal


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: made once per request from a verified token, before the directory widens it."""

    tenant: str
    subject: str
    principals: frozenset[Principal]


@dataclass(frozen=True, slots=True)
class AccessScope:
    """What one caller may read, for one request.

    There is no empty scope and none that means everything: a caller without principals never gets one, and so no query
    is sent for him (FB-02). Constructed by `rag.access.gate` alone; `tests/unit/test_architecture.py` holds that.
    """

    tenant: str
    subject: str
    principals: frozenset[Principal]

    def __post_init__(self) -> None:
        if not self.tenant or not self.subject or not self.principals:
            raise ValueError("an access scope needs a tenant, a subject and at least one principal")
