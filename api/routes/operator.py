"""Routes for the operator of this machine (`api.local_operator`). None of them releases a passage.

What else a command must ask of a running service, because the index belongs to one process, goes here: one route, and
one row with the operator's duty in `api.access_table`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from api.doors import GuardedRoute
from api.given import TheDoors, TheKustos
from api.schemas import ExplainRequest
from rag.access.explain import Explanation

router = APIRouter(route_class=GuardedRoute)


@router.get("/v1/operator/status", summary="How much is in, what was refused, how far the index lags")
def status(kustos: TheKustos) -> dict[str, Any]:
    """Counts and reasons by source. No titles and no text of documents."""
    records = kustos.records
    return {
        "tenant": records.settings.tenant,
        "sources": [asdict(each) for each in records.status.sources()],
        "refusals": [asdict(each) for each in records.status.refusals()],
        "passages": records.status.passages(),
        "index_points": kustos.points(),
        "index_tasks": records.status.open_tasks(),
        "embedder": kustos.embedder.profile.model,
        "answers": kustos.answerers.names(),
    }


@router.post("/v1/operator/explain", summary="Why a person may or may not read a document")
def explain(body: ExplainRequest, kustos: TheKustos, doors: TheDoors) -> dict[str, Any]:
    """The person is given by his token, verified like any other: an operator cannot make one up."""
    return explained(kustos.records.explainer.explain(doors.identity.caller(body.token), body.document))


def explained(explanation: Explanation) -> dict[str, Any]:
    """An explanation as JSON."""
    return {
        "document": explanation.document_id,
        "source": explanation.uri,
        "allowed": explanation.decision.allowed,
        "rule": explanation.decision.rule.value,
        "matched": list(explanation.decision.matched),
        "chains": [list(each) for each in explanation.chains],
        "allow": sorted(explanation.acl.allow),
        "deny": sorted(explanation.acl.deny),
        "origin": explanation.origin,
        "problem": explanation.problem,
    }
