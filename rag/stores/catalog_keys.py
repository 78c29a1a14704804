"""API keys in the catalog. A key that was taken back is refused by the next request: each asks for its row anew."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from rag.access.api_keys import ApiKey, KeyScope, check_room
from rag.stores.catalog import Catalog
from rag.stores.catalog_schema import api_keys

LAST_USED_STEP = timedelta(minutes=1)
MOST_ENDED = 100
"""Who makes and revokes keys all day would fill lists with them; the audit has them all."""


class CatalogKeys:
    """The keys of one tenant. No other tenant's key is found here, whatever its id."""

    def __init__(self, catalog: Catalog, tenant: str) -> None:
        self._catalog = catalog
        self._tenant = tenant

    def add(self, key: ApiKey) -> None:
        """Keeps a new key, and of its subject's ended ones the `MOST_ENDED` that were made last.

        Raises:
            BadInput: its subject has as many that are valid as may be.
            StoreUnavailable: the catalog does not answer.
        """
        row = {each.name: getattr(key, each.name) for each in api_keys.columns}
        row["scopes"] = " ".join(sorted(key.scopes))
        with self._catalog.writing() as connection:
            self._catalog.take_turns(connection, f"keys {self._tenant} {key.subject}")
            check_room(connection.execute(self._valid(key.subject, key.created_at)).scalar_one())
            connection.execute(insert(api_keys), row)
            connection.execute(delete(api_keys).where(api_keys.c.id.in_(self._too_many_ended(key))))

    def find(self, identifier: str) -> ApiKey | None:
        """The key with this id, whether valid or not; None if there is none.

        Raises:
            StoreUnavailable: as above.
        """
        with self._catalog.reading() as connection:
            row = connection.execute(select(api_keys).where(*self._is(identifier))).first()
        return _key(row) if row else None

    def listed(self, subject: str | None = None) -> list[ApiKey]:
        """The keys of a subject, or all, oldest first, with those that are no longer valid."""
        mine = select(api_keys).where(api_keys.c.tenant == self._tenant)
        if subject is not None:
            mine = mine.where(api_keys.c.subject == subject)
        with self._catalog.reading() as connection:
            return [_key(row) for row in connection.execute(mine.order_by(api_keys.c.created_at, api_keys.c.id))]

    def revoke(self, identifier: str, now: datetime) -> bool:
        """Takes a key back for good, on disk when this returns; whether it was valid until then."""
        taken = update(api_keys).where(*self._is(identifier), api_keys.c.revoked_at.is_(None))
        with self._catalog.writing() as connection:
            return bool(connection.execute(taken.values(revoked_at=now)).rowcount)

    def first_used(self, key: ApiKey, now: datetime) -> Callable[[Connection], bool]:
        """What notes, in a transaction of the caller's, that a key is in use, and says whether it is so only now.

        Of many that find a new key unused at once, one hears yes.
        """
        unused = update(api_keys).where(*self._is(key.id), api_keys.c.last_used_at.is_(None))
        return lambda connection: bool(connection.execute(unused.values(last_used_at=now)).rowcount)

    def used(self, key: ApiKey, now: datetime) -> None:
        """Notes that a key is in use, to the minute, so that few requests write."""
        if key.last_used_at is not None and now - key.last_used_at < LAST_USED_STEP:
            return
        column = api_keys.c.last_used_at
        older = update(api_keys).where(*self._is(key.id), column.is_(None) | (column < now))
        with self._catalog.writing(durable=False) as connection:
            connection.execute(older.values(last_used_at=now))

    def valid_count(self, subject: str, now: datetime) -> int:
        """How many valid keys a subject has."""
        with self._catalog.reading() as connection:
            return connection.execute(self._valid(subject, now)).scalar_one()

    def _valid(self, subject: str, now: datetime) -> Select[int]:
        valid = (api_keys.c.revoked_at.is_(None), api_keys.c.expires_at > now)
        mine = (api_keys.c.tenant == self._tenant, api_keys.c.subject == subject)
        return select(func.count()).select_from(api_keys).where(*mine, *valid)

    def _too_many_ended(self, new: ApiKey) -> Select[str]:
        ended = api_keys.c.revoked_at.is_not(None) | (api_keys.c.expires_at <= new.created_at)
        mine = (api_keys.c.tenant == self._tenant, api_keys.c.subject == new.subject)
        newest_first = (api_keys.c.created_at.desc(), api_keys.c.id)
        return select(api_keys.c.id).where(*mine, ended).order_by(*newest_first).offset(MOST_ENDED)

    def _is(self, identifier: str) -> tuple[Any, ...]:
        return api_keys.c.tenant == self._tenant, api_keys.c.id == identifier


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        tenant=row.tenant,
        subject=row.subject,
        name=row.name,
        scopes=frozenset(map(KeyScope, row.scopes.split())),
        digest=row.digest,
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
