"""Routes for operators, by their duty or this machine's key (`api.admission`). None of them releases a passage.

What else a command must ask of a running service, because the index belongs to one process, goes here: one route, and
one row with the operator's duty in `api.access_table`.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from api import reports
from api.admission.doors import GuardedRoute
from api.given import RequestId, TheCaller, TheExplaining, TheKustos
from api.schemas import WRITABLE
from rag.errors import NotAuthenticated, NotFound

router = APIRouter(route_class=GuardedRoute)


@router.get("/v1/operator/status", summary="How much is in, what was refused, how far the index lags")
def status(kustos: TheKustos) -> dict[str, Any]:
    """Counts and reasons by source. No titles and no text of documents."""
    return {
        **reports.state(kustos.records),
        "refusals": reports.refusals(kustos.records),
        "index_points": kustos.points(),
        "embedder": kustos.embedder.profile.model,
        "answers": kustos.answerers.names(),
    }


@router.get("/v1/admin/explain", summary="Why a person may or may not read a document, now or then")
def explain(
    explaining: TheExplaining,
    caller: TheCaller,
    request_id: RequestId,
    document: Annotated[str, Query(min_length=1, max_length=4_000, pattern=WRITABLE, description="Id or address.")],
    who: Annotated[
        str, Query(alias="as", min_length=1, max_length=400, pattern=WRITABLE, description="User name, id or subject.")
    ],
    at: Annotated[AwareDatetime | None, Query(description="With its zone, as in 2026-05-01T00:00:00Z.")] = None,
) -> dict[str, Any]:
    """By which rule, through which chain of groups, from which entry of the source. Each asking is recorded first."""
    try:
        return explaining.explain(caller, request_id, document, who, at)
    except NotAuthenticated as error:  # the one asked about is disabled; the one who asks is known
        raise NotFound(str(error)) from error
