"""Who is signed in at the page. Rows alone open nothing: what they hold is sealed with what the browser has."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Update, delete, insert, select, update

from rag.access.principals import Principal
from rag.stores.catalog import Catalog
from rag.stores.catalog_schema import logout_tokens, sessions

NEVER = 0


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session; `rag.stores.catalog_schema` says what the columns are."""

    id: str
    subject: Principal
    sid: str | None
    sealed: str
    began_at: int
    used_at: int
    generation: int = 0
    renewing_until: int = NEVER


_COLUMNS = [sessions.c[field.name] for field in fields(SessionRow)]


class CatalogSessions:
    """The sessions of one tenant. Every method raises StoreUnavailable when the database does not answer."""

    def __init__(self, catalog: Catalog, tenant: str) -> None:
        self._catalog = catalog
        self._tenant = tenant

    def begin(self, row: SessionRow, *, unused_since: int, began_before: int) -> None:
        """Keeps a new session, and forgets those that have not been used or that began so long ago."""
        ended = (sessions.c.used_at < unused_since) | (sessions.c.began_at < began_before)
        with self._catalog.writing() as connection:
            connection.execute(delete(sessions).where(sessions.c.tenant == self._tenant, ended))
            connection.execute(insert(sessions).values(tenant=self._tenant, **asdict(row)))

    def find(self, identifier: str) -> SessionRow | None:
        """The session as it is now; None if there is none."""
        with self._catalog.reading() as connection:
            found = connection.execute(select(*_COLUMNS).where(self._is(identifier))).first()
        return SessionRow(*found) if found else None

    def touch(self, identifier: str, now: int) -> None:
        """Notes that it is used."""
        self._change(update(sessions).where(self._is(identifier)).values(used_at=now))

    def claim(self, identifier: str, generation: int, now: int, until: int) -> bool:
        """Whether this request, and no other until then, may renew the tokens of this generation."""
        free = self._is(identifier) & (sessions.c.generation == generation) & (sessions.c.renewing_until <= now)
        return self._change(update(sessions).where(free).values(renewing_until=until))

    def unclaim(self, identifier: str, generation: int) -> None:
        """Lets others try."""
        mine = self._is(identifier) & (sessions.c.generation == generation)
        self._change(update(sessions).where(mine).values(renewing_until=NEVER))

    def renew(self, identifier: str, generation: int, sealed: str) -> bool:
        """Keeps the tokens that follow those of this generation; False if the session has ended meanwhile."""
        mine = self._is(identifier) & (sessions.c.generation == generation)
        following: dict[str, Any] = {"sealed": sealed, "generation": generation + 1, "renewing_until": NEVER}
        return self._change(update(sessions).where(mine).values(**following))

    def end(self, identifier: str) -> None:
        """Ends one session. One that is not there is no error."""
        with self._catalog.writing() as connection:
            connection.execute(delete(sessions).where(self._is(identifier)))

    def hear(self, logout_token: str, now: int, ends_at: int, *, sid: str | None, subject: Principal | None) -> bool:
        """Ends the provider's session `sid`, or without one all of `subject`; False, and nothing ends, if heard before.

        The token is remembered until `ends_at`, in the same transaction: noted without its work it would be refused
        when the provider sends it again.
        """
        those = sessions.c.subject == subject if sid is None else sessions.c.sid == sid
        with self._catalog.writing() as connection:
            over = (logout_tokens.c.tenant == self._tenant) & (logout_tokens.c.ends_at <= now)
            connection.execute(delete(logout_tokens).where(over))
            known = select(logout_tokens.c.id).where(logout_tokens.c.id == logout_token)
            if connection.execute(known).first() is not None:
                return False
            connection.execute(insert(logout_tokens).values(id=logout_token, tenant=self._tenant, ends_at=ends_at))
            connection.execute(delete(sessions).where((sessions.c.tenant == self._tenant) & those))
        return True

    def _is(self, identifier: str) -> ColumnElement[bool]:
        return (sessions.c.tenant == self._tenant) & (sessions.c.id == identifier)

    def _change(self, statement: Update) -> bool:
        with self._catalog.writing(durable=False) as connection:
            return bool(connection.execute(statement).rowcount)
