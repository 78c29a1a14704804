"""Group memberships in the catalog: read for every question, replaced as a whole by whoever maintains them."""

from __future__ import annotations

from collections.abc import Iterable, Set
from datetime import UTC, datetime

from sqlalchemy import Connection, bindparam, delete, insert, literal, select, union, update

from rag.access.groups import Edge
from rag.access.principals import Principal
from rag.stores.catalog import Catalog
from rag.stores.catalog_history import note_edges
from rag.stores.catalog_schema import memberships, revisions


class CatalogDirectory:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def revision(self, tenant: str) -> int:
        """Grows with every change of the tenant's memberships; 0 before the first."""
        statement = select(revisions.c.directory).where(revisions.c.tenant == tenant)
        with self._catalog.reading() as connection:
            return connection.execute(statement).scalar() or 0

    def containers(self, tenant: str, principals: Set[Principal]) -> frozenset[Principal]:
        """Every group that holds one of `principals`, directly or through other groups. Cycles end."""
        found: set[str] = set()
        ordered = sorted(principals)
        with self._catalog.reading() as connection:
            for at in range(0, len(ordered), 5_000):
                direct = select(memberships.c.container).where(
                    memberships.c.tenant == literal(tenant), memberships.c.member.in_(ordered[at : at + 5_000])
                )
                reached = direct.cte("reached", recursive=True)
                # UNION, not UNION ALL: a group already reached is not followed again, which ends cycles.
                reached = reached.union(
                    select(memberships.c.container)
                    .join(reached, reached.c.container == memberships.c.member)
                    .where(memberships.c.tenant == literal(tenant))
                )
                found.update(connection.execute(select(reached.c.container)).scalars())
        return frozenset(Principal(each) for each in found)

    def replace(self, tenant: str, origin: str, edges: Iterable[Edge]) -> None:
        """Makes `edges` all that `origin` (for instance a realm) says; other origins keep theirs. One transaction."""
        with self._catalog.writing() as connection:
            if replace_edges(connection, tenant, origin, edges):
                grow_revision(connection, tenant)

    def chain(self, tenant: str, member: Principal, container: Principal) -> tuple[Principal, ...]:
        """A shortest chain of groups from `member` up to `container`, both included; empty if there is none."""
        statement = select(memberships.c.member, memberships.c.container).where(memberships.c.tenant == tenant)
        with self._catalog.reading() as connection:
            edges = connection.execute(union(statement)).all()
        above: dict[str, list[str]] = {}
        for lower, upper in edges:
            above.setdefault(lower, []).append(upper)
        paths: list[tuple[str, ...]] = [(member,)]
        seen = {str(member)}
        while paths:
            path = paths.pop(0)
            if path[-1] == container:
                return tuple(Principal(each) for each in path)
            for upper in sorted(above.get(path[-1], [])):
                if upper not in seen:
                    seen.add(upper)
                    paths.append((*path, upper))
        return ()


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


def grow_revision(connection: Connection, tenant: str) -> None:
    """What was remembered of the tenant's memberships is out of date from the commit on."""
    grown = update(revisions).where(revisions.c.tenant == tenant).values(directory=revisions.c.directory + 1)
    if not connection.execute(grown).rowcount:
        connection.execute(insert(revisions).values(tenant=tenant, directory=1))
