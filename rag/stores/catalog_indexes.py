"""Which index belongs to this catalog. What the catalog does not name is not read, however good it looks."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime

from sqlalchemy import delete, insert, select

from rag.documents import IndexProfile
from rag.stores.catalog import Catalog
from rag.stores.catalog_schema import indexes


class CatalogIndexes:
    """The live index of one tenant."""

    def __init__(self, catalog: Catalog, tenant: str) -> None:
        self._catalog = catalog
        self._tenant = tenant

    def live(self) -> tuple[str, IndexProfile] | None:
        """Name and profile of the live index; None before the first."""
        with self._catalog.reading() as connection:
            statement = select(indexes.c.name, indexes.c.profile).where(indexes.c.tenant == self._tenant)
            row = connection.execute(statement).first()
        return (row.name, IndexProfile(**json.loads(row.profile))) if row else None

    def set_live(self, name: str, profile: IndexProfile) -> None:
        """Makes another index the live one, in one transaction."""
        with self._catalog.writing() as connection:
            connection.execute(delete(indexes).where(indexes.c.tenant == self._tenant))
            row = {"tenant": self._tenant, "name": name, "profile": json.dumps(asdict(profile))}
            connection.execute(insert(indexes).values(**row, at=datetime.now(UTC)))
