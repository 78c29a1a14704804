"""Counts and reasons for operators. No titles and no text: an operator reads no more documents than anybody else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from rag.access.principals import Principal
from rag.documents import SORTED_CHARS, addresses
from rag.stores.catalog import Catalog
from rag.stores.catalog_schema import acls, chunks, cursors, documents, index_tasks, refusals


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One source: how much of it is readable, what was refused by reason, what is wrong with its rights.

    Attributes:
        partly_read: documents of which something was left out.
    """

    source: str
    documents: int
    passages: int
    refused: dict[str, int]
    partly_read: int
    without_readers: int
    access_problems: tuple[tuple[str, str], ...]
    synced_at: datetime | None


PARTLY_READ = "partly_read"
"""In the place of a reason, for what was read but for a part."""


@dataclass(frozen=True, slots=True)
class RefusalStatus:
    source: str
    uri: str
    reason: str
    detail: str
    at: datetime


class CatalogStatus:
    """Reads states of one tenant."""

    def __init__(self, catalog: Catalog, tenant: str) -> None:
        self._catalog = catalog
        self._tenant = tenant

    def sources(self) -> list[SourceStatus]:
        """Every source that has anything in the catalog, by name."""
        with self._catalog.reading() as connection:
            counted = {
                row.source: row
                for row in connection.execute(
                    select(
                        documents.c.source, func.count().label("n"), func.sum(documents.c.passages).label("passages")
                    )
                    .where(documents.c.tenant == self._tenant)
                    .group_by(documents.c.source)
                )
            }
            partly: dict[str, int] = dict(
                connection.execute(
                    select(documents.c.source, func.count())
                    .where(documents.c.tenant == self._tenant, documents.c.unread != "")
                    .group_by(documents.c.source)
                ).all()
            )
            nobody: dict[str, int] = dict(
                connection.execute(
                    select(documents.c.source, func.count())
                    .join(acls, acls.c.id == documents.c.acl_id)
                    .where(documents.c.tenant == self._tenant, acls.c.allow == "[]")
                    .group_by(documents.c.source)
                ).all()
            )
            refused: dict[str, dict[str, int]] = {}
            for source, reason, number in connection.execute(
                select(refusals.c.source, refusals.c.reason, func.count())
                .where(refusals.c.tenant == self._tenant)
                .group_by(refusals.c.source, refusals.c.reason)
            ):
                refused.setdefault(source, {})[reason] = number
            problems: dict[str, list[tuple[str, str]]] = {}
            for source, reference, problem in connection.execute(
                select(acls.c.source, acls.c.reference, acls.c.problem)
                .where(acls.c.tenant == self._tenant, acls.c.problem.is_not(None))
                .order_by(acls.c.reference)
            ):
                problems.setdefault(source, []).append((reference, problem))
            synced: dict[str, datetime | None] = dict(
                connection.execute(
                    select(cursors.c.source, cursors.c.completed_at).where(cursors.c.tenant == self._tenant)
                ).all()
            )
        return [
            SourceStatus(
                source=name,
                documents=counted[name].n if name in counted else 0,
                passages=int(counted[name].passages) if name in counted else 0,
                refused=refused.get(name, {}),
                partly_read=partly.get(name, 0),
                without_readers=nobody.get(name, 0),
                access_problems=tuple(problems.get(name, [])),
                synced_at=synced.get(name),
            )
            for name in sorted({*counted, *refused, *synced})
        ]

    def refusals(self) -> list[RefusalStatus]:
        """Every refusal of the tenant, and every document that was read in part, by uri."""
        columns = (refusals.c.source, refusals.c.uri, refusals.c.reason, refusals.c.detail, refusals.c.at)
        refused = select(*columns).where(refusals.c.tenant == self._tenant)
        about = (documents.c.source, documents.c.uri, documents.c.unread, documents.c.ingested_at)
        partly = select(*about).where(documents.c.tenant == self._tenant, documents.c.unread != "")
        with self._catalog.reading() as connection:
            found = [RefusalStatus(*row) for row in connection.execute(refused)]
            for source, uri, unread, at in connection.execute(partly):
                found.append(RefusalStatus(source, uri, PARTLY_READ, unread, at))
        return sorted(found, key=lambda each: each.uri)

    def document_at(self, address: str) -> str | None:
        """Id of the document at an address, as it is stored or as people write it; None if there is none."""
        mine = select(documents.c.id).where(documents.c.tenant == self._tenant)
        with self._catalog.reading() as connection:
            for uri in addresses(address):
                at = mine.where(documents.c.sort_key == uri[:SORTED_CHARS], documents.c.uri == uri)
                if found := connection.execute(at).scalar():
                    return str(found)
        return None

    def documents_naming(self) -> dict[Principal, int]:
        """How many documents name each principal, in `allow` or in `deny`."""
        statement = (
            select(acls.c.allow, acls.c.deny, func.count())
            .join(documents, documents.c.acl_id == acls.c.id)
            .where(acls.c.tenant == self._tenant)
            .group_by(acls.c.id, acls.c.allow, acls.c.deny)
        )
        found: Counter[Principal] = Counter()
        with self._catalog.reading() as connection:
            for allow, deny, number in connection.execute(statement):
                found.update(dict.fromkeys({*json.loads(allow), *json.loads(deny)}, number))
        return found

    def documents_allowing(self, wanted: Set[Principal]) -> dict[Principal, int]:
        """How many documents name each of these principals in `allow`; those that none names are left out."""
        statement = (
            select(acls.c.allow, func.count())
            .join(documents, documents.c.acl_id == acls.c.id)
            .where(acls.c.tenant == self._tenant)
            .group_by(acls.c.id, acls.c.allow)
        )
        found: dict[Principal, int] = {}
        with self._catalog.reading() as connection:
            for allow, number in connection.execute(statement):
                for each in wanted & set(json.loads(allow)):
                    found[each] = found.get(each, 0) + number
        return found

    def open_tasks(self) -> int:
        """Index tasks that are not done: how far the index lags behind the catalog."""
        with self._catalog.reading() as connection:
            return int(
                connection.execute(select(func.count()).where(index_tasks.c.tenant == self._tenant)).scalar_one()
            )

    def passages(self) -> int:
        """Number of current passages."""
        mine = select(documents.c.id).where(documents.c.tenant == self._tenant)
        with self._catalog.reading() as connection:
            statement = select(func.count()).select_from(chunks).where(chunks.c.document_id.in_(mine))
            return int(connection.execute(statement).scalar_one())
