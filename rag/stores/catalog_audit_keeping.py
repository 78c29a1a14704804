"""Takes away what may no longer be kept: old records, the name of a person, text. The chain stays one that fits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update

from rag.access.audit import Act, Deed
from rag.access.audit_chain import DAY_MS, Mark, Seal
from rag.errors import BadInput, NotAllowed
from rag.stores.catalog import Catalog
from rag.stores.catalog_audit import CatalogAudit
from rag.stores.catalog_audit_trail import AuditTrail, identifier_of, is_person
from rag.stores.catalog_schema import audit, audit_chains, audit_people, audit_texts

RETENTION = "sys:retention"
ROWS_A_TRANSACTION = 2_000
"""Questions wait no longer for the database than this takes."""


@dataclass(frozen=True, slots=True)
class By:
    """Who takes something away, and in which request."""

    subject: str
    request_id: str


class AuditKeeping:
    """Every method records what it does before it does it, and raises StoreUnavailable where the catalog fails."""

    def __init__(
        self,
        catalog: Catalog,
        seal: Seal,
        log: CatalogAudit,
        trail: AuditTrail,
        tenant: str,
        *,
        least_days: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`least_days`: what somebody removes by hand is at least so old."""
        self._catalog = catalog
        self._seal = seal
        self._log = log
        self._trail = trail
        self._tenant = tenant
        self._least_ms = least_days * DAY_MS
        self._clock = clock

    def prune(self, before_ms: int, by: By) -> int:
        """Removes records of before a moment, with their texts and names; the last record of all stays.

        What was wrong in the chain is found first, and its number recorded, so that pruning hides nothing.

        Returns:
            How many records are gone.

        Raises:
            BadInput: it would remove young ones, in which somebody may still look for what `by` did.
        """
        youngest_ms = int(self._clock() * 1000) - self._least_ms
        if before_ms > youngest_ms:
            days = self._least_ms // DAY_MS
            raise BadInput(f"records of the last {days} days stay (KUSTOS_AUDIT_PRUNE_DAYS); name an earlier moment")
        return self._prune(before_ms, by)

    def _prune(self, before_ms: int, by: By) -> int:
        through = self._through(before_ms)
        if through.number == 0:
            return 0
        faults = self._trail.verify().faults_in_all
        detail = {"through": through.number, "before_ms": before_ms, "faults": faults}
        self._log.record(Deed(self._tenant, by.subject, Act.AUDIT_PRUNED, by.request_id, detail=detail))
        cut = {"cut_number": through.number, "cut_mac": through.mac, "cut_proof": self._seal.cut(self._tenant, through)}
        with self._catalog.writing() as connection:
            self._catalog.take_turns(connection, f"audit {self._tenant}")
            current = self._trail.cut(connection)
            # Another replica's mark may be a later one by now: moved back, it would make what is gone look cut out.
            if current is None or current.number < through.number:
                connection.execute(update(audit_chains).where(audit_chains.c.tenant == self._tenant).values(cut))
            old = (audit_people.c.tenant == self._tenant) & (audit_people.c.day < before_ms // DAY_MS)
            connection.execute(delete(audit_people).where(old))
        return self._remove(through.number)

    def forget(self, person: str, by: By) -> int:
        """Erases a person's name and texts: his pseudonyms are nobody's from then on.

        Args:
            person: his subject, or its last part, the id at the identity provider.

        Returns:
            On how many days he had been recorded.

        Raises:
            NotAllowed: it is `by` himself, who would erase what he did: he needs another one for that.
        """
        his = (audit_people.c.tenant == self._tenant) & is_person(person)
        with self._catalog.reading() as connection:
            names = set(connection.execute(select(audit_people.c.subject).where(his)).scalars())
        if by.subject in names or identifier_of(person) == identifier_of(by.subject):
            raise NotAllowed("nobody has himself forgotten: another auditor does that")
        self._log.record(Deed(self._tenant, by.subject, Act.PERSON_FORGOTTEN, by.request_id))
        with self._catalog.writing() as connection:
            pseudonyms = list(connection.execute(select(audit_people.c.person).where(his)).scalars())
            numbers = select(audit.c.number).where(audit.c.tenant == self._tenant, audit.c.person.in_(pseudonyms))
            texts = (audit_texts.c.tenant == self._tenant) & audit_texts.c.number.in_(numbers)
            connection.execute(delete(audit_texts).where(texts))
            connection.execute(delete(audit_people).where(his))
        return len(pseudonyms)

    def expire(self, now_ms: int, names_days: int, records_days: int) -> int:
        """Does what the settings promise: forgets names of more days ago, and removes records; 0 days keeps these.

        Returns:
            How many records are gone.
        """
        old = (audit_people.c.tenant == self._tenant) & (audit_people.c.day < now_ms // DAY_MS - names_days)
        with self._catalog.writing() as connection:
            connection.execute(delete(audit_people).where(old))
        return self._prune(now_ms - records_days * DAY_MS, By(RETENTION, "retention")) if records_days else 0

    def _through(self, before_ms: int) -> Mark:
        """The last record that can go, so that at least one stays for the next to follow; number 0 if none can."""
        mine = audit.c.tenant == self._tenant
        first_kept = select(func.min(audit.c.number)).where(mine, audit.c.at_ms >= before_ms).scalar_subquery()
        last = select(func.max(audit.c.number)).where(mine).scalar_subquery()
        statement = (
            select(audit.c.number, audit.c.mac)
            .where(mine, audit.c.number < func.coalesce(first_kept, last))
            .order_by(audit.c.number.desc())
            .limit(1)
        )
        with self._catalog.reading() as connection:
            found = connection.execute(statement).first()
        return Mark(*found) if found else Mark()

    def _remove(self, through: int) -> int:
        removed = 0
        while True:
            with self._catalog.writing() as connection:
                mine = select(audit.c.number).where(audit.c.tenant == self._tenant, audit.c.number <= through)
                some = list(connection.execute(mine.order_by(audit.c.number).limit(ROWS_A_TRANSACTION)).scalars())
                if not some:
                    return removed
                for table in (audit_texts, audit):
                    these = (table.c.tenant == self._tenant) & (table.c.number <= some[-1])
                    connection.execute(delete(table).where(these))
            removed += len(some)
