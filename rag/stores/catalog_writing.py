"""What the sync writes to the catalog, in transactions too short to keep a question waiting, and what the index owes.

Each method is one transaction, but for `regovern` and `remove`, which take many documents a batch at a time: each of
their documents is changed whole or not at all.

The catalog is right first. Whatever the index still has to follow is an index task, written in the same transaction as
its cause, so that a crash in between loses nothing; tasks are idempotent and are taken in the order of their numbers.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select, update

from rag.access.acl import Acl
from rag.documents import Chunk, Document, KnownItem, acl_id
from rag.errors import RefusalReason
from rag.stores.catalog import Catalog
from rag.stores.catalog_history import note_documents, note_places
from rag.stores.catalog_known import Today, known_items
from rag.stores.catalog_reading import IDS_A_STATEMENT
from rag.stores.catalog_revisions import RIGHTS, renew
from rag.stores.catalog_rows import ACL, CHUNK, acl, acl_columns, chunk, chunk_columns
from rag.stores.catalog_schema import acls, chunks, cursors, documents, index_tasks, refusals
from rag.stores.catalog_terms import counted, packed

DOCUMENTS_A_TRANSACTION = 1_000

Terms = Mapping[str, Sequence[int]]
"""Ids of the terms that a chunk holds in the lexical index, by chunk id."""


@dataclass(frozen=True, slots=True)
class Place:
    """A governing place of a source with its rights: `reference` is the source's own name for it."""

    reference: str
    acl: Acl
    origin: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ListedItem:
    """Where a document comes from: the source's own id of it, the listing that its version was read by, the root."""

    item_id: str
    name: str
    uri: str
    change_token: str
    root: str


@dataclass(frozen=True, slots=True)
class NewVersion:
    """One version of a document, read and cut, ready to become current.

    Attributes:
        item_id: None for a file inside another one.
        inside: versions of all the files inside it; those of before that are not among them leave.
        refused: the files inside it that could not be read.
    """

    document: Document
    item_id: str | None
    change_token: str
    chunks: Sequence[Chunk]
    inside: Sequence[NewVersion] = ()
    refused: Sequence[Refusal] = ()
    name: str = ""
    read_by: str = ""
    decided_by: str = ""
    unread: str = ""

    @property
    def family(self) -> Sequence[NewVersion]:
        """This version and those inside it."""
        return (self, *self.inside)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An item, or a file inside one, that could not be read."""

    document_id: str
    source: str
    item_id: str | None
    uri: str
    change_token: str
    acl_id: str
    reason: RefusalReason
    detail: str
    decided_by: str = ""
    parent_id: str | None = None


class TaskKind(StrEnum):
    SETTLE = "settle"  # subject: chunk ids; those that are not current leave the index
    REPERMIT = "repermit"  # subject: acl id; its rights are rewritten on every point
    MOVE = "move"  # subject: document ids; their points go under the documents' governing places


@dataclass(frozen=True, slots=True)
class IndexTask:
    id: int
    kind: TaskKind
    subject: tuple[str, ...]


class CatalogWriter:
    """The writing side, for one tenant."""

    def __init__(self, catalog: Catalog, tenant: str) -> None:
        self._catalog = catalog
        self._tenant = tenant

    def known(self, source: str, today: Today = Today()) -> list[KnownItem]:  # noqa: B008  frozen
        """Every item of a source, see `rag.stores.catalog_known`."""
        with self._catalog.reading() as connection:
            return known_items(connection, self._tenant, source, today)

    def listed(self, document_id: str) -> ListedItem | None:
        """What a source listed a current document as; None for a file inside another one, and where there is none."""
        mine = (cursors.c.tenant == documents.c.tenant) & (cursors.c.source == documents.c.source)
        columns = (documents.c.item_id, documents.c.name, documents.c.uri, documents.c.change_token)
        statement = (
            select(*columns, cursors.c.root)
            .join(cursors, mine)
            .where(documents.c.tenant == self._tenant, documents.c.id == document_id, documents.c.item_id.is_not(None))
        )
        with self._catalog.reading() as connection:
            row = connection.execute(statement).first()
        return ListedItem(*row) if row else None

    def places(self, source: str) -> Mapping[str, Acl]:
        """Every governing place of a source by reference."""
        mine = (acls.c.tenant == self._tenant) & (acls.c.source == source)
        with self._catalog.reading() as connection:
            rows = connection.execute(select(acls.c.reference, *ACL).where(mine))
            return {reference: acl(allow, deny) for reference, allow, deny in rows}

    def set_places(self, source: str, places: Iterable[Place]) -> int:
        """Writes governing places in one transaction; at its commit the new rights hold. Returns how many changed."""
        now = datetime.now(UTC)
        new: list[dict[str, object]] = []
        different: list[dict[str, object]] = []
        changed: list[str] = []
        mine = (acls.c.tenant == self._tenant) & (acls.c.source == source)
        columns = (acls.c.reference, acls.c.allow, acls.c.deny, acls.c.origin, acls.c.problem)
        with self._catalog.writing() as connection:
            held = {row.reference: tuple(row[1:]) for row in connection.execute(select(*columns).where(mine))}
            for place in places:
                identifier = acl_id(self._tenant, source, place.reference)
                values = {**acl_columns(place.acl), "origin": place.origin, "problem": place.problem}
                before = held.get(place.reference)
                if before is None:
                    about = {"id": identifier, "tenant": self._tenant, "source": source, "reference": place.reference}
                    new.append({**about, **values, "changed_at": now})
                elif before != tuple(values.values()):
                    different.append({"identifier": identifier, **values, "changed_at": now})
                    if before[:2] != (values["allow"], values["deny"]):
                        changed.append(identifier)
            if new:
                self._catalog.take_turns(connection, "numbering places")  # of all tenants in one row
                highest = connection.execute(select(func.max(acls.c.number))).scalar() or 0
                connection.execute(insert(acls), [{**each, "number": highest + at} for at, each in enumerate(new, 1)])
            if different:
                connection.execute(_CHANGE_PLACE, different)
            note_places(connection, self._tenant, [*new, *({**each, "id": each["identifier"]} for each in different)])
            if new or changed:
                renew(connection, self._tenant, RIGHTS)
                synced = (cursors.c.tenant == self._tenant) & (cursors.c.source == source)
                connection.execute(update(cursors).where(synced).values(applied=""))  # the next sync sets them right
            self._enqueue(connection, TaskKind.REPERMIT, *([each] for each in changed))
        return len(changed)

    def forget_places(self, source: str, listed: Collection[str]) -> None:
        """Removes the governing places that no document and no refusal names and that are not among `listed`."""
        named = (select(documents.c.acl_id), select(refusals.c.acl_id))
        mine = (acls.c.tenant == self._tenant) & (acls.c.source == source)
        idle = select(acls.c.id, acls.c.reference).where(mine, *(acls.c.id.not_in(each) for each in named))
        now = datetime.now(UTC)
        with self._catalog.writing() as connection:
            unlisted = [row.id for row in connection.execute(idle) if row.reference not in listed]
            nobody = {**acl_columns(Acl.nobody()), "origin": "", "problem": None, "changed_at": now}
            note_places(connection, self._tenant, [{"id": each, **nobody} for each in unlisted])
            for batch in _batches(unlisted, IDS_A_STATEMENT):
                connection.execute(delete(acls).where(acls.c.id.in_(batch)))
            if unlisted:
                renew(connection, self._tenant, RIGHTS)

    def regovern(self, document_ids: Mapping[str, str]) -> None:
        """Puts documents (and refusals) under other governing places, document id to acl id."""
        moving: dict[str, list[str]] = {}
        for document_id, place in document_ids.items():
            moving.setdefault(place, []).append(document_id)
        for place, moved in moving.items():
            for batch in _batches(moved, DOCUMENTS_A_TRANSACTION):
                self._regovern(place, batch)

    def _regovern(self, place: str, document_ids: Sequence[str]) -> None:
        with self._catalog.writing() as connection:
            families = _families(connection, document_ids)
            if families:
                with counted(connection, families):
                    connection.execute(update(documents).where(documents.c.id.in_(families)).values(acl_id=place))
                note_documents(connection, families, datetime.now(UTC))
                self._enqueue(connection, TaskKind.MOVE, families)
            connection.execute(update(refusals).where(_refused(document_ids)).values(acl_id=place))

    def remove(self, document_ids: Sequence[str]) -> None:
        """Removes documents with all their passages, and refusals."""
        for batch in _batches(document_ids, DOCUMENTS_A_TRANSACTION):
            with self._catalog.writing() as connection:
                self._remove(connection, _families(connection, batch))
                connection.execute(delete(refusals).where(_refused(batch)))

    def _remove(self, connection: Connection, document_ids: Sequence[str]) -> None:
        batches = list(_batches(document_ids, IDS_A_STATEMENT))
        for batch in batches:  # all before the first deletion, which takes with it what is inside a document
            gone = connection.execute(select(chunks.c.id).where(chunks.c.document_id.in_(batch))).scalars().all()
            self._enqueue(connection, TaskKind.SETTLE, *_batches(gone, IDS_A_STATEMENT))
        with counted(connection, document_ids):
            for batch in batches:
                note_documents(connection, batch, datetime.now(UTC), gone=True)
                connection.execute(delete(chunks).where(chunks.c.document_id.in_(batch)))
                connection.execute(delete(documents).where(documents.c.id.in_(batch)))

    def chunk_ids(self, document_ids: Sequence[str]) -> set[str]:
        """Ids of the current chunks of these documents; their points are in the index already."""
        found: set[str] = set()
        with self._catalog.reading() as connection:
            for batch in _batches(document_ids, IDS_A_STATEMENT):
                found.update(connection.execute(select(chunks.c.id).where(chunks.c.document_id.in_(batch))).scalars())
        return found

    def acl_of(self, place: str) -> Acl:
        """The ACL of a governing place as it is now; nobody if there is no such place."""
        mine = select(*ACL).where(acls.c.tenant == self._tenant, acls.c.id == place)
        with self._catalog.reading() as connection:
            row = connection.execute(mine).first()
        return acl(*row) if row else Acl.nobody()

    def intend(self, chunk_ids: Sequence[str]) -> None:
        """Notes that points are about to be written, so that they can be taken back if their version never commits."""
        with self._catalog.writing() as connection:
            self._enqueue(connection, TaskKind.SETTLE, *_batches(chunk_ids, IDS_A_STATEMENT))

    def commit(self, new_versions: Sequence[NewVersion], terms: Terms) -> None:
        """Makes versions current with what is inside them, all in one transaction; what they replace leaves with it.

        `terms` has the ids of the terms that each of their chunks holds in the lexical index.
        """
        now = datetime.now(UTC)
        with self._catalog.writing() as connection:
            with counted(connection, [each.document.id for new in new_versions for each in new.family]):
                for each in (each for new in new_versions for each in new.family):
                    self._commit(connection, each, terms, now)
            for new in new_versions:
                self._settle_inside(connection, new, now)

    def recount(self, terms: Terms) -> None:
        """Notes other terms of chunks that are there already, because the lexical index has them in another form."""
        held = chunks.c.id.in_(list(terms))
        change = update(chunks).where(chunks.c.id == bindparam("chunk")).values(terms=bindparam("held"))
        with self._catalog.writing() as connection:
            concerned = connection.execute(select(chunks.c.document_id).where(held).distinct()).scalars().all()
            with counted(connection, concerned):
                connection.execute(change, [{"chunk": each, "held": packed(terms[each])} for each in terms])

    def refuse(self, refusal: Refusal) -> None:
        """Records that an item cannot be read. An earlier version of it stays, under the rights of today."""
        mine = refusals.c.document_id == refusal.document_id
        same = mine & (refusals.c.change_token == refusal.change_token) & (refusals.c.decided_by == refusal.decided_by)
        with self._catalog.writing() as connection:
            before: int = connection.execute(select(refusals.c.attempts).where(same)).scalar() or 0
            connection.execute(delete(refusals).where(mine))
            connection.execute(insert(refusals), self._refusal_row(refusal, datetime.now(UTC), before + 1))

    def begin(self, source: str, connector: str, root: str) -> None:
        """Notes where a source is, and that there may be work left; the cursor of its last complete sync stays."""
        about = (cursors.c.tenant == self._tenant) & (cursors.c.source == source)
        values = {"connector": connector, "root": root, "applied": ""}
        with self._catalog.writing() as connection:
            if not connection.execute(update(cursors).where(about).values(**values)).rowcount:
                connection.execute(insert(cursors).values(tenant=self._tenant, source=source, cursor="", **values))

    def disown(self, source: str) -> bool:
        """Forgets where a source is and what was synced. Returns whether it was known; its documents stay."""
        mine = (cursors.c.tenant == self._tenant) & (cursors.c.source == source)
        with self._catalog.writing() as connection:
            return bool(connection.execute(delete(cursors).where(mine)).rowcount)

    def complete(self, source: str, cursor: str, applied: str = "") -> None:
        """Stores the cursor of a sync that `begin` began and whose work is committed.

        `applied` names the listing of which no work is left, if that is so.
        """
        about = (cursors.c.tenant == self._tenant) & (cursors.c.source == source)
        with self._catalog.writing() as connection:
            connection.execute(
                update(cursors).where(about).values(cursor=cursor, applied=applied, completed_at=datetime.now(UTC))
            )

    def root(self, source: str) -> str:
        """Where a source was at its last complete sync; empty where nobody knows."""
        statement = select(cursors.c.root).where(cursors.c.tenant == self._tenant, cursors.c.source == source)
        with self._catalog.reading() as connection:
            return connection.execute(statement).scalar() or ""

    def applied(self, source: str) -> str:
        """Which listing of a source left no work; empty where some may be left."""
        statement = select(cursors.c.applied).where(cursors.c.tenant == self._tenant, cursors.c.source == source)
        with self._catalog.reading() as connection:
            return connection.execute(statement).scalar() or ""

    def refused_items(self, source: str) -> int:
        """How many items of a source stand refused."""
        mine = (refusals.c.tenant == self._tenant) & (refusals.c.source == source) & refusals.c.parent_id.is_(None)
        with self._catalog.reading() as connection:
            return connection.execute(select(func.count()).select_from(refusals).where(mine)).scalar_one()

    def cursor(self, source: str) -> str | None:
        """The cursor of the last complete sync of a source; None before the first."""
        statement = select(cursors.c.cursor).where(
            cursors.c.tenant == self._tenant, cursors.c.source == source, cursors.c.completed_at.is_not(None)
        )
        with self._catalog.reading() as connection:
            return connection.execute(statement).scalar()

    def tasks(self, limit: int = 100) -> list[IndexTask]:
        """The oldest index tasks, in order."""
        columns = (index_tasks.c.id, index_tasks.c.kind, index_tasks.c.subject)
        statement = select(*columns).where(index_tasks.c.tenant == self._tenant).order_by(index_tasks.c.id)
        with self._catalog.reading() as connection:
            rows = connection.execute(statement.limit(limit)).all()
        return [IndexTask(row.id, TaskKind(row.kind), tuple(json.loads(row.subject))) for row in rows]

    def done(self, task_ids: Sequence[int]) -> None:
        with self._catalog.writing() as connection:
            mine = (index_tasks.c.tenant == self._tenant) & index_tasks.c.id.in_(task_ids)
            connection.execute(delete(index_tasks).where(mine))

    def not_current(self, chunk_ids: Sequence[str]) -> list[str]:
        """Those of `chunk_ids` that are part of no current version."""
        current: set[str] = set()
        with self._catalog.reading() as connection:
            for batch in _batches(chunk_ids, IDS_A_STATEMENT):
                current.update(connection.execute(select(chunks.c.id).where(chunks.c.id.in_(batch))).scalars())
        return [each for each in chunk_ids if each not in current]

    def governed(self, document_ids: Sequence[str]) -> Mapping[str, list[str]]:
        """The documents that are still there, by the acl id of the place that governs them now."""
        found: dict[str, list[str]] = {}
        statement = select(documents.c.acl_id, documents.c.id)
        with self._catalog.reading() as connection:
            for batch in _batches(document_ids, IDS_A_STATEMENT):
                for place, document_id in connection.execute(statement.where(documents.c.id.in_(batch))):
                    found.setdefault(place, []).append(document_id)
        return found

    def everything(self) -> Iterator[tuple[Chunk, str, str, Acl]]:
        """Every current chunk with source, acl id and ACL of its document, for building an index anew."""
        statement = (
            select(*CHUNK, documents.c.source, acls.c.id, *ACL)
            .join(documents, documents.c.id == chunks.c.document_id)
            .join(acls, acls.c.id == documents.c.acl_id)
            .where(documents.c.tenant == self._tenant)
            .order_by(chunks.c.document_id, chunks.c.ordinal)
        )
        width = len(CHUNK)
        with self._catalog.reading() as connection:
            for row in connection.execution_options(yield_per=1_000).execute(statement):
                source, place, allow, deny = row[width:]
                yield chunk(row[:width]), source, place, acl(allow, deny)

    def _commit(self, connection: Connection, new: NewVersion, terms: Terms, now: datetime) -> None:
        about = new.document
        before = connection.execute(select(chunks.c.id).where(chunks.c.document_id == about.id)).scalars().all()
        connection.execute(delete(chunks).where(chunks.c.document_id == about.id))
        connection.execute(delete(refusals).where(refusals.c.document_id == about.id))
        row = {field.name: getattr(about, field.name) for field in fields(Document)}
        row |= {
            each: getattr(new, each) for each in ("item_id", "name", "change_token", "read_by", "decided_by", "unread")
        }
        row |= {"sort_key": about.position[0], "ingested_at": now}
        if not connection.execute(update(documents).where(documents.c.id == about.id).values(**row)).rowcount:
            connection.execute(insert(documents).values(**row))
        if new.chunks:
            rows = [{**chunk_columns(each), "terms": packed(terms[each.id])} for each in new.chunks]
            connection.execute(insert(chunks), rows)
        note_documents(connection, [about.id], now)
        kept = {each.id for each in new.chunks}
        if gone := [each for each in before if each not in kept]:
            self._enqueue(connection, TaskKind.SETTLE, gone)

    def _settle_inside(self, connection: Connection, new: NewVersion, now: datetime) -> None:
        """Takes out what was inside the version of before and no longer is; notes what of today cannot be read."""
        about = new.document.id
        held = select(documents.c.id).where(documents.c.parent_id == about)
        kept = {each.document.id for each in new.inside}
        self._remove(connection, [each for each in connection.execute(held).scalars() if each not in kept])
        connection.execute(delete(refusals).where(refusals.c.parent_id == about))
        if new.refused:
            connection.execute(insert(refusals), [self._refusal_row(each, now) for each in new.refused])

    def _refusal_row(self, refusal: Refusal, now: datetime, attempts: int = 1) -> dict[str, object]:
        own = {"tenant": self._tenant, "reason": refusal.reason.value, "attempts": attempts, "at": now}
        return {**asdict(refusal), **own}

    def _enqueue(self, connection: Connection, kind: TaskKind, *subjects: Sequence[str]) -> None:
        about = {"tenant": self._tenant, "kind": kind.value, "at": datetime.now(UTC)}
        if rows := [{**about, "subject": json.dumps(list(each))} for each in subjects]:
            connection.execute(insert(index_tasks), rows)


_CHANGE_PLACE = (
    update(acls)
    .where(acls.c.id == bindparam("identifier"))
    .values({each: bindparam(each) for each in ("allow", "deny", "origin", "problem", "changed_at")})
)


def _families(connection: Connection, document_ids: Sequence[str]) -> Sequence[str]:
    """Those of the documents that are there, and what is inside them."""
    family = documents.c.id.in_(document_ids) | documents.c.parent_id.in_(document_ids)
    return connection.execute(select(documents.c.id).where(family)).scalars().all()


def _refused(document_ids: Sequence[str]) -> ColumnElement[bool]:
    return refusals.c.document_id.in_(document_ids) | refusals.c.parent_id.in_(document_ids)


def _batches(values: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for at in range(0, len(values), size):
        yield values[at : at + size]
