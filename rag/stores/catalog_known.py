"""What the catalog knows of a source's items, and which of them are to be read again though they have not changed."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from sqlalchemy import Connection, Row, Select, select

from rag.documents import KnownItem
from rag.errors import RefusalReason
from rag.stores.catalog_schema import acls, documents, refusals

MOST_ATTEMPTS = 2
PASSING = (RefusalReason.TIME_LIMIT, RefusalReason.MEMORY_LIMIT, RefusalReason.PARSER_FAILED)
"""Reasons that may lie in the machine's load; they are believed when they come again."""


@dataclass(frozen=True, slots=True)
class Today:
    """What reads and decides now. What something else read or decided is read again.

    Attributes:
        decided_by: what decides about a refusal, or that a part of a document is left out: limits and choices.
        read_by: what the passages of a document depend on beside its content: parsers and chunking.
    """

    decided_by: str = ""
    read_by: str = ""


def known_items(connection: Connection, tenant: str, source: str, today: Today) -> list[KnownItem]:
    """Every item of a source that is current or was refused, by its id. A refusal counts where there is one."""
    improvable = {row.parent_id for row in connection.execute(_improvable_inside(tenant, source, today))}
    found = {row.id: _current(row, today, improvable) for row in connection.execute(_currents(tenant, source))}
    found |= {row.document_id: _refused(row, today) for row in connection.execute(_refusals(tenant, source))}
    return sorted(found.values(), key=lambda each: each.item_id)


def _current(row: Row[tuple[object, ...]], today: Today, improvable: Container[str]) -> KnownItem:
    left_out_by_others = row.unread and row.decided_by != today.decided_by
    again = row.read_by != today.read_by or left_out_by_others or row.id in improvable
    return KnownItem(row.id, row.item_id, "" if again else row.change_token, row.reference)


def _refused(row: Row[tuple[object, ...]], today: Today) -> KnownItem:
    may_pass = row.reason in PASSING and row.attempts < MOST_ATTEMPTS
    again = row.decided_by != today.decided_by or may_pass
    token = "" if again else row.change_token
    return KnownItem(row.document_id, row.item_id, token, row.reference, refused=True)


def _currents(tenant: str, source: str) -> Select[tuple[object, ...]]:
    about = (documents.c.id, documents.c.item_id, documents.c.change_token, documents.c.unread)
    return (
        select(*about, documents.c.decided_by, documents.c.read_by, acls.c.reference)
        .join(acls, acls.c.id == documents.c.acl_id)
        .where(documents.c.tenant == tenant, documents.c.source == source, documents.c.parent_id.is_(None))
    )


def _refusals(tenant: str, source: str) -> Select[tuple[object, ...]]:
    about = (refusals.c.document_id, refusals.c.item_id, refusals.c.change_token, refusals.c.reason)
    return (
        select(*about, refusals.c.attempts, refusals.c.decided_by, acls.c.reference)
        .join(acls, acls.c.id == refusals.c.acl_id)
        .where(refusals.c.tenant == tenant, refusals.c.source == source, refusals.c.parent_id.is_(None))
    )


def _improvable_inside(tenant: str, source: str, today: Today) -> Select[tuple[object, ...]]:
    """Items with a file inside that something else refused, or left out a part of."""
    refused, partly = (
        select(table.c.parent_id).where(
            table.c.tenant == tenant,
            table.c.source == source,
            table.c.parent_id.is_not(None),
            table.c.decided_by != today.decided_by,
        )
        for table in (refusals, documents)
    )
    both = refused.union(partly.where(documents.c.unread != "")).subquery()
    return select(both.c.parent_id)
