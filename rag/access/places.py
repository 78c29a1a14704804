"""The places that rights come from, as the catalog has them at this moment, found by the principals that they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from rag.access.acl import permits
from rag.access.principals import Principal
from rag.access.scope import AccessScope
from rag.ports import Authority, GoverningPlace


@dataclass(frozen=True, slots=True)
class Places:
    """Those of one tenant, at one revision of its rights."""

    revision: int
    allowing: Mapping[Principal, Sequence[GoverningPlace]]
    named: frozenset[Principal]
    """Every principal that some place allows or denies. Others decide nothing, however many of them a caller has."""

    def readable(self, scope: AccessScope) -> list[GoverningPlace]:
        """Those that the scope may read, in an order that nothing hidden has a part in."""
        asked = {each.id: each for principal in scope.principals for each in self.allowing.get(principal, ())}
        return [asked[each] for each in sorted(asked) if permits(scope.principals, asked[each].acl).allowed]


class PlacesNow:
    """Reads places from the catalog, again with each revision of rights; the revision is read each time."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._remembered: dict[str, Places] = {}
        self._lock = Lock()

    def of(self, tenant: str) -> Places:
        """The tenant's places at this moment.

        Raises:
            StoreUnavailable: the catalog does not answer.
        """
        revision = self._authority.rights_revision(tenant)
        with self._lock:
            remembered = self._remembered.get(tenant)
        if remembered and remembered.revision == revision:
            return remembered
        revision, found = self._authority.governing_places(tenant)
        allowing = _by_principal(found)
        denied = {principal for place in found for principal in place.acl.deny}
        places = Places(revision, allowing, frozenset({*allowing, *denied}))
        with self._lock:
            self._remembered[tenant] = places
        return places


def _by_principal(places: Sequence[GoverningPlace]) -> Mapping[Principal, Sequence[GoverningPlace]]:
    """Places by each principal that they allow."""
    found: dict[Principal, list[GoverningPlace]] = {}
    for place in places:
        for principal in place.acl.allow:
            found.setdefault(principal, []).append(place)
    return found
