"""Takes a tenant out of a catalog that others share: every row of his, and none of theirs."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, delete, select

from rag.stores.catalog import Catalog
from rag.stores.catalog_schema import (
    acls,
    audit_chains,
    chunks,
    documents,
    index_names,
    leases,
    metadata,
    sessions,
    term_counts,
)


def remove_tenant(catalog: Catalog, tenant: str) -> Mapping[str, int]:
    """Removes every row of the tenant in one transaction; how many there were, by table. Once more finds nothing.

    Raises:
        StoreUnavailable: the catalog does not answer; nothing is gone.
    """
    places = select(acls.c.number).where(acls.c.tenant == tenant)
    his = select(documents.c.id).where(documents.c.tenant == tenant)
    gone = {}
    with catalog.writing() as connection:
        gone["term_counts"] = connection.execute(delete(term_counts).where(term_counts.c.place.in_(places))).rowcount
        gone["chunks"] = connection.execute(delete(chunks).where(chunks.c.document_id.in_(his))).rowcount
        for table in reversed(metadata.sorted_tables):
            if "tenant" in table.c:
                gone[table.name] = connection.execute(delete(table).where(table.c.tenant == tenant)).rowcount
        gone["leases"] = _forget_leases(connection, tenant)
    return {name: rows for name, rows in gone.items() if rows}


def tenants_in(catalog: Catalog) -> set[str]:
    """Tenants that a catalog knows: whoever has an index, an audit or somebody who is signed in."""
    with catalog.reading() as connection:
        tables = (index_names, audit_chains, sessions)
        return {each for table in tables for each in connection.execute(select(table.c.tenant).distinct()).scalars()}


def _forget_leases(connection: Connection, tenant: str) -> int:
    """Leases are named after their purpose and, behind a full stop, their tenant; see `Catalog.lease`."""
    his = [each for each in connection.execute(select(leases.c.name)).scalars() if each.partition(".")[2] == tenant]
    return connection.execute(delete(leases).where(leases.c.name.in_(his))).rowcount
