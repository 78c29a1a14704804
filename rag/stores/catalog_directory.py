"""Group memberships in the catalog: read for every question, replaced as a whole by whoever maintains them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from datetime import UTC, datetime

from sqlalchemy import Connection, bindparam, delete, insert, select

from rag.access.groups import Edge
from rag.access.principals import Principal
from rag.stores.catalog import Catalog
from rag.stores.catalog_history import note_edges
from rag.stores.catalog_revisions import DIRECTORY, DIRECTORY_NOW, renew
from rag.stores.catalog_schema import memberships


class CatalogDirectory:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._revision = catalog.rendered(DIRECTORY_NOW)
        mine = memberships.c.tenant == bindparam("tenant")
        direct = select(memberships.c.container).where(mine, catalog.is_among(memberships.c.member, "ids"))
        reached = direct.cte("reached", recursive=True)
        above = select(memberships.c.container).join(reached, reached.c.container == memberships.c.member).where(mine)
        # UNION, not UNION ALL: a group already reached is not followed again, which ends cycles.
        self._containers = select(reached.union(above).c.container)

    def revision(self, tenant: str) -> int:
        """Another number after every change of the tenant's memberships; 0 before the first."""
        with self._catalog.reading() as connection:
            return self._revision(connection, {"tenant": tenant}).scalar() or 0

    def containers(self, tenant: str, principals: Set[Principal]) -> frozenset[Principal]:
        """Every group that holds one of `principals`, directly or through other groups. Cycles end."""
        ids = self._catalog.among(tenant=tenant, ids=sorted(principals))
        with self._catalog.reading() as connection:
            return frozenset(Principal(each) for each in connection.execute(self._containers, ids).scalars())

    def replace(self, tenant: str, origin: str, edges: Iterable[Edge]) -> None:
        """Makes `edges` all that `origin` (for instance a realm) says; other origins keep theirs. One transaction."""
        with self._catalog.writing() as connection:
            self._catalog.take_turns(connection, f"directory {tenant}")
            if replace_edges(connection, tenant, origin, edges):
                renew(connection, tenant, DIRECTORY)

    def chain(self, tenant: str, members: Set[Principal], container: Principal) -> tuple[Principal, ...]:
        """A shortest chain of groups from one of `members` up to `container`, both included; empty if there is none."""
        below: dict[str, str | None] = dict.fromkeys(members)
        among = self._catalog.is_among(memberships.c.member, "ids")
        held = select(memberships.c.member, memberships.c.container).where(memberships.c.tenant == tenant, among)
        reached = sorted(members)
        with self._catalog.reading() as connection:
            while reached and container not in below:
                edges = sorted(map(tuple, connection.execute(held, self._catalog.among(ids=reached))))
                reached = sorted({upper for _, upper in edges} - below.keys())
                for member, upper in edges:
                    below.setdefault(upper, member)
        return _down(below, container) if container in below else ()


def _down(below: Mapping[str, str | None], container: Principal) -> tuple[Principal, ...]:
    found: list[Principal] = []
    at: str | None = container
    while at is not None:
        found.append(Principal(at))
        at = below[at]
    return tuple(reversed(found))


def replace_edges(connection: Connection, tenant: str, origin: str, edges: Iterable[Edge]) -> bool:
    """Makes `edges` all that `origin` says, and notes it in the history. Whether anything changed."""
    mine = (memberships.c.tenant == tenant) & (memberships.c.origin == origin)
    held = select(memberships.c.member, memberships.c.container).where(mine)
    before = {(Principal(row.member), Principal(row.container)) for row in connection.execute(held)}
    wanted = set(edges)
    ended, begun = sorted(before - wanted), sorted(wanted - before)
    if rows := [{"who": member, "held_by": container} for member, container in ended]:
        theirs = (memberships.c.member == bindparam("who")) & (memberships.c.container == bindparam("held_by"))
        connection.execute(delete(memberships).where(mine, theirs), rows)
    about = {"tenant": tenant, "origin": origin}
    if added := [{**about, "member": member, "container": container} for member, container in begun]:
        connection.execute(insert(memberships), added)
    note_edges(connection, tenant, origin, ended, begun, datetime.now(UTC))
    return bool(ended or begun)
