"""What the sync writes to the catalog, each method one transaction, and the work it leaves for the index.

The catalog is right first. Whatever the index still has to follow is an index task, written in the same transaction as
its cause, so that a crash in between loses nothing; tasks are idempotent and are taken in the order of their numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import Connection, delete, func, insert, select, update

from rag.access.acl import Acl
from rag.documents import Chunk, Document, acl_id
from rag.errors import RefusalReason
from rag.stores.catalog import Catalog
from rag.stores.catalog_reading import IDS_A_STATEMENT
from rag.stores.catalog_rows import ACL, CHUNK, acl, acl_columns, chunk
from rag.stores.catalog_schema import acls, chunks, cursors, documents, index_tasks, refusals, versions


@dataclass(frozen=True, slots=True)
class Place:
    """A governing place of a source with its rights: `reference` is the source's own name for it."""

    reference: str
    acl: Acl
    origin: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class KnownItem:
    """What the catalog holds of one item of a source."""

    document_id: str
    item_id: str
    uri: str
    change_token: str
    acl_reference: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class NewVersion:
    """One version of a document, read and cut, ready to become current."""

    document: Document
    item_id: str
    change_token: str
    chunks: Sequence[Chunk]


@dataclass(frozen=True, slots=True)
class Refusal:
    """An item that could not be read."""

    document_id: str
    source: str
    item_id: str
    uri: str
    change_token: str
    acl_id: str
    reason: RefusalReason
    detail: str
    decided_by: str = ""


class TaskKind(StrEnum):
    SETTLE = "settle"  # subject: chunk ids; those that are not current leave the index
    REPERMIT = "repermit"  # subject: acl id; its rights are rewritten on every point
    MOVE = "move"  # subject: document id; its points go under the document's governing place


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

    def known(self, source: str) -> list[KnownItem]:
        """Every item of a source that is current or was refused. A refusal's change token counts where there is one."""
        current = (
            select(*_KNOWN_OF_DOCUMENT, acls.c.reference)
            .join(acls, acls.c.id == documents.c.acl_id)
            .where(documents.c.tenant == self._tenant, documents.c.source == source)
        )
        refused = (
            select(*_KNOWN_OF_REFUSAL, acls.c.reference)
            .join(acls, acls.c.id == refusals.c.acl_id)
            .where(refusals.c.tenant == self._tenant, refusals.c.source == source)
        )
        with self._catalog.reading() as connection:
            items = {row.id: KnownItem(*row) for row in connection.execute(current)}
            items |= {row.document_id: KnownItem(*row, refused=True) for row in connection.execute(refused)}
        return sorted(items.values(), key=lambda each: each.item_id)

    def places(self, source: str) -> Mapping[str, Acl]:
        """Every governing place of a source by reference."""
        mine = (acls.c.tenant == self._tenant) & (acls.c.source == source)
        with self._catalog.reading() as connection:
            rows = connection.execute(select(acls.c.reference, *ACL).where(mine))
            return {reference: acl(allow, deny) for reference, allow, deny in rows}

    def set_places(self, source: str, places: Iterable[Place]) -> int:
        """Writes governing places in one transaction; at its commit the new rights hold. Returns how many changed."""
        now, changed = datetime.now(UTC), 0
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
                    connection.execute(insert(acls).values(**about, **values, changed_at=now))
                elif before != tuple(values.values()):
                    connection.execute(update(acls).where(acls.c.id == identifier).values(**values, changed_at=now))
                if before is not None and before[:2] != (values["allow"], values["deny"]):
                    changed += 1
                    self._enqueue(connection, TaskKind.REPERMIT, [identifier])
        return changed

    def regovern(self, document_ids: Mapping[str, str]) -> None:
        """Puts documents (and refusals) under other governing places, document id to acl id, in one transaction."""
        with self._catalog.writing() as connection:
            for document_id, place in document_ids.items():
                moved = update(documents).where(documents.c.id == document_id).values(acl_id=place)
                if connection.execute(moved).rowcount:
                    self._enqueue(connection, TaskKind.MOVE, [document_id])
                connection.execute(update(refusals).where(refusals.c.document_id == document_id).values(acl_id=place))

    def remove(self, document_ids: Sequence[str]) -> None:
        """Removes documents with all their passages, and refusals, in one transaction."""
        with self._catalog.writing() as connection:
            for batch in _batches(document_ids):
                theirs = select(chunks.c.id).where(chunks.c.document_id.in_(batch))
                for gone in _batches(connection.execute(theirs).scalars().all()):
                    self._enqueue(connection, TaskKind.SETTLE, gone)
                connection.execute(delete(chunks).where(chunks.c.document_id.in_(batch)))
                connection.execute(delete(documents).where(documents.c.id.in_(batch)))
                connection.execute(delete(refusals).where(refusals.c.document_id.in_(batch)))

    def chunk_ids(self, document_ids: Sequence[str]) -> set[str]:
        """Ids of the current chunks of these documents; their points are in the index already."""
        found: set[str] = set()
        with self._catalog.reading() as connection:
            for batch in _batches(document_ids):
                found.update(connection.execute(select(chunks.c.id).where(chunks.c.document_id.in_(batch))).scalars())
        return found

    def acl_of(self, place: str) -> Acl:
        """The ACL of a governing place as it is now; nobody if there is no such place."""
        with self._catalog.reading() as connection:
            row = connection.execute(select(*ACL).where(acls.c.id == place)).first()
        return acl(*row) if row else Acl.nobody()

    def intend(self, chunk_ids: Sequence[str]) -> None:
        """Notes that points are about to be written, so that they can be taken back if their version never commits."""
        with self._catalog.writing() as connection:
            for batch in _batches(chunk_ids):
                self._enqueue(connection, TaskKind.SETTLE, batch)

    def commit(self, new_versions: Sequence[NewVersion]) -> None:
        """Makes versions current, all in one transaction; what they replace leaves with it."""
        now = datetime.now(UTC)
        with self._catalog.writing() as connection:
            for new in new_versions:
                self._commit(connection, new, now)

    def refuse(self, refusal: Refusal) -> None:
        """Records that an item cannot be read. An earlier version of it stays, under the rights of today."""
        row = {**asdict(refusal), "tenant": self._tenant, "reason": refusal.reason.value, "at": datetime.now(UTC)}
        with self._catalog.writing() as connection:
            connection.execute(delete(refusals).where(refusals.c.document_id == refusal.document_id))
            connection.execute(insert(refusals), row)

    def complete(self, source: str, connector: str, root: str, cursor: str) -> None:
        """Stores the cursor of a sync whose work is committed."""
        about = (cursors.c.tenant == self._tenant) & (cursors.c.source == source)
        with self._catalog.writing() as connection:
            connection.execute(delete(cursors).where(about))
            connection.execute(
                insert(cursors).values(
                    tenant=self._tenant,
                    source=source,
                    connector=connector,
                    root=root,
                    cursor=cursor,
                    completed_at=datetime.now(UTC),
                )
            )

    def cursor(self, source: str) -> str | None:
        """The cursor of the last complete sync of a source; None before the first."""
        statement = select(cursors.c.cursor).where(cursors.c.tenant == self._tenant, cursors.c.source == source)
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
            connection.execute(delete(index_tasks).where(index_tasks.c.id.in_(task_ids)))

    def not_current(self, chunk_ids: Sequence[str]) -> list[str]:
        """Those of `chunk_ids` that are part of no current version."""
        current: set[str] = set()
        with self._catalog.reading() as connection:
            for batch in _batches(chunk_ids):
                current.update(connection.execute(select(chunks.c.id).where(chunks.c.id.in_(batch))).scalars())
        return [each for each in chunk_ids if each not in current]

    def governing_place(self, document_id: str) -> str | None:
        """The acl id of a document; None if it is gone."""
        with self._catalog.reading() as connection:
            return connection.execute(select(documents.c.acl_id).where(documents.c.id == document_id)).scalar()

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

    def chunk_count(self) -> int:
        """Number of current chunks of the tenant."""
        mine = select(documents.c.id).where(documents.c.tenant == self._tenant)
        with self._catalog.reading() as connection:
            statement = select(func.count()).select_from(chunks).where(chunks.c.document_id.in_(mine))
            return int(connection.execute(statement).scalar_one())

    def _commit(self, connection: Connection, new: NewVersion, now: datetime) -> None:
        about = new.document
        before = connection.execute(select(chunks.c.id).where(chunks.c.document_id == about.id)).scalars().all()
        connection.execute(delete(chunks).where(chunks.c.document_id == about.id))
        connection.execute(delete(refusals).where(refusals.c.document_id == about.id))
        row = {field.name: getattr(about, field.name) for field in fields(Document)}
        row |= {"item_id": new.item_id, "change_token": new.change_token, "ingested_at": now}
        if not connection.execute(update(documents).where(documents.c.id == about.id).values(**row)).rowcount:
            connection.execute(insert(documents).values(**row))
        if new.chunks:
            connection.execute(insert(chunks), [_chunk_row(each) for each in new.chunks])
        history = {"document_id": about.id, "version": about.version, "acl_id": about.acl_id}
        connection.execute(insert(versions).values(**history, passages=about.passages, at=now))
        kept = {each.id for each in new.chunks}
        if gone := [each for each in before if each not in kept]:
            self._enqueue(connection, TaskKind.SETTLE, gone)

    def _enqueue(self, connection: Connection, kind: TaskKind, subject: Sequence[str]) -> None:
        row = {"tenant": self._tenant, "kind": kind.value, "subject": json.dumps(list(subject))}
        connection.execute(insert(index_tasks).values(**row, at=datetime.now(UTC)))


_KNOWN_OF_DOCUMENT = (documents.c.id, documents.c.item_id, documents.c.uri, documents.c.change_token)
_KNOWN_OF_REFUSAL = (refusals.c.document_id, refusals.c.item_id, refusals.c.uri, refusals.c.change_token)


def _chunk_row(each: Chunk) -> dict[str, object]:
    row = {field.name: getattr(each, field.name) for field in fields(Chunk)}
    return {**row, "heading_path": json.dumps(each.heading_path, ensure_ascii=False)}


def _batches(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(values), IDS_A_STATEMENT):
        yield values[at : at + IDS_A_STATEMENT]
