"""Routes for the operator of this machine (`api.local_operator`). None of them releases a passage.

What else a command must ask of a running service, because the index belongs to one process, goes here: one route, and
one row with the operator's duty in `api.access_table`.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from api import reports
from api.doors import GuardedRoute
from api.given import RequestId, TheCaller, TheDoors, TheKustos
from api.schemas import ExplainRequest
from rag.access.audit import Act, Deed

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


@router.post("/v1/operator/explain", summary="Why a person may or may not read a document")
def explain(
    body: ExplainRequest, kustos: TheKustos, doors: TheDoors, caller: TheCaller, request_id: RequestId
) -> dict[str, Any]:
    """The person is given by his token, verified like any other: an operator cannot make one up."""
    person = doors.identity.caller(body.token)
    asked = Deed(caller.tenant, caller.subject, Act.EXPLAIN, request_id, body.document, person.subject)
    kustos.records.audit.record(asked)
    return reports.explanation(kustos.records.explainer.explain(person, body.document))
