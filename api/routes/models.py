"""GET /v1/models"""

from __future__ import annotations

from fastapi import APIRouter

from api.admission.doors import GuardedRoute
from api.given import TheKustos
from api.schemas import Model, ModelList

router = APIRouter(route_class=GuardedRoute)


@router.get("/v1/models", summary="What can answer at this moment")
def models(kustos: TheKustos) -> ModelList:
    """In OpenAI's shape. `extractive` is always there: it quotes instead of writing."""
    return ModelList(data=[Model(id=name) for name in kustos.answerers.names()])
