"""Why a person may or may not read a document: the gate's own rule, with the names of the entries that decided."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rag.access.acl import Acl, Decision, permits
from rag.access.break_glass import NO_GRANTS, extended
from rag.access.directory import Directory
from rag.access.principals import EVERYONE_IN_TENANT, Principal
from rag.access.scope import Caller
from rag.errors import NotFound
from rag.ports import Authority, Grants, GroupChains, Past, PlaceOrigins


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision on one document for one caller, and where it comes from.

    Attributes:
        chains: for each principal that decided, the groups from the person up to it.
        acl_id: the governing place.
        origin: the source's entry that governs the document, for instance a sidecar file.
        problem: why that entry could not be read, if so.
        grants: ids of the break-glass grants that are, or then were, in force for the caller.
        as_of: the moment that it is about; None for now.
    """

    document_id: str
    uri: str
    decision: Decision
    chains: tuple[tuple[Principal, ...], ...]
    acl: Acl
    acl_id: str
    origin: str
    problem: str | None
    grants: tuple[str, ...] = ()
    as_of: datetime | None = None


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
        names, place = tuple(each.id for each in granted), stored.document.acl_id
        origin, problem = self._origins.origin(place)
        return Explanation(
            document_id, stored.document.uri, decision, chains, stored.acl, place, origin, problem, names
        )

    def _chain(self, caller: Caller, principal: Principal) -> tuple[Principal, ...]:
        person = Principal(caller.subject)
        if principal in caller.principals or principal == EVERYONE_IN_TENANT:
            return tuple(dict.fromkeys((person, principal)))
        found = self._groups.chain(caller.tenant, caller.principals, principal)
        return tuple(dict.fromkeys((person, *(found or (principal,)))))


class PastExplainer:
    """The same rule over what was noted: rights, documents and memberships as they were at a moment."""

    def __init__(self, past: Past) -> None:
        self._past = past

    def explain(self, caller: Caller, document_id: str, at: datetime) -> Explanation:
        """Whether somebody who held at least `caller.principals` could read the document at that moment.

        What else he held then is taken from the history, beginning with the person himself.

        Raises:
            NotFound: there was no such document.
            StoreUnavailable: the catalog does not answer.
        """
        document = self._past.document(document_id, at)
        place = self._past.place(document.acl_id, at) if document else None
        if document is None or place is None:
            raise NotFound(
                f"there was no document {document_id!r} at {at.isoformat(timespec='seconds')}, as far as is known"
            )
        chains = self._chains(caller, at)
        decision = permits(chains.keys(), place.acl)
        return Explanation(
            document_id,
            document.uri,
            decision,
            tuple(chains[principal] for principal in decision.matched),
            place.acl,
            document.acl_id,
            place.origin,
            place.problem,
            grants=tuple(self._past.grants(Principal(caller.subject), at)),
            as_of=at,
        )

    def _chains(self, caller: Caller, at: datetime) -> dict[Principal, tuple[Principal, ...]]:
        """Every principal that the caller held, with a shortest chain of groups from the person up to it."""
        person = Principal(caller.subject)
        chains = {each: tuple(dict.fromkeys((person, each))) for each in caller.principals}
        reached = set(caller.principals)
        while reached:
            edges = sorted(self._past.memberships(reached, at))
            reached = set()
            for member, container in edges:
                if container not in chains:
                    chains[container] = (*chains[member], container)
                    reached.add(container)
        if chains:
            chains.setdefault(EVERYONE_IN_TENANT, (person, EVERYONE_IN_TENANT))
        return chains
