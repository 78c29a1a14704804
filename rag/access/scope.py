"""The capability to read. Only the gate makes one; adapters take it as a required argument and cannot work without."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field, replace

from rag.access.principals import Principal


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: made once per request from a verified token, before the directory widens it.

    `client` is what he came with, for the audit alone: the client that his token was issued to, or `key:ID`. With the
    same rights he is the same caller.
    """

    tenant: str
    subject: str
    principals: frozenset[Principal]
    client: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class AccessScope:
    """What one caller may read, for one request.

    There is no empty scope and none that means everything: a caller without principals never gets one, and so no query
    is sent for him (FB-02). Constructed by `rag.access.gate` alone; `tests/unit/test_architecture.py` holds that.

    `grants` are the ids of the break-glass grants that are part of `principals`, and `client` is what the caller came
    with; both for the audit alone.

    `without_acls` are governing places (`acl_id`) that the catalog has closed to the caller while the index still shows
    the older rights; adapters exclude them as they exclude what is denied.
    """

    tenant: str
    subject: str
    principals: frozenset[Principal]
    without_acls: frozenset[str] = frozenset()
    grants: tuple[str, ...] = ()
    client: str = ""

    def __post_init__(self) -> None:
        if not self.tenant or not self.subject or not self.principals:
            raise ValueError("an access scope needs a tenant, a subject and at least one principal")

    def excluding(self, acl_ids: Set[str]) -> AccessScope:
        """This scope without the documents under `acl_ids`: it can only narrow."""
        return replace(self, without_acls=self.without_acls | acl_ids)

    def limited_to(self, named: Set[Principal]) -> AccessScope:
        """This scope without principals that no place names: they allow and deny nothing, and a filter costs by them.

        Only for asking the index. What it proposes is put to `permits` with all of them.
        """
        return replace(self, principals=self.principals & named)
