"""GET /healthz and /readyz, for whoever watches the process. They say yes or no, and nothing about what is inside.

A silent Keycloak does not make this service unready. Nobody is admitted then, and each request hears that at once as a
503 that says when to try again (FT-02); the page loads and says so too. To restart this process, or to send people to
its equals, which ask the same Keycloak, would help nobody. So /readyz says it beside being ready, for whoever raises
the alarm.
"""

from __future__ import annotations

from fastapi import APIRouter

from api.admission.doors import GuardedRoute
from api.given import TheDoors, TheKustos
from api.schemas import Health, Readiness

router = APIRouter(route_class=GuardedRoute)

PATIENCE_S = 0.5
"""Shorter than who asks for readiness usually waits, which is a second."""
SILENT = "The identity provider does not answer, so nobody can be admitted until it does. A restart does not help."


@router.get("/healthz", summary="The process answers")
async def alive() -> Health:
    return Health(status="alive")


@router.get("/readyz", summary="Catalog, live index and embedding model answer; 503 otherwise")
def ready(kustos: TheKustos, doors: TheDoors) -> Readiness:
    kustos.records.directory.revision(kustos.records.settings.tenant)
    kustos.check_index()
    kustos.points()
    kustos.embedder.embed_question("ready")
    if doors.provider is None or doors.provider.answers(PATIENCE_S):
        return Readiness(status="ready", admits=True, reason=None)
    return Readiness(status="ready", admits=False, reason=SILENT)
