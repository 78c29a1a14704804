"""Routes for auditors. Each asking is itself recorded, before anything is read.

They read the audit and take away what may no longer be kept; they open no passage. Operators have none of this: who
runs the service does not also read, or shorten, what was written about it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from time import monotonic
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api import reports
from api.access_table import Duty
from api.admission.doors import GuardedRoute
from api.admission.subjects import Subjects
from api.errors import describe, error_body
from api.given import RequestId, TheCaller, TheDoors, TheKustos, TheSubjects, TheUnconfirmed
from api.schemas import WRITABLE
from api.threads import in_thread
from rag.access import ocsf
from rag.access.audit import Act, Action, Deed, Purpose
from rag.access.audit_chain import Entry, Mark
from rag.access.scope import Caller
from rag.bootstrap import Kustos
from rag.errors import KustosError, NotAllowed, NotFound
from rag.stores.catalog_audit_keeping import By

log = logging.getLogger(__name__)
router = APIRouter(route_class=GuardedRoute)

Moment = Annotated[AwareDatetime | None, Query(description="With its zone, as in 2026-05-01T00:00:00Z.")]
After = Annotated[int, Query(ge=0, le=2**62, description="`next` of the reply before.")]
CONFIRMED_S = 1.0
"""What an auditor may read is decided anew so long after it was decided, at the next line that he takes."""
MARK = r"^[0-9]{1,18}:[0-9a-f]{64}$"


class PruneRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"before": "2026-01-01T00:00:00Z"}})

    before: AwareDatetime


class ForgetRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"person": "kc:kustos:user:4f0e"}})

    person: str = Field(min_length=1, max_length=400, pattern=WRITABLE)


@router.get("/v1/audit/verdict", summary="Whether the chain of records is whole")
def verdict(
    kustos: TheKustos,
    caller: TheCaller,
    request_id: RequestId,
    noted: Annotated[str | None, Query(pattern=MARK, description="A head that was kept elsewhere.")] = None,
) -> dict[str, Any]:
    """Reads every record. `faults` names the first hundred that do not fit, `head` the last record, to be kept."""
    _told(kustos, caller, request_id, Act.AUDIT_READ, "verdict")
    number, _, mac = (noted or str(Mark())).partition(":")
    return reports.verdict(kustos.records.trail.verify(Mark(int(number), mac)))


@router.get("/v1/audit/who-saw", summary="Who was shown something of a document")
def who_saw(
    kustos: TheKustos,
    caller: TheCaller,
    request_id: RequestId,
    document: Annotated[
        str, Query(min_length=1, max_length=4_000, pattern=WRITABLE, description="Its id or its address.")
    ],
    after: After = 0,
) -> dict[str, Any]:
    """People by the first time; under a pseudonym where the name is forgotten.

    `next` goes into `after` of a further request, and is null where there is no more.
    """
    identifier = _identifier(kustos, document)
    _told(kustos, caller, request_id, Act.AUDIT_READ, "who-saw", about=identifier or document)
    if identifier is None:
        raise NotFound(
            f"there is no document at {document!r}; give its address as `kustos documents` shows it, or its id, "
            "and of one that is gone its id"
        )
    seen = kustos.records.trail.who_saw(identifier, after)
    return {"document": identifier, "people": [reports.sight(each) for each in seen.sights], "next": seen.next}


@router.get("/v1/audit/what-saw", summary="What a person was shown")
def what_saw(
    kustos: TheKustos,
    subjects: TheSubjects,
    caller: TheCaller,
    request_id: RequestId,
    person: Annotated[
        str,
        Query(min_length=1, max_length=400, pattern=WRITABLE, description="Subject, id at the provider, or user name."),
    ],
    after: After = 0,
) -> dict[str, Any]:
    """Documents by the first time, as far back as the person's name is kept. No titles: auditors read no documents.

    `next` goes into `after` of a further request, and is null where there is no more.
    """
    try:
        subject = _subject(kustos, subjects, person)
    except NotFound:
        _told(kustos, caller, request_id, Act.AUDIT_READ, "what-saw")
        raise
    _told(kustos, caller, request_id, Act.AUDIT_READ, "what-saw", concerning=subject)
    seen = kustos.records.trail.what_saw(subject, after)
    return {"person": subject, "documents": [reports.sight(each) for each in seen.sights], "next": seen.next}


@router.get("/v1/audit/events", summary="Records as OCSF events")
async def events(  # noqa: PLR0913  what a route depends on, each by its name
    kustos: TheKustos,
    doors: TheDoors,
    caller: TheCaller,
    unconfirmed: TheUnconfirmed,
    request_id: RequestId,
    *,
    since: Moment = None,
    until: Moment = None,
    names: Annotated[bool, Query(description="With names in place of pseudonyms, where they are kept.")] = False,
    texts: Annotated[
        bool, Query(description="With questions and passages, where the settings keep them and the auditor reads them.")
    ] = False,
) -> StreamingResponse:
    """JSON lines, one event a record, in order, up to this asking.

    The auditor is confirmed again each second, or for each line that is taken later. A last line with `error` says that
    the export is not whole.
    """
    asking = partial(_told, names=int(names), texts=int(texts))
    await in_thread(asking, kustos, caller, request_id, Act.AUDIT_EXPORTED, "events")
    trail = kustos.records.trail
    head = await in_thread(trail.head)
    known = await in_thread(trail.names) if names else {}

    async def auditor() -> Caller:
        now = await unconfirmed.confirmed_again()
        if not doors.identity.has_duty(now, Duty.AUDITOR):
            raise NotAllowed(f"the caller lost the role '{Duty.AUDITOR}' of this service's client")
        return now

    export = _Export(kustos, auditor, request_id, known, texts)
    portions = trail.portions(_ms(since) or 0, _ms(until), head.number)
    return StreamingResponse(export.lines(portions), media_type="application/x-ndjson")


@router.post("/v1/audit/prune", summary="Remove old records")
def prune(body: PruneRequest, kustos: TheKustos, caller: TheCaller, request_id: RequestId) -> dict[str, int]:
    """Those of before a moment, with their texts and names; young ones stay, and so does the last record of all."""
    by = By(caller.subject, request_id)
    return {"removed": kustos.records.keeping.prune(int(body.before.timestamp() * 1000), by)}


@router.post("/v1/audit/forget", summary="Forget a person's name")
def forget(
    body: ForgetRequest, kustos: TheKustos, subjects: TheSubjects, caller: TheCaller, request_id: RequestId
) -> dict[str, int]:
    """What he did stays in the chain, under pseudonyms that nobody can resolve any more. Nobody forgets himself."""
    person = _subject(kustos, subjects, body.person)
    return {"days": kustos.records.keeping.forget(person, By(caller.subject, request_id))}


@dataclass(frozen=True, slots=True)
class _Export:
    """Records for somebody who may take them slowly, so he is asked for again and again by `auditor` (RC-05).

    Attributes:
        auditor: the caller as he is now; raises KustosError if he is no auditor any more.
        names: subjects by pseudonym.
    """

    kustos: Kustos
    auditor: Callable[[], Awaitable[Caller]]
    request_id: str
    names: Mapping[str, str]
    texts: bool

    async def lines(self, portions: Iterator[list[Entry]]) -> AsyncIterator[str]:
        entries, line = chain.from_iterable(portions), "the first"
        try:
            while line:
                events, until = self._events(entries, await self.auditor()), monotonic() + CONFIRMED_S
                while line := await in_thread(partial(next, events, "")):
                    yield line
                    if monotonic() >= until:
                        break
        except KustosError as error:
            row, message = describe(error)
            log.warning("the export %s broke off: %s", self.request_id, error)
            yield json.dumps(error_body(message, row.type, error.code)) + "\n"

    def _events(self, entries: Iterator[Entry], auditor: Caller) -> Iterator[str]:
        kept = _KeptTexts(self.kustos, auditor, self.request_id) if self.texts else None
        for entry in entries:
            event = ocsf.event(entry, self.names)
            if kept and entry.text_hash and (text := self.kustos.records.trail.text(entry.number)):
                event["unmapped"]["text"] = kept.shown(entry, json.loads(text))
            yield json.dumps(event) + "\n"


class _KeptTexts:
    """Texts beside some records, for one auditor: the duty opens no document, so the gate decides (RM-15)."""

    def __init__(self, kustos: Kustos, caller: Caller, request_id: str) -> None:
        self._gate = kustos.gate
        self._purpose = Purpose(Action.READ, request_id)
        self._scope = self._gate.scope_for(caller, self._purpose)
        self._readable: dict[str, bool] = {}

    def shown(self, entry: Entry, text: dict[str, Any]) -> dict[str, Any]:
        """The text without its passages, unless this auditor may read every document that they are of."""
        if all(self._reads(document) for document, *_ in json.loads(entry.released)):
            return text
        return {name: value for name, value in text.items() if name != "passages"} | {"withheld": True}

    def _reads(self, document: str) -> bool:
        """Asked of the gate once, which records it."""
        if document not in self._readable:
            try:
                self._gate.document(self._scope, document, self._purpose)
                self._readable[document] = True
            except NotFound:
                self._readable[document] = False
        return self._readable[document]


def _identifier(kustos: Kustos, document: str) -> str | None:
    """The id of a document, given that or its address; None where it is neither. One that is gone has its id still."""
    try:
        return str(UUID(document))
    except ValueError:
        return kustos.records.status.document_at(document)


def _subject(kustos: Kustos, subjects: Subjects, person: str) -> str:
    """The person as the audit has him. Who is gone at the provider is known by his id, as far as he is kept.

    Raises:
        NotFound: nobody of that id is in the audit, and nobody of that user name at the provider.
    """
    if ":" in person or kustos.records.trail.knows(person):
        return person
    try:
        return subjects.subject(person)
    except NotFound as error:
        raise NotFound(
            f"nobody of the id {person!r} is in the audit, and there is no account of that user name; "
            "for somebody whose account is gone give the id or the subject (kc:REALM:user:ID)"
        ) from error


def _told(
    kustos: Kustos,
    caller: Caller,
    request_id: str,
    act: Act,
    what: str,
    *,
    about: str | None = None,
    concerning: str | None = None,
    **detail: int,
) -> None:
    """Records that somebody asks."""
    told: dict[str, str | int] = {"what": what, **detail}
    kustos.records.audit.record(Deed(caller.tenant, caller.subject, act, request_id, about, concerning, told))


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
