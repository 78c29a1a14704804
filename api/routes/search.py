"""POST /v1/search. The question is encoded while Keycloak is asked what the caller may read."""

from __future__ import annotations

import time

from fastapi import APIRouter

from api.admission.doors import GuardedRoute
from api.given import RequestId, TheKustos, TheUnconfirmed
from api.schemas import FoundPassage, SearchReply, SearchRequest
from api.threads import in_thread
from rag.access.audit import Action, Purpose
from rag.retrieval import Request

router = APIRouter(route_class=GuardedRoute)


@router.post("/v1/search", summary="The passages that fit a question best")
async def search(
    body: SearchRequest, kustos: TheKustos, unconfirmed: TheUnconfirmed, request_id: RequestId
) -> SearchReply:
    """Among those that the caller may read at this moment, best first. No results: there are none, or none for him."""
    began = time.perf_counter()
    request = Request(body.query, body.limit, body.narrow.fields() if body.narrow else {})
    purpose = Purpose(Action.SEARCH, request_id, body.query)
    question = await in_thread(kustos.retrieval.question, request)
    caller = await unconfirmed.confirmed()
    passages = await in_thread(kustos.retrieval.search_for, caller, question, body.limit, purpose)
    took_ms = round((time.perf_counter() - began) * 1000)
    return SearchReply(passages=[FoundPassage.of(each) for each in passages], took_ms=took_ms)
