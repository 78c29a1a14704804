"""Break-glass grants in the catalog (`rag.access.break_glass`). Each step is recorded before it is done."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, insert, select, update

from rag.access.audit import Act, Deed
from rag.access.break_glass import PROPOSAL_MS, Grant, check_confirmation, check_proposal
from rag.access.principals import Principal
from rag.errors import BadInput, NotFound
from rag.ports import AuditLog
from rag.stores.catalog import Catalog
from rag.stores.catalog_history import note_end_of_grant, note_grant
from rag.stores.catalog_schema import grants

_GRANT = tuple(grants.c[field.name] for field in fields(Grant))


class CatalogGrants:
    """The grants of one tenant, while break-glass is on. Every method raises StoreUnavailable as the catalog does."""

    def __init__(
        self, catalog: Catalog, audit: AuditLog, tenant: str, most_hours: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._catalog = catalog
        self._audit = audit
        self._tenant = tenant
        self._most_hours = most_hours
        self._clock = clock

    def in_force(self, tenant: str, subject: str) -> Sequence[Grant]:
        """The grants that somebody holds now."""
        statement = select(*_GRANT).where(
            grants.c.tenant == tenant,
            grants.c.subject == subject,
            grants.c.until_ms > self.now_ms(),
            grants.c.confirmed_by.is_not(None),
            grants.c.ended_by.is_(None),
        )
        with self._catalog.reading() as connection:
            return [_grant(row) for row in connection.execute(statement)]

    def all(self) -> list[Grant]:
        """Every grant there was, the newest first."""
        statement = select(*_GRANT).where(grants.c.tenant == self._tenant).order_by(grants.c.proposed_ms.desc())
        with self._catalog.reading() as connection:
            return [_grant(row) for row in connection.execute(statement)]

    def propose(
        self, subject: str, wanted: Sequence[str], reason: str, minutes: int, *, by: str, request_id: str
    ) -> Grant:
        """A proposal; it opens nothing.

        Raises:
            BadInput, BadPrincipal: it may not be made so.
        """
        check_proposal(subject, wanted, reason, minutes, self._most_hours)
        held = tuple(Principal(each) for each in sorted(set(wanted)))
        made = Grant(str(uuid.uuid4()), self._tenant, subject, held, reason.strip(), minutes, by, self.now_ms())
        self._tell(made, Act.GRANT_PROPOSED, by, request_id)
        with self._catalog.writing() as connection:
            connection.execute(insert(grants), _row(made))
        return made

    def confirm(self, identifier: str, *, by: str, request_id: str) -> Grant:
        """Puts a proposal into force for its time.

        Raises:
            NotFound: there is none.
            NotAllowed: `by` proposed it or gets it.
            BadInput: it is confirmed, revoked or over already.
        """
        grant = self._found(identifier)
        check_confirmation(grant, by, self.now_ms())
        self._tell(grant, Act.GRANT_CONFIRMED, by, request_id)
        now = self._clock()
        until_ms = int(now * 1000) + grant.minutes * 60_000
        waiting = (grants.c.id == grant.id) & grants.c.confirmed_by.is_(None) & grants.c.ended_by.is_(None)
        with self._catalog.writing() as connection:
            done = connection.execute(update(grants).where(waiting).values(confirmed_by=by, until_ms=until_ms))
            if done.rowcount == 1:
                begun, ended = (datetime.fromtimestamp(each, UTC) for each in (now, until_ms / 1000))
                note_grant(connection, grant, begun, ended)
        if done.rowcount != 1:
            raise BadInput(f"grant {grant.id} was confirmed or revoked by somebody else just now")
        return self._found(identifier)

    def revoke(self, identifier: str, *, by: str, request_id: str) -> Grant:
        """Ends a grant, or withdraws a proposal, at once. One that was over or revoked before stays as it is.

        Raises:
            NotFound: there is none.
        """
        grant = self._found(identifier)
        self._tell(grant, Act.GRANT_REVOKED, by, request_id)
        now, until_ms = self._clock(), grants.c.until_ms
        now_ms = int(now * 1000)
        waiting = until_ms.is_(None) & (grants.c.proposed_ms > now_ms - PROPOSAL_MS)
        open_ones = (grants.c.id == grant.id) & grants.c.ended_by.is_(None) & (waiting | (until_ms > now_ms))
        with self._catalog.writing() as connection:
            if connection.execute(update(grants).where(open_ones).values(ended_by=by)).rowcount:
                note_end_of_grant(connection, grant, datetime.fromtimestamp(now, UTC))
        return self._found(identifier)

    def revoke_all(self, *, by: str) -> int:
        """Ends every grant and withdraws every proposal. How many there were."""
        waiting = [each for each in self.all() if each.state(self.now_ms()) in {"proposed", "in force"}]
        for each in waiting:
            self.revoke(each.id, by=by, request_id="")
        return len(waiting)

    def now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _found(self, identifier: str) -> Grant:
        statement = select(*_GRANT).where(grants.c.tenant == self._tenant, grants.c.id == identifier)
        with self._catalog.reading() as connection:
            row = connection.execute(statement).first()
        if row is None:
            raise NotFound(f"there is no grant {identifier!r}")
        return _grant(row)

    def _tell(self, grant: Grant, act: Act, by: str, request_id: str) -> None:
        detail: dict[str, str | int] = {
            "principals": json.dumps(grant.principals),
            "minutes": grant.minutes,
            "reason": grant.reason,
        }
        self._audit.record(Deed(self._tenant, by, act, request_id, grant.id, grant.subject, detail))


def _grant(row: Row[*tuple[Any, ...]]) -> Grant:
    values = dict(zip((field.name for field in fields(Grant)), row, strict=True))
    return Grant(**values | {"principals": tuple(map(Principal, json.loads(values["principals"])))})


def _row(grant: Grant) -> dict[str, object]:
    values = {field.name: getattr(grant, field.name) for field in fields(Grant)}
    return values | {"principals": json.dumps(grant.principals)}
