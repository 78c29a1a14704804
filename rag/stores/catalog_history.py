"""What held when: memberships, governing places and documents of the past, for explanations.

Each change is noted in the transaction that makes it. A moment is one of the clock of the process that made the change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    Row,
    Select,
    Table,
    bindparam,
    delete,
    insert,
    literal,
    or_,
    select,
    update,
)

from rag.access.break_glass import Grant
from rag.access.groups import Edge
from rag.access.principals import Principal
from rag.documents import addresses
from rag.ports import PastDocument, PastPlace
from rag.stores.catalog import Catalog
from rag.stores.catalog_rows import acl
from rag.stores.catalog_schema import acl_history, documents, membership_history, versions

GRANT = "grant:"
"""Origin of memberships that a break-glass grant gave, before its id."""
IDS_A_STATEMENT = 5_000
ROWS_A_TRANSACTION = 2_000
"""Questions wait no longer for the database than it takes to forget so many."""


def note_places(connection: Connection, tenant: str, places: Sequence[Mapping[str, object]]) -> None:
    """Notes the rights of governing places, given as rows of `acls`, from their `changed_at` on."""
    columns = ("allow", "deny", "origin", "problem")
    rows = [
        {"tenant": tenant, "acl_id": each["id"], "at": each["changed_at"], **{name: each[name] for name in columns}}
        for each in places
    ]
    if rows:
        connection.execute(insert(acl_history), rows)


def note_documents(connection: Connection, document_ids: Sequence[str], now: datetime, *, gone: bool = False) -> None:
    """Notes version and governing place of documents as they are in this transaction; `gone`: that they leave."""
    about = (documents.c.id, documents.c.tenant, documents.c.uri, documents.c.acl_id)
    version = literal("") if gone else documents.c.version
    state = select(*about, version, documents.c.passages, literal(now, DateTime(timezone=True)))
    names = ["document_id", "tenant", "uri", "acl_id", "version", "passages", "at"]
    for at in range(0, len(document_ids), IDS_A_STATEMENT):
        chosen = documents.c.id.in_(document_ids[at : at + IDS_A_STATEMENT])
        connection.execute(insert(versions).from_select(names, state.where(chosen)))


def note_edges(
    connection: Connection, tenant: str, origin: str, ended: Iterable[Edge], begun: Iterable[Edge], now: datetime
) -> None:
    """Notes that memberships of one origin end and begin now."""
    if rows := [{"who": member, "held_by": container} for member, container in ended]:
        history = membership_history.c
        ending = update(membership_history).where(
            history.tenant == tenant,
            history.origin == origin,
            history.member == bindparam("who"),
            history.container == bindparam("held_by"),
            history.until.is_(None),
        )
        connection.execute(ending.values(until=now), rows)
    about = {"tenant": tenant, "origin": origin, "since": now}
    if added := [{**about, "member": member, "container": container} for member, container in begun]:
        connection.execute(insert(membership_history), added)


def note_grant(connection: Connection, grant: Grant, since: datetime, until: datetime) -> None:
    """Notes what a break-glass grant adds to a person's own from now to the end of its time."""
    about = {"tenant": grant.tenant, "origin": f"{GRANT}{grant.id}", "member": grant.subject, "since": since}
    connection.execute(
        insert(membership_history), [{**about, "container": each, "until": until} for each in grant.principals]
    )


def note_end_of_grant(connection: Connection, grant: Grant, now: datetime) -> None:
    """Notes that a grant ended before its time."""
    history = membership_history.c
    mine = (history.tenant == grant.tenant) & (history.origin == f"{GRANT}{grant.id}") & (history.until > now)
    connection.execute(update(membership_history).where(mine).values(until=now))


class CatalogHistory:
    """Answers for the past, within one tenant. Every moment that is given has a zone."""

    def __init__(self, catalog: Catalog, tenant: str) -> None:
        self._catalog = catalog
        self._tenant = tenant

    def document(self, document_id: str, at: datetime) -> PastDocument | None:
        """The document at that moment; None where it was not there."""
        columns = (versions.c.uri, versions.c.version, versions.c.acl_id, versions.c.at)
        mine = (versions.c.tenant == self._tenant) & (versions.c.document_id == document_id)
        row = self._last(select(*columns).where(mine), versions, at)
        return PastDocument(row.uri, row.version, row.acl_id, row.at) if row and row.version else None

    def document_at(self, address: str, at: datetime) -> str | None:
        """Id of the last document that had this address at or before that moment; None if there was none."""
        mine = select(versions.c.document_id).where(versions.c.tenant == self._tenant)
        for uri in addresses(address):
            if row := self._last(mine.where(versions.c.uri == uri), versions, at):
                return str(row.document_id)
        return None

    def place(self, acl_id: str, at: datetime) -> PastPlace | None:
        """The rights of a governing place at that moment; None where it was not there, or nothing is known any more."""
        columns = (acl_history.c.allow, acl_history.c.deny, acl_history.c.origin, acl_history.c.problem)
        mine = (acl_history.c.tenant == self._tenant) & (acl_history.c.acl_id == acl_id)
        row = self._last(select(*columns, acl_history.c.at).where(mine), acl_history, at)
        return PastPlace(acl(row.allow, row.deny), row.origin, row.problem, row.at) if row else None

    def memberships(self, principals: Set[Principal], at: datetime) -> set[Edge]:
        """The memberships of `principals` at that moment, of people too, as pairs of member and what holds it."""
        history = membership_history.c
        held = select(history.member, history.container).where(
            history.tenant == self._tenant,
            history.since <= at,
            or_(history.until.is_(None), history.until > at),
            self._catalog.is_among(history.member, "ids"),
        )
        with self._catalog.reading() as connection:
            rows = connection.execute(held, self._catalog.among(ids=sorted(principals)))
            return {(Principal(member), Principal(container)) for member, container in rows}

    def grants(self, person: Principal, at: datetime) -> list[str]:
        """Ids of the break-glass grants that the person held at that moment."""
        history = membership_history.c
        held = select(history.origin).where(
            history.tenant == self._tenant,
            history.since <= at,
            or_(history.until.is_(None), history.until > at),
            history.member == person,
            history.origin.startswith(GRANT),
        )
        with self._catalog.reading() as connection:
            return sorted({origin.removeprefix(GRANT) for origin in connection.execute(held).scalars()})

    @staticmethod
    def now() -> datetime:
        """The moment up to which this process has noted everything."""
        return datetime.now(UTC)

    def prune(self, before: datetime) -> int:
        """Forgets what ended before that moment; what held then, and since, stays. Returns how many entries left."""
        gone = self._remove(membership_history, membership_history.c.until < before)
        for table, key in ((versions, "document_id"), (acl_history, "acl_id")):
            later = table.alias()
            same = (later.c.tenant == table.c.tenant) & (later.c[key] == table.c[key])
            followed = select(later.c.id).where(same, later.c.id > table.c.id, later.c.at < before)
            gone += self._remove(table, followed.exists())
        return gone

    def _remove(self, table: Table, ended: ColumnElement[bool]) -> int:
        """Removes this tenant's rows of which that is true, some at a time. How many there were."""
        gone, last = 0, 0
        while True:
            mine = select(table.c.id).where(table.c.tenant == self._tenant, table.c.id > last, ended)
            with self._catalog.reading() as connection:
                found = list(connection.execute(mine.order_by(table.c.id).limit(ROWS_A_TRANSACTION)).scalars())
            if not found:
                return gone
            with self._catalog.writing() as connection:
                connection.execute(delete(table).where(table.c.id.in_(found)))
            gone, last = gone + len(found), found[-1]

    def _last(self, statement: Select[tuple[Any, ...]], table: Table, at: datetime) -> Row[Any] | None:
        ordered = statement.where(table.c.at <= at).order_by(table.c.at.desc(), table.c.id.desc()).limit(1)
        with self._catalog.reading() as connection:
            return connection.execute(ordered).first()
