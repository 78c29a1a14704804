"""Taking in a folder through the running service, because the embedded index belongs to one process."""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter
from fastapi import Path as PathParameter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from api.admission.doors import GuardedRoute
from api.admission.local_operator import LOCAL_OPERATOR
from api.given import RequestId, TheCaller, TheIngesting, TheKustos
from api.schemas import WRITABLE
from ingest.bootstrap import filesystem_source
from rag.access.audit import Act, Deed
from rag.access.scope import Caller
from rag.bootstrap import Kustos
from rag.errors import BadInput, KustosError, NotAllowed, NotFound

if TYPE_CHECKING:
    from ingest.pipeline import SyncReport

log = logging.getLogger(__name__)
router = APIRouter(route_class=GuardedRoute)
Event = dict[str, Any]
Told = queue.SimpleQueue[Event | None]

BROKE_OFF = "the sync broke off for a reason that nobody foresaw; the service's log has it. Committed work stays"
FAILED = "the sync failed; kustos status and the service's log say more. Committed work stays"
HEARTBEAT_S = 5.0
"""After so long without an event an empty line is sent: listing a large share tells nothing for minutes."""
SOURCE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


class IngestRequest(BaseModel):
    """A folder on this machine, as the service's own user sees it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"source": "share", "path": "/srv/share"}})

    source: str = Field(pattern=SOURCE_NAME)
    path: str = Field(min_length=1, max_length=4_000, pattern=WRITABLE)
    confirm_deletions: bool = False
    moved: bool = False
    cross_mounts: bool = False


@router.post("/v1/operator/ingest", summary="Bring a folder's documents and rights up to date")
def ingest(
    body: IngestRequest, kustos: TheKustos, ingesting: TheIngesting, caller: TheCaller, request_id: RequestId
) -> StreamingResponse:
    """One sync, told as it runs: JSON lines with `event`, the last of them `done` with the report or `failed`.

    An empty line means that the sync goes on and has nothing to tell.
    """
    path = _folder(body, kustos, caller)
    how: dict[str, str | int] = {
        "path": str(path),
        "moved": int(body.moved),
        "confirm_deletions": int(body.confirm_deletions),
        "cross_mounts": int(body.cross_mounts),
        "client": caller.client,
    }
    deed = Deed(caller.tenant, caller.subject, Act.INGEST, request_id, body.source, detail=how)
    kustos.records.audit.record(deed)
    connector = filesystem_source(kustos.records.settings, body.source, path, cross_mounts=body.cross_mounts)
    told: Told = queue.SimpleQueue()

    def sync() -> Event:
        return asdict(
            ingesting.sync(
                connector,
                root=str(path),
                moved=body.moved,
                confirm_deletions=body.confirm_deletions,
                progress=_Teller(told),
            )
        )

    return _streamed(body.source, sync, told, str)


@router.post("/v1/operator/sources/{source}/sync", summary="Bring a known source up to date")
def sync_known(
    source: Annotated[str, PathParameter(pattern=SOURCE_NAME)],
    kustos: TheKustos,
    ingesting: TheIngesting,
    caller: TheCaller,
    request_id: RequestId,
) -> StreamingResponse:
    """From where it was brought in, and as a sync without any option; also for jobs, by a key of scope `push`.

    Told as above, in numbers alone: who may only start it learns no name of a file.
    """
    known = kustos.records.writer.root(source)
    if not known:
        raise NotFound(f"there is no source {source!r} that was brought in before")
    path = _folder(IngestRequest(source=source, path=known), kustos, caller)
    how = {"path": str(path), "client": caller.client}
    deed = Deed(caller.tenant, caller.subject, Act.INGEST, request_id, source, detail=how)
    kustos.records.audit.record(deed)
    connector = filesystem_source(kustos.records.settings, source, path)

    def failure(error: KustosError) -> str:
        log.warning("the sync of %s failed: %s", source, error)
        return FAILED

    return _streamed(source, lambda: _numbers(ingesting.sync(connector, root=str(path))), queue.SimpleQueue(), failure)


def _numbers(report: SyncReport) -> Event:
    """How many there were of each; of what is listed by name, how many."""
    told = {name: value for name, value in asdict(report).items() if name != "source"}
    return {name: value if isinstance(value, int | float) else len(value) for name, value in told.items()}


def _streamed(
    source: str, work: Callable[[], Event], told: Told, failure: Callable[[KustosError], str]
) -> StreamingResponse:
    """What is told while `work` goes on, and in the end the report that it returns, or `failure` of its error."""

    def run() -> None:
        try:
            told.put({"event": "done", "report": work()})
        except KustosError as error:
            told.put({"event": "failed", "code": error.code, "message": failure(error)})
        except Exception:
            log.exception("the sync of %s broke off", source)
            told.put({"event": "failed", "code": KustosError.code, "message": BROKE_OFF})
        finally:
            told.put(None)

    # A daemon, so that a second Ctrl-C need not wait for it; otherwise closing the service does (`Ingesting.close`).
    threading.Thread(target=copy_context().run, args=(run,), name=f"sync {source}", daemon=True).start()
    return StreamingResponse(lines(told), media_type="application/x-ndjson")


def _folder(body: IngestRequest, kustos: Kustos, caller: Caller) -> Path:
    """The folder with no link in its path, so that what is checked and recorded here is what is opened.

    Which folder is a source, and what it takes in, decides about rights: a folder inside another would lose the denials
    above it. So that is said at this machine, with its key; the role alone brings up to date what was said there.

    Raises:
        BadInput: the path is relative.
        NotAllowed: the role alone is not enough for this.
    """
    if not Path(body.path).is_absolute():
        raise BadInput(f"path {body.path!r} is relative; the service needs the whole path")
    path = Path(os.path.realpath(body.path))
    known = kustos.records.writer.root(body.source) == str(path)
    if caller.subject != LOCAL_OPERATOR and (body.cross_mounts or not known):
        raise NotAllowed(
            "a new source, another folder of one, and what is mounted below it are brought in at the service's own "
            "machine (kustos ingest); the role of an operator brings known folders up to date"
        )
    return path


@router.delete("/v1/operator/sources/{source}", summary="Take a source out of catalog and index")
def forget(
    source: Annotated[str, PathParameter(pattern=SOURCE_NAME)],
    kustos: TheKustos,
    ingesting: TheIngesting,
    caller: TheCaller,
    request_id: RequestId,
) -> dict[str, Any]:
    """All that came from it leaves; where it came from stays as it is. Answers when it is done."""
    kustos.records.audit.record(Deed(caller.tenant, caller.subject, Act.SOURCE_FORGOTTEN, request_id, source))
    return {"source": source, "items": ingesting.forget(source)}


class _Teller:
    """Progress of a sync as events. See `ingest.progress.SyncProgress`."""

    def __init__(self, told: Told) -> None:
        self._told = told

    def listed(self, items: int) -> None:
        self._told.put({"event": "listed", "items": items})

    def read(self, name: str) -> None:
        self._told.put({"event": "read", "name": name})

    def chunked(self, chunks: int) -> None:
        self._told.put({"event": "chunked", "chunks": chunks})

    def embedded(self, chunks: int) -> None:
        self._told.put({"event": "embedded", "chunks": chunks})


def lines(told: Told, heartbeat_s: float = HEARTBEAT_S) -> Iterator[str]:
    """Events as JSON lines until None comes; an empty line for every `heartbeat_s` seconds without one."""
    while True:
        try:
            event = told.get(timeout=heartbeat_s)
        except queue.Empty:
            yield "\n"
            continue
        if event is None:
            return
        yield json.dumps(event, ensure_ascii=False) + "\n"
