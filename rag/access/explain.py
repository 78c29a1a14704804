"""Why a person may or may not read a document: the gate's own rule, with the names of the entries that decided."""

from __future__ import annotations

from dataclasses import dataclass

from rag.access.acl import Acl, Decision, permits
from rag.access.break_glass import NO_GRANTS, extended
from rag.access.directory import Directory
from rag.access.principals import EVERYONE_IN_TENANT, Principal
from rag.access.scope import Caller
from rag.errors import NotFound
from rag.ports import Authority, Grants, GroupChains, PlaceOrigins


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision on one document for one caller, and where it comes from.

    Attributes:
        chains: for each principal that decided, the groups from the caller's own principal up to it.
        origin: the source's entry that governs the document, for instance a sidecar file.
        problem: why that entry could not be read, if so.
        grants: ids of the break-glass grants that are in force for the caller.
    """

    document_id: str
    uri: str
    decision: Decision
    chains: tuple[tuple[Principal, ...], ...]
    acl: Acl
    origin: str
    problem: str | None
    grants: tuple[str, ...] = ()


class Explainer:
    """Derives from `permits`, like search and read, so that the explanation cannot differ from what happens."""

    def __init__(
        self,
        authority: Authority,
        directory: Directory,
        groups: GroupChains,
        origins: PlaceOrigins,
        grants: Grants = NO_GRANTS,
    ) -> None:
        self._authority = authority
        self._directory = directory
        self._groups = groups
        self._origins = origins
        self._grants = grants

    def explain(self, caller: Caller, document_id: str) -> Explanation:
        """Whether `caller` may read the document now, by which rule and through which groups.

        For operators: it tells of documents that the caller may not read.

        Raises:
            NotFound: the tenant has no such document.
            StoreUnavailable: the catalog does not answer.
        """
        stored = self._authority.document(caller.tenant, document_id)
        if stored is None:
            raise NotFound(f"there is no document {document_id!r}")
        granted = self._grants.in_force(caller.tenant, caller.subject)
        caller = extended(caller, granted)
        decision = permits(self._directory.widen(caller), stored.acl)
        chains = tuple(self._chain(caller, principal) for principal in decision.matched)
        origin, problem = self._origins.origin(stored.document.acl_id)
        names = tuple(each.id for each in granted)
        return Explanation(document_id, stored.document.uri, decision, chains, stored.acl, origin, problem, names)

    def _chain(self, caller: Caller, principal: Principal) -> tuple[Principal, ...]:
        if principal in caller.principals or principal == EVERYONE_IN_TENANT:
            return (principal,)
        found = (self._groups.chain(caller.tenant, own, principal) for own in sorted(caller.principals))
        return min(filter(None, found), key=len, default=(principal,))
