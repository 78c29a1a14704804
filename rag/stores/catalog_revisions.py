"""Numbers by which a process knows whether what it remembers of a tenant's memberships and rights still holds.

Each change draws a new one at random. Counted up, a backup that is put into the catalog's place and then changed would
come to a number under which somebody remembers what the catalog of before had.
"""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, TextClause, bindparam, select, text

from rag.stores.catalog_schema import revisions

DIRECTORY = text(
    "INSERT INTO revisions (tenant, directory, rights) VALUES (:tenant, :drawn, 0) "
    "ON CONFLICT (tenant) DO UPDATE SET directory = excluded.directory"
)
"""For what changes memberships."""
RIGHTS = text(
    "INSERT INTO revisions (tenant, directory, rights) VALUES (:tenant, 0, :drawn) "
    "ON CONFLICT (tenant) DO UPDATE SET rights = excluded.rights"
)
"""For what changes governing places."""
DIRECTORY_NOW = select(revisions.c.directory).where(revisions.c.tenant == bindparam("tenant"))
"""The number of the tenant's memberships; no row before the first change."""
RIGHTS_NOW = select(revisions.c.rights).where(revisions.c.tenant == bindparam("tenant"))
"""The number of his governing places; no row before the first change."""
_BITS = 62


def renew(connection: Connection, tenant: str, what: TextClause) -> None:
    """What was remembered of the tenant, of memberships or of rights, is out of date from the commit on."""
    connection.execute(what, {"tenant": tenant, "drawn": 1 + secrets.randbits(_BITS)})
