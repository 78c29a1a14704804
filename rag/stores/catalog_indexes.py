"""Which index belongs to this catalog. What the catalog does not name is not read, however good it looks."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, bindparam, delete, insert, select

from rag.documents import IndexProfile
from rag.stores.catalog import Catalog
from rag.stores.catalog_schema import index_names, indexes


class CatalogIndexes:
    """The live index of one tenant, and the names of all that were ever begun for it."""

    def __init__(self, catalog: Catalog, tenant: str) -> None:
        self._catalog = catalog
        self._tenant = tenant
        self._live_name = catalog.rendered(select(indexes.c.name).where(indexes.c.tenant == bindparam("tenant")))

    def live(self) -> tuple[str, IndexProfile] | None:
        """Name and profile of the live index; None before the first."""
        with self._catalog.reading() as connection:
            statement = select(indexes.c.name, indexes.c.profile).where(indexes.c.tenant == self._tenant)
            row = connection.execute(statement).first()
        return (row.name, IndexProfile(**json.loads(row.profile))) if row else None

    def live_name(self) -> str | None:
        """Name of the live index; None before the first."""
        with self._catalog.reading() as connection:
            name: str | None = self._live_name(connection, {"tenant": self._tenant}).scalar()
        return name

    def dead(self) -> set[str]:
        """Names that were begun, and neither live nor forgotten. Nobody needs what is stored under them."""
        mine = select(index_names.c.name).where(index_names.c.tenant == self._tenant)
        with self._catalog.reading() as connection:
            live = select(indexes.c.name).where(indexes.c.tenant == self._tenant)
            return set(connection.execute(mine.where(index_names.c.name.not_in(live))).scalars())

    def begin(self, name: str) -> None:
        """Records a name before anything is stored under it, so that whatever a crash leaves is found again."""
        with self._catalog.writing() as connection:
            self._record(connection, name)

    def forget(self, name: str) -> None:
        """Takes a name from the record when nothing is stored under it any more."""
        with self._catalog.writing() as connection:
            connection.execute(delete(index_names).where(self._is(name)))

    def set_live(self, name: str, profile: IndexProfile) -> None:
        """Makes another index the live one, in one transaction."""
        with self._catalog.writing() as connection:
            connection.execute(delete(indexes).where(indexes.c.tenant == self._tenant))
            row = {"tenant": self._tenant, "name": name, "profile": json.dumps(asdict(profile))}
            connection.execute(insert(indexes).values(**row, at=datetime.now(UTC)))
            self._record(connection, name)

    def _record(self, connection: Connection, name: str) -> None:
        if connection.execute(select(index_names.c.name).where(self._is(name))).first() is None:
            connection.execute(insert(index_names).values(tenant=self._tenant, name=name))

    def _is(self, name: str) -> ColumnElement[bool]:
        return (index_names.c.tenant == self._tenant) & (index_names.c.name == name)
