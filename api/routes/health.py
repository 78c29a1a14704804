"""GET /healthz and /readyz, for whoever watches the process. They say yes or no, and nothing about what is inside.

A silent Keycloak does not make this service unready. Nobody is admitted then, and each request hears that at once as a
503 that says when to try again (FT-02); the page loads and says so too. To restart this process, or to send people to
its equals, which ask the same Keycloak, would help nobody. So /readyz says it beside being ready, for whoever raises
the alarm.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter

from api.admission.doors import Doors, GuardedRoute
from api.given import TheDoors, TheKustos
from api.schemas import Health, Readiness
from rag.bootstrap import Kustos

router = APIRouter(route_class=GuardedRoute)

PATIENCE_S = 0.5
"""Shorter than who asks for readiness usually waits, which is a second."""
SILENT = (
    "The identity provider does not answer, or not this service, so nobody can be admitted until it does. The log says "
    "why. A restart does not help."
)


@router.get("/healthz", summary="The process answers")
async def alive() -> Health:
    return Health(status="alive")


@router.get("/readyz", summary="Catalog, live index and embedding model answer; 503 otherwise")
def ready(kustos: TheKustos, doors: TheDoors) -> Readiness:
    check_ready(kustos)
    return readiness([doors])


def check_ready(kustos: Kustos) -> None:
    """Whether questions can be answered.

    Raises:
        Unavailable: not now.
    """
    kustos.records.directory.revision(kustos.records.settings.tenant)
    kustos.check_index()
    kustos.points()
    kustos.embedder.embed_question("ready")


def readiness(doors: Iterable[Doors]) -> Readiness:
    """What is said of a service that is ready: whether everybody's identity provider answers. One is asked in vain."""
    providers = [each.provider for each in doors if each.provider]
    if not all(each.answers(PATIENCE_S) for each in providers):
        return Readiness(status="ready", admits=False, reason=SILENT)
    wrong_clock = next((each.wrong_clock for each in providers if each.wrong_clock), None)
    return Readiness(status="ready", admits=True, reason=wrong_clock)
