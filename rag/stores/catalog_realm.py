"""What the catalog keeps of a realm: its groups by id, what paths mean, who holds what, and how far that is true."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, Table, delete, insert, select, update

from rag.access.groups import Edge, Group, GroupTree
from rag.access.principals import Principal
from rag.errors import NotFound
from rag.stores.catalog import Catalog
from rag.stores.catalog_directory import replace_edges
from rag.stores.catalog_history import note_edges
from rag.stores.catalog_revisions import DIRECTORY, DIRECTORY_NOW, renew
from rag.stores.catalog_schema import bound_paths, membership_history, realm_groups, realm_syncs

PEOPLE_A_STATEMENT = 1_000


@dataclass(frozen=True, slots=True)
class Followed:
    """How far a realm has been followed.

    Attributes:
        event_id, event_ms: its last event that was, by Keycloak's clock; empty and 0 where there was none.
        full_at: when all of it was read, by ours, as all else is.
        followed_at: when its events were; what happened before that moment is in the catalog.
    """

    event_id: str
    event_ms: int
    full_at: datetime
    followed_at: datetime


class CatalogRealm:
    """One realm of one tenant. Group edges count for rights; what people hold is for explanations only.

    A person's rights come from Keycloak at the moment of the question. An edge from here could give back what Keycloak
    has just taken away, so people stand in the history alone, where `CatalogDirectory.containers` does not look.
    """

    def __init__(self, catalog: Catalog, tenant: str, realm: str) -> None:
        self._catalog = catalog
        self._tenant = tenant
        self._realm = realm
        self._revision = catalog.rendered(DIRECTORY_NOW)
        self._remembered: tuple[int, GroupTree] | None = None

    @property
    def groups_origin(self) -> str:
        """Under this name the realm's group edges stand in the directory."""
        return f"groups:{self._realm}"

    @property
    def people_origin(self) -> str:
        """Under this name what its people hold stands in the history."""
        return f"people:{self._realm}"

    def tree(self) -> GroupTree:
        """The groups as they were last seen; read again only after a change."""
        with self._catalog.reading() as connection:
            revision: int = self._revision(connection, {"tenant": self._tenant}).scalar() or 0
            remembered = self._remembered
            if remembered is None or remembered[0] != revision:
                remembered = self._remembered = revision, self._tree(connection)
        return remembered[1]

    def set_groups(self, groups: Iterable[Group], *, whole: bool) -> None:
        """Takes groups as they are now; `whole`: there are no others. One transaction."""
        found = list(groups)
        with self._catalog.writing() as connection:
            self._alone(connection)
            before = self._tree(connection)
            self._write(connection, before, before.with_groups(found, whole=whole))

    def rebind(self, path: str) -> None:
        """Makes rights for `path` mean the group that has it now; nobody's where none has.

        Raises:
            NotFound: no right for that path means anything yet.
        """
        with self._catalog.writing() as connection:
            self._alone(connection)
            before = self._tree(connection)
            if path not in before.bound:
                raise NotFound(f"no group has ever been seen as {path!r}; see: kustos directory status")
            self._write(connection, before, before.rebound(path))

    def set_people(self, held: Mapping[Principal, Set[Principal]]) -> int:
        """Notes what each of these people holds now; nothing means that he is disabled or gone. How many changed."""
        people, changed = sorted(held), 0
        for at in range(0, len(people), PEOPLE_A_STATEMENT):
            batch = people[at : at + PEOPLE_A_STATEMENT]
            with self._catalog.writing(durable=False) as connection:
                self._alone(connection)
                known = self._held(connection, batch)
                wanted = {(person, each) for person in batch for each in held[person]}
                self._note(connection, known - wanted, wanted - known)
                changed += len({person for person, _ in known ^ wanted})
        return changed

    def people(self) -> set[Principal]:
        """Everybody who holds something as far as is known."""
        with self._catalog.reading() as connection:
            held = connection.execute(select(membership_history.c.member).distinct().where(*self._open))
            return {Principal(each) for each in held.scalars()}

    def followed(self) -> Followed | None:
        """How far the realm has been followed; None before the first full reading."""
        statement = select(*(realm_syncs.c[name] for name in Followed.__slots__)).where(*self._mine(realm_syncs))
        with self._catalog.reading() as connection:
            row = connection.execute(statement).first()
        return Followed(*row) if row else None

    def set_followed(self, followed: Followed) -> None:
        values = {name: getattr(followed, name) for name in Followed.__slots__}
        with self._catalog.writing() as connection:
            if not connection.execute(update(realm_syncs).where(*self._mine(realm_syncs)).values(**values)).rowcount:
                connection.execute(insert(realm_syncs).values(tenant=self._tenant, realm=self._realm, **values))

    def _alone(self, connection: Connection) -> None:
        """Others that change the tenant's directory wait for the end of this transaction, and read what it wrote."""
        self._catalog.take_turns(connection, f"directory {self._tenant}")

    def _tree(self, connection: Connection) -> GroupTree:
        columns = (realm_groups.c.id, realm_groups.c.name, realm_groups.c.path, realm_groups.c.parent_id)
        rows = connection.execute(select(*columns).where(*self._mine(realm_groups)))
        bound = select(bound_paths.c.path, bound_paths.c.group_id).where(*self._mine(bound_paths))
        groups = {row.id: Group(*row) for row in rows}
        return GroupTree(groups, {row.path: row.group_id for row in connection.execute(bound)})

    def _write(self, connection: Connection, before: GroupTree, after: GroupTree) -> None:
        if before == after:
            return
        groups = [each for each in after.groups.values() if not before.agrees_with(each)]
        paths = {path: group for path, group in after.bound.items() if before.bound.get(path) != group}
        self._delete(connection, realm_groups, "id", [*(before.groups.keys() - after.groups), *(g.id for g in groups)])
        self._delete(connection, bound_paths, "path", [*(before.bound.keys() - after.bound), *paths])
        about = {"tenant": self._tenant, "realm": self._realm}
        if groups:
            rows = [{**about, "id": g.id, "name": g.name, "path": g.path, "parent_id": g.parent} for g in groups]
            connection.execute(insert(realm_groups), rows)
        if paths:
            connection.execute(insert(bound_paths), [{**about, "path": p, "group_id": g} for p, g in paths.items()])
        replace_edges(connection, self._tenant, self.groups_origin, after.edges(self._realm))
        renew(connection, self._tenant, DIRECTORY)

    def _delete(self, connection: Connection, table: Table, key: str, values: list[str]) -> None:
        for at in range(0, len(values), PEOPLE_A_STATEMENT):
            batch = values[at : at + PEOPLE_A_STATEMENT]
            connection.execute(delete(table).where(*self._mine(table), table.c[key].in_(batch)))

    def _held(self, connection: Connection, people: list[Principal]) -> set[Edge]:
        history = membership_history.c
        statement = select(history.member, history.container).where(*self._open, history.member.in_(people))
        return {(Principal(member), Principal(held)) for member, held in connection.execute(statement)}

    def _note(self, connection: Connection, ended: Iterable[Edge], begun: Iterable[Edge]) -> None:
        note_edges(connection, self._tenant, self.people_origin, sorted(ended), sorted(begun), datetime.now(UTC))

    @property
    def _open(self) -> tuple[ColumnElement[bool], ...]:
        history = membership_history.c
        return (history.tenant == self._tenant, history.origin == self.people_origin, history.until.is_(None))

    def _mine(self, table: Table) -> tuple[ColumnElement[bool], ...]:
        return (table.c.tenant == self._tenant, table.c.realm == self._realm)
