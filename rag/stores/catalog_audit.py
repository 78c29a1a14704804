"""The audit log in the catalog: one chain of sealed records for each tenant (`rag.access.audit_chain`)."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from operator import attrgetter
from threading import Lock

from sqlalchemy import Connection, bindparam, delete, insert, select

from rag.access.audit import AuditRecord, Deed, Outcome
from rag.access.audit_chain import DAY_MS, SEALED, Entry, Mark, Seal
from rag.errors import Misconfigured, StoreUnavailable
from rag.stores.audit_notes import Notes
from rag.stores.catalog import Catalog
from rag.stores.catalog_schema import audit, audit_chains, audit_people, audit_texts

OURS = "sys:"
"""Who acts under such a name is no person: it stands in the chain as it is."""
_values = attrgetter(*Entry.__slots__)
_FIELDS = Entry.__slots__

_INSERT = insert(audit)
_PERSON = select(audit_people.c.person).where(
    audit_people.c.tenant == bindparam("tenant"),
    audit_people.c.day == bindparam("day"),
    audit_people.c.subject == bindparam("subject"),
)
_TAIL = (
    select(audit.c.number, audit.c.mac, _PERSON.scalar_subquery().label("person"))
    .where(audit.c.tenant == bindparam("tenant"))
    .order_by(audit.c.number.desc())
    .limit(1)
)
"""The last record, and who somebody is today; in one statement, because this is done for each question."""


class KeepText(StrEnum):
    """Which text is kept beside the chain."""

    OFF = "off"
    QUESTION = "question"
    PASSAGES = "passages"  # and the question


class CatalogAudit:
    """Writes records. Threads take turns here, processes in the database: a chain has one end."""

    def __init__(
        self,
        catalog: Catalog,
        seal: Seal,
        notes: Notes,
        *,
        keep_text: KeepText = KeepText.OFF,
        names_days: int = 90,
        forward: Callable[[Entry], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """An audit log.

        Args:
            names_days: after so many days the names behind pseudonyms are forgotten.
            forward: gets each record that was written.
        """
        self._catalog = catalog
        self._seal = seal
        self._notes = notes
        self._keep_text = keep_text
        self._names_days = names_days
        self._forward = forward
        self._clock = clock
        self._lock = Lock()
        self._failed = 0
        self._checked: set[str] = set()
        self._tail = catalog.rendered(_TAIL)
        self._insert = catalog.rendered(_INSERT)

    def record(self, record: AuditRecord | Deed) -> None:
        """Writes one record, before anything is released or done.

        Raises:
            StoreUnavailable: it could not be written; the release, or the deed, must not happen.
            Misconfigured: the tenant's chain was begun with another key.
        """
        self.record_if(lambda _: True, record)

    def record_if(self, changes: Callable[[Connection], bool], record: AuditRecord | Deed) -> None:
        """Makes a change and writes its record, both or none; what changed nothing has no record.

        Raises:
            StoreUnavailable, Misconfigured: as `record`, and nothing has changed.
        """
        with self._turn():
            with self._catalog.writing(durable=False) as connection:
                if not changes(connection):
                    return
                entry = self.append(connection, record)
            self._checked.add(record.tenant)
            self._notes.advance(record.tenant, Mark(entry.number, entry.mac))
        if self._forward:
            self._forward(entry)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """While the catalog is locked nobody waits for everybody before him, each for the whole of his time."""
        failed_before = self._failed
        with self._lock:
            if self._failed != failed_before:
                raise StoreUnavailable("the catalog did not answer for a record before this one")
            try:
                yield
            except StoreUnavailable:
                self._failed += 1
                raise

    def append(self, connection: Connection, record: AuditRecord | Deed) -> Entry:
        """Puts a record behind the last one, in a transaction of the caller's.

        What comes next is counted from the later one of the catalog's last record and the one noted outside: where the
        end was cut off, by a power cut, an older backup or somebody, a gap stays for good.
        """
        tenant = record.tenant
        self._catalog.take_turns(connection, f"audit {tenant}")
        if tenant not in self._checked:
            self._check_key(connection, tenant)
        at_ms = int(self._clock() * 1000)
        day = at_ms // DAY_MS
        stored = self._tail(connection, {"tenant": tenant, "day": day, "subject": record.subject}).first()
        person = (stored.person if stored else None) or self._person(connection, tenant, day, record.subject)
        stored_mark = Mark(stored.number, stored.mac) if stored else Mark()
        last = max(stored_mark, self._notes.latest(tenant), key=lambda each: each.number)
        entry, text = self._entry(connection, record, last, at_ms, person)
        self._insert(connection, dict(zip(_FIELDS, _values(entry), strict=True)))
        if text:
            connection.execute(insert(audit_texts).values(tenant=tenant, number=entry.number, text=text))
        return entry

    def check_key(self, tenant: str) -> None:
        """Whether records can be added to the tenant's chain.

        Raises:
            Misconfigured: it was begun with another key.
            StoreUnavailable: the catalog does not answer.
        """
        with self._catalog.reading() as connection:
            self._compare_key(connection, tenant)

    def _check_key(self, connection: Connection, tenant: str) -> None:
        if not self._compare_key(connection, tenant):
            begun = Mark()
            row = {"key_id": self._seal.key_id, "cut_number": begun.number, "cut_mac": begun.mac, "cut_proof": ""}
            connection.execute(insert(audit_chains).values(tenant=tenant, **row))

    def _compare_key(self, connection: Connection, tenant: str) -> bool:
        """Whether there is a chain."""
        statement = select(audit_chains.c.key_id).where(audit_chains.c.tenant == tenant)
        found = connection.execute(statement).scalar()
        if found not in (None, self._seal.key_id):
            raise Misconfigured(
                "the audit of this catalog was begun with another key; give this home the same one, as "
                "KUSTOS_AUDIT_KEY or by copying the file audit/key of the home that began it (docs/audit.md)"
            )
        return found is not None

    def _entry(
        self, connection: Connection, record: AuditRecord | Deed, last: Mark, at_ms: int, person: str
    ) -> tuple[Entry, str | None]:
        if isinstance(record, Deed):
            other = record.concerning
            concerning = other and self._person(connection, record.tenant, at_ms // DAY_MS, other)
            return self._sealed_after(last, _deed(record, at_ms, person, concerning)), None
        text = self._text(record)
        return self._sealed_after(last, self._decision(record, at_ms, person, text)), text

    def _sealed_after(self, last: Mark, values: dict[str, object]) -> Entry:
        values["number"] = last.number + 1
        mac = self._seal.mac(last.mac, [values[name] for name in SEALED])
        return Entry(**values, mac=mac)  # type: ignore[arg-type]

    def _decision(self, record: AuditRecord, at_ms: int, person: str, text: str | None) -> dict[str, object]:
        purpose, seal = record.purpose, self._seal
        return {
            "tenant": record.tenant,
            "at_ms": at_ms,
            "person": person,
            "action": purpose.action.value,
            "outcome": record.outcome.value,
            "about": record.about,
            "concerning": None,
            # With the pseudonym, so that nobody can be followed by it from day to day.
            "principals_hash": seal.content(person, record.principals_hash),
            "question_hash": None if purpose.question is None else seal.content(purpose.question),
            "text_hash": text and seal.content(text),
            "released": json.dumps([(each.document, each.version, each.chunks) for each in record.released]),
            "stale_index": record.stale_index,
            "model": purpose.model,
            "grants": json.dumps(record.grants),
            "detail": json.dumps({"client": record.client} if record.client else {}),
            "request_id": purpose.request_id,
        }

    def _text(self, record: AuditRecord) -> str | None:
        """What the settings keep of the record's text, as JSON."""
        kept: dict[str, object] = {}
        if self._keep_text is not KeepText.OFF and record.purpose.question is not None:
            kept["question"] = record.purpose.question
        if self._keep_text is KeepText.PASSAGES and record.texts:
            kept["passages"] = record.texts
        return json.dumps(kept, ensure_ascii=True) if kept else None

    def _person(self, connection: Connection, tenant: str, day: int, subject: str) -> str:
        """Who the subject is in the chain today; new names also make that old ones are forgotten."""
        if subject.startswith(OURS):
            return subject
        found: str | None = connection.execute(_PERSON, {"tenant": tenant, "day": day, "subject": subject}).scalar()
        if found is not None:
            return found
        salt = secrets.token_hex(16)
        person = self._seal.person(tenant, day, subject, salt)
        row = {"tenant": tenant, "day": day, "subject": subject, "salt": salt, "person": person}
        connection.execute(insert(audit_people), row)
        old = (audit_people.c.tenant == tenant) & (audit_people.c.day < day - self._names_days)
        connection.execute(delete(audit_people).where(old))
        return person


def _deed(deed: Deed, at_ms: int, person: str, concerning: str | None) -> dict[str, object]:
    return {
        "tenant": deed.tenant,
        "at_ms": at_ms,
        "person": person,
        "action": deed.act.value,
        "outcome": Outcome.DONE.value,
        "about": deed.about,
        "concerning": concerning,
        "principals_hash": None,
        "question_hash": None,
        "text_hash": None,
        "released": "[]",
        "stale_index": 0,
        "model": None,
        "grants": "[]",
        "detail": json.dumps(deed.detail, sort_keys=True),
        "request_id": deed.request_id,
    }
