"""POST /v1/evaluations: how well search finds what somebody judged relevant, over what this evaluator may read."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter

from api.admission.doors import GuardedRoute
from api.given import Count, RequestId, TheCaller, TheEvaluations, TheKustos, TheUnconfirmed
from api.schemas import EvaluationReply, EvaluationRequest
from api.threads import in_thread
from eval.judged import Benchmark, evaluate_as
from eval.measures import means
from rag.errors import Unavailable
from rag.retrieval import Mode

router = APIRouter(route_class=GuardedRoute)


@router.post("/v1/evaluations", summary="Measure retrieval with judged queries")
async def evaluate(
    body: EvaluationRequest,
    kustos: TheKustos,
    caller: TheCaller,
    unconfirmed: TheUnconfirmed,
    evaluations: TheEvaluations,
    count: Count,
    request_id: RequestId,
) -> EvaluationReply:
    """As the caller, and through the gate. Each query counts as a request and is on record.

    A judged document that the caller may not read is one that was not found, as if there were none.
    """
    benchmark = Benchmark(body.queries, body.qrels)
    run = partial(evaluate_as, caller, kustos.retrieval, benchmark, Mode(body.retriever), request_id)
    with evaluations.place(caller.subject):
        if more := len(body.queries) - 1:
            await in_thread(count, more)
        by_query = await evaluations.run(run)
    if caller.principals != (await unconfirmed.confirmed_again()).principals:  # what was gained may deny (RC-05)
        raise Unavailable("what the caller may read changed while his queries were asked")
    return EvaluationReply(
        queries=len(body.queries),
        retriever=body.retriever,
        model=kustos.embedder.profile.model,
        measures=means(by_query),
        by_query={name: dict(each) for name, each in by_query.items()},
    )
