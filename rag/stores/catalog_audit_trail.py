"""Reads the audit of one tenant: verifies its chain, lists it, and says who saw what."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, or_, select

from rag.access.audit_chain import Entry, Mark, Seal, Verdict, verify
from rag.stores.audit_notes import Notes
from rag.stores.catalog import Catalog
from rag.stores.catalog_schema import audit, audit_chains, audit_people, audit_texts

_A_TIME = 1_000
"""Rows that are held in memory."""
MOST_RELEASES = 50_000
"""So many documents in records are looked at to say who saw what; more is asked for by its beginning."""
_ENTRY = tuple(audit.c[name] for name in Entry.__slots__)
_OF_PERSON = (audit.c.tenant == audit_people.c.tenant) & (audit.c.person == audit_people.c.person)


@dataclass(slots=True)
class Sight:
    """How often somebody was shown something of a document.

    Attributes:
        who: the person's subject; his pseudonym of one day where the name is forgotten.
        requests: in which that was; one leaves several records, as an answer that is confirmed at its end.
        versions: of the document, in the order in which they were first shown.
        passages: ids of passages whose text was shown; none where title and address were all.
    """

    who: str
    document: str
    first_ms: int = 0
    last_ms: int = 0
    requests: set[str] = field(default_factory=set)
    versions: dict[str, None] = field(default_factory=dict)
    passages: set[str] = field(default_factory=set)
    grants: set[str] = field(default_factory=set)

    @property
    def times(self) -> int:
        return len(self.requests)

    def add(self, request_id: str, at_ms: int, version: str, chunks: Sequence[str], grants: Sequence[str]) -> None:
        self.requests.add(request_id)
        self.first_ms = min(self.first_ms or at_ms, at_ms)
        self.last_ms = max(self.last_ms, at_ms)
        self.versions.setdefault(version)
        self.passages.update(chunks)
        self.grants.update(grants)


@dataclass(frozen=True, slots=True)
class Seen:
    """Who saw what. `next` is the number of the last record that was looked at; None where there are no more."""

    sights: list[Sight]
    next: int | None = None


Wanted = Callable[[str], bool]


class AuditTrail:
    """Every method raises StoreUnavailable where the catalog, or the note beside it, cannot be read."""

    def __init__(self, catalog: Catalog, seal: Seal, notes: Notes, tenant: str) -> None:
        self._catalog = catalog
        self._seal = seal
        self._notes = notes
        self._tenant = tenant

    def head(self) -> Mark:
        """The last record, for somebody who notes it elsewhere."""
        statement = select(audit.c.number, audit.c.mac).where(audit.c.tenant == self._tenant)
        with self._catalog.reading() as connection:
            found = connection.execute(statement.order_by(audit.c.number.desc()).limit(1)).first()
        return Mark(*found) if found else Mark()

    def verify(self, *noted: Mark) -> Verdict:
        """Checks every record, and the names and texts beside them, against the chain and the marks noted outside.

        `noted` are further ones than that of this home.
        """
        marks = (self._notes.read(self._tenant), *noted)  # before the view of the catalog, which then has them all
        with self._catalog.reading() as connection:
            begin = self.cut(connection)
            everything = select(*_ENTRY).where(audit.c.tenant == self._tenant).order_by(audit.c.number)
            verdict = verify(self._seal, _rows(connection, everything), begin or Mark(), marks)
            if begin is None:
                verdict.add(0, "the mark of what was removed is not ours")
            self._verify_names(connection, verdict)
            self._verify_texts(connection, verdict)
        return verdict

    def entries(self) -> Iterator[Entry]:
        """All records in their order."""
        return chain.from_iterable(self.portions())

    def portions(
        self, since_ms: int = 0, until_ms: int | None = None, through: int | None = None
    ) -> Iterator[list[Entry]]:
        """Records in their order, from a moment up to another, that one excluded, and none behind the number `through`.

        In portions, each read when it is taken, so that nobody who takes them slowly holds the catalog.
        """
        statement = select(*_ENTRY).where(audit.c.tenant == self._tenant, audit.c.at_ms >= since_ms)
        if until_ms is not None:
            statement = statement.where(audit.c.at_ms < until_ms)
        if through is not None:
            statement = statement.where(audit.c.number <= through)
        last = 0
        while True:
            with self._catalog.reading() as connection:
                following = statement.where(audit.c.number > last).order_by(audit.c.number).limit(_A_TIME)
                some = [Entry(*row) for row in connection.execute(following)]
            if some:
                yield some
            if len(some) < _A_TIME:
                return
            last = some[-1].number

    def text(self, number: int) -> str | None:
        """The text beside a record as JSON, where the settings kept it and it was not erased."""
        beside = (audit_texts.c.tenant == self._tenant) & (audit_texts.c.number == number)
        with self._catalog.reading() as connection:
            found: str | None = connection.execute(select(audit_texts.c.text).where(beside)).scalar()
        return found

    def names(self) -> dict[str, str]:
        """Subjects by pseudonym, as far as they are not forgotten."""
        statement = select(audit_people.c.person, audit_people.c.subject).where(audit_people.c.tenant == self._tenant)
        with self._catalog.reading() as connection:
            return {row.person: row.subject for row in connection.execute(statement)}

    def who_saw(self, document: str, after: int = 0) -> Seen:
        """Everybody who was shown something of the document, by the time of the first sight.

        Args:
            after: a record's number; what comes behind it is looked at.
        """
        statement = self._sights(after).where(audit.c.released.contains(document, autoescape=True))
        return self._seen(statement, lambda each: each == document)

    def knows(self, person: str) -> bool:
        """Whether somebody with this subject, or this id at the identity provider, is in the audit by name."""
        statement = select(audit_people.c.person).where(audit_people.c.tenant == self._tenant, is_person(person))
        with self._catalog.reading() as connection:
            return connection.execute(statement.limit(1)).first() is not None

    def what_saw(self, person: str, after: int = 0) -> Seen:
        """Every document of which the person was shown something, as far as his name is not forgotten.

        Args:
            person: his subject, or its last part, the id at the identity provider.
            after: as above.
        """
        return self._seen(self._sights(after).where(is_person(person)), lambda _: True)

    def stale_index(self, since: datetime) -> int:
        """How many candidates the index has proposed since then that the catalog refused; for operators."""
        statement = select(func.coalesce(func.sum(audit.c.stale_index), 0)).where(
            audit.c.tenant == self._tenant, audit.c.at_ms >= int(since.timestamp() * 1000)
        )
        with self._catalog.reading() as connection:
            return int(connection.execute(statement).scalar_one())

    def cut(self, connection: Connection) -> Mark | None:
        """Up to where records were removed; None if somebody says so who has not the key."""
        columns = (audit_chains.c.cut_number, audit_chains.c.cut_mac, audit_chains.c.cut_proof)
        found = connection.execute(select(*columns).where(audit_chains.c.tenant == self._tenant)).first()
        if found is None or tuple(found) == (0, Mark().mac, ""):
            return Mark()
        mark = Mark(found.cut_number, found.cut_mac)
        return mark if self._seal.cut(self._tenant, mark) == found.cut_proof else None

    def _verify_names(self, connection: Connection, verdict: Verdict) -> None:
        columns = (audit_people.c.day, audit_people.c.subject, audit_people.c.salt, audit_people.c.person)
        for day, subject, salt, person in _rows(
            connection, select(*columns).where(audit_people.c.tenant == self._tenant)
        ):
            if person != self._seal.person(self._tenant, day, str(subject), str(salt)):
                first = select(func.min(audit.c.number)).where(audit.c.tenant == self._tenant, audit.c.person == person)
                number = connection.execute(first).scalar() or 0
                verdict.add(number, f"the name behind pseudonym {person} is not the one that was recorded")

    def _verify_texts(self, connection: Connection, verdict: Verdict) -> None:
        of_record = (audit.c.tenant == audit_texts.c.tenant) & (audit.c.number == audit_texts.c.number)
        statement = (
            select(audit_texts.c.number, audit_texts.c.text, audit.c.text_hash)
            .outerjoin(audit, of_record)
            .where(audit_texts.c.tenant == self._tenant)
        )
        for number, text, expected in _rows(connection, statement):
            if self._seal.content(str(text)) != expected:
                verdict.add(number, f"the text beside record {number} is not the one that was recorded")

    def _sights(self, after: int) -> Select[*tuple[Any, ...]]:
        return (
            select(
                audit.c.number,
                audit.c.request_id,
                audit.c.at_ms,
                audit.c.released,
                audit.c.grants,
                audit.c.person,
                audit_people.c.subject,
            )
            .outerjoin(audit_people, _OF_PERSON)
            .where(audit.c.tenant == self._tenant, audit.c.released != "[]", audit.c.number > after)
            .order_by(audit.c.number)
        )

    def _seen(self, statement: Select[*tuple[Any, ...]], wanted: Wanted) -> Seen:
        """`wanted` says of a document's id whether it is asked about."""
        found: dict[tuple[str, str], Sight] = {}
        looked_at, last = 0, None
        with self._catalog.reading() as connection:
            for number, request_id, at_ms, released, grants, person, subject in _rows(connection, statement):
                if looked_at >= MOST_RELEASES:
                    return Seen(list(found.values()), last)
                for document, version, chunks in json.loads(released):
                    looked_at += 1
                    if wanted(document):
                        sight = found.setdefault((subject or person, document), Sight(subject or person, document))
                        sight.add(request_id, at_ms, version, chunks, json.loads(grants))
                last = number
        return Seen(list(found.values()))


def identifier_of(person: str) -> str:
    """The id at the identity provider, of a subject or of itself."""
    return person.rpartition(":user:")[2]


def is_person(person: str) -> ColumnElement[bool]:
    """Condition that `audit_people` is about the person with this subject, or whose subject ends with this id.

    Auditors ask by either, and what they asked for is kept as it was written: the bare id is his name too.
    """
    identifier = identifier_of(person)
    subject = audit_people.c.subject
    ending = f":user:{person}"
    ends_so = func.substr(subject, func.length(subject) - len(ending) + 1) == ending  # LIKE would ignore case in SQLite
    return or_(subject.in_({person, identifier}), ends_so)


def _rows(connection: Connection, statement: Select[*tuple[Any, ...]]) -> Iterator[Row[*tuple[Any, ...]]]:
    return iter(connection.execution_options(yield_per=_A_TIME).execute(statement))
