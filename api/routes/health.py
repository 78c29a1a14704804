"""GET /healthz and /readyz, for whoever watches the process. They say yes or no, and nothing about what is inside.

A silent Keycloak does not make this service unready. Nobody is admitted then, and each request hears that at once as a
503 that says when to try again (FT-02); the page loads and says so too. To restart this process, or to send people to
its equals, which ask the same Keycloak, would help nobody. So /readyz says it beside being ready, for whoever raises
the alarm.
"""

from __future__ import annotations

from fastapi import APIRouter

from api.admission.doors import GuardedRoute
from api.given import TheLook
from api.schemas import Health, Readiness

router = APIRouter(route_class=GuardedRoute)


@router.get("/healthz", summary="The process answers")
async def alive() -> Health:
    return Health(status="alive")


@router.get("/readyz", summary="Catalog, live index and embedding model answer; 503 otherwise")
async def ready(look: TheLook) -> Readiness:
    return await look.found()
