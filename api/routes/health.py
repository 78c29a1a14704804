"""GET /healthz and /readyz, for whoever watches the process. They say yes or no, and nothing about what is inside."""

from __future__ import annotations

from fastapi import APIRouter

from api.admission.doors import GuardedRoute
from api.given import TheKustos
from api.schemas import Health

router = APIRouter(route_class=GuardedRoute)


@router.get("/healthz", summary="The process answers")
async def alive() -> Health:
    return Health(status="alive")


@router.get("/readyz", summary="Catalog, live index and embedding model answer; 503 otherwise")
def ready(kustos: TheKustos) -> Health:
    kustos.records.directory.revision(kustos.records.settings.tenant)
    kustos.check_index()
    kustos.points()
    kustos.embedder.embed_question("ready")
    return Health(status="ready")
