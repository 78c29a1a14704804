"""Token buckets in the catalog, so that several replicas count together, by the database's clock alone.

A bucket that holds `size` tokens and fills at `size` a minute is kept as one number, the moment at which it will be
full (GCRA, ITU-T I.371). A token moves that moment by `60 / size` seconds, and is refused where it would come to lie
more than a minute ahead. So one statement decides and counts, replicas cannot count past each other, a refusal writes
nothing, and no job refills anything. A clock that is set back neither fills a bucket nor keeps it empty for longer than
a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Double,
    Executable,
    Float,
    Table,
    and_,
    bindparam,
    case,
    cast,
    delete,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from rag.ports import Bucket, Level, Taken
from rag.stores.catalog import Catalog
from rag.stores.catalog_schema import rate_buckets

WINDOW_S = 60.0
ROUNDING_S = 0.001
_NOW_SQLITE = literal_column("((julianday('now') - 2440587.5) * 86400.0)", Float)
_NOW_POSTGRES = cast(literal_column("extract(epoch FROM clock_timestamp())"), Double)


class _Empty(Exception):
    """Undoes what was taken from the buckets before this one."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket


class CatalogLimits:
    """The buckets of one tenant."""

    def __init__(self, catalog: Catalog, tenant: str) -> None:
        self._catalog = catalog
        self._tenant = tenant
        self._now = _NOW_SQLITE if catalog.is_sqlite else _NOW_POSTGRES
        self._take = self._taking(sqlite.insert if catalog.is_sqlite else postgresql.insert)

    def take(self, buckets: Sequence[Bucket], tokens: int = 1) -> Taken:
        """Takes so many tokens from each bucket, or none from any. A bucket that never holds as many refuses.

        Raises:
            StoreUnavailable: the catalog does not answer, so nothing is known.
        """
        try:
            with self._catalog.writing(durable=False) as connection:
                return Taken(tuple(self._taken(connection, each, tokens) for each in buckets))
        except _Empty as empty:
            level = self._level(empty.bucket, tokens)
            return Taken((level,), refused=level)

    def give_back(self, bucket: Bucket) -> None:
        """Puts a token back that was taken.

        Raises:
            StoreUnavailable: as above.
        """
        mine = and_(rate_buckets.c.tenant == self._tenant, rate_buckets.c.name == bucket.name)
        earlier = update(rate_buckets).where(mine).values(full_at=rate_buckets.c.full_at - WINDOW_S / bucket.size)
        with self._catalog.writing(durable=False) as connection:
            connection.execute(earlier)

    def forget_full(self) -> None:
        """Removes buckets that are full: they say nothing any more."""
        mine = rate_buckets.c.tenant == self._tenant
        with self._catalog.writing(durable=False) as connection:
            connection.execute(delete(rate_buckets).where(mine, rate_buckets.c.full_at < self._now))

    def _taken(self, connection: Connection, bucket: Bucket, tokens: int) -> Level:
        """What is left in one bucket.

        Raises:
            _Empty: there are not so many in it.
        """
        if tokens > bucket.size:
            raise _Empty(bucket)
        about = {"tenant": self._tenant, "name": bucket.name, "step": tokens * WINDOW_S / bucket.size}
        ahead: float | None = connection.execute(self._take, about).scalar()
        if ahead is None:
            raise _Empty(bucket)
        return Level.of(bucket, ahead, WINDOW_S)

    def _taking(self, insert: Callable[[Table], Any]) -> Executable:
        """The statement, built once: building it takes longer than running it."""
        step, full_at = bindparam("step", type_=Double), rate_buckets.c.full_at
        about = insert(rate_buckets).values(tenant=bindparam("tenant"), name=bindparam("name"))
        begun = about.values(full_at=self._now + step)
        taken: Executable = begun.on_conflict_do_update(
            index_elements=[rate_buckets.c.tenant, rate_buckets.c.name],
            set_={"full_at": case((full_at > self._now, full_at), else_=self._now) + step},
            where=full_at <= self._now + (WINDOW_S + ROUNDING_S) - step,
        ).returning(full_at - self._now)
        return taken

    def _level(self, bucket: Bucket, wanted: int) -> Level:
        """What is in a bucket. One that is full later than it can be is of a clock that has been set back since."""
        mine = and_(rate_buckets.c.tenant == self._tenant, rate_buckets.c.name == bucket.name)
        full_at, latest = rate_buckets.c.full_at, self._now + WINDOW_S
        with self._catalog.writing(durable=False) as connection:
            connection.execute(update(rate_buckets).where(mine, full_at > latest).values(full_at=latest))
            ahead = connection.execute(select(full_at - self._now).where(mine)).scalar()
        return Level.of(bucket, ahead or 0.0, WINDOW_S, wanted)
