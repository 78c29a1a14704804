"""POST /v1/search"""

from __future__ import annotations

import time

from fastapi import APIRouter

from api.doors import GuardedRoute
from api.given import RequestId, TheCaller, TheKustos
from api.schemas import FoundPassage, SearchReply, SearchRequest
from rag.access.audit import Action, Purpose
from rag.retrieval import Request

router = APIRouter(route_class=GuardedRoute)


@router.post("/v1/search", summary="The passages that fit a question best")
def search(body: SearchRequest, kustos: TheKustos, caller: TheCaller, request_id: RequestId) -> SearchReply:
    """Among those that the caller may read at this moment, best first. No results: there are none, or none for him."""
    began = time.perf_counter()
    request = Request(body.query, body.limit, body.narrow.fields() if body.narrow else {})
    passages = kustos.retrieval.search(caller, request, Purpose(Action.SEARCH, request_id, body.query))
    took_ms = round((time.perf_counter() - began) * 1000)
    return SearchReply(passages=[FoundPassage.of(each) for each in passages], took_ms=took_ms)
