"""Puts the HTTP service together: routes, doors, errors, and the envelope around every request."""

from __future__ import annotations

import logging
from functools import partial

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from api.access_table import row_of
from api.admission.doors import Doors
from api.admission.keys import ApiKeys
from api.admission.limits import Failures, RequestLimits
from api.admission.local_operator import LocalOperator
from api.admission.subjects import Subjects, open_subjects
from api.errors import add_error_handlers
from api.explaining import Explaining
from api.keycloak_realm.standing import open_provider
from api.loopback import LOOPBACK_NAMES, is_loopback
from api.middleware import Envelope
from api.readiness import SharedLook, look
from api.routes import (
    audit,
    chat,
    demo,
    documents,
    evaluations,
    grants,
    health,
    ingest,
    keys,
    models,
    operator,
    page,
    search,
    session,
)
from api.sign_in.sessions import Sessions
from api.slow_work import (
    ANSWERS_AT_A_TIME,
    ANSWERS_OF_ONE,
    EVALUATIONS_AT_A_TIME,
    EVALUATIONS_OF_ONE,
    PICTURES_AT_A_TIME,
    PICTURES_OF_ONE,
    SlowWork,
)
from api.tokens.auth import Identity
from api.tokens.demo_issuer import DemoIssuer
from api.tokens.issuers import check_demo
from ingest.bootstrap import Ingesting, open_pages
from rag.bootstrap import Kustos
from rag.machine import processors
from rag.settings import Settings

log = logging.getLogger(__name__)

ROUTERS = (
    search.router,
    chat.router,
    models.router,
    documents.router,
    keys.router,
    health.router,
    operator.router,
    ingest.router,
    audit.router,
    grants.router,
    evaluations.router,
)
PAGE_ROUTERS = (page.router, session.router, demo.router)
OPENAPI = "/openapi.json"
NO_TELEMETRY: TelemetryConfig = {
    "auto_configure": False,  # the framework would otherwise obey an environment variable and add exporters
    "logs": False,
    "metrics": False,
    "operation_spans": False,
    "tracing": False,
}
DESCRIPTION = """Answers from the company's own documents, for each person from those that this person may read.

Send `Authorization: Bearer <token>`. Errors have OpenAI's shape; `X-Request-Id` names each response in the log."""


def create_app(
    kustos: Kustos,
    identity: Identity,
    demo_issuer: DemoIssuer | None,
    local: LocalOperator | None,
    ingesting: Ingesting | None = None,
    sessions: Sessions | None = None,
    subjects: Subjects | None = None,
) -> FastAPI:
    """The service over an open Kustos. `identity` must know the demo's issuer if there is one (`api.tokens.issuers`).

    `ingesting` is for who wants to stop a sync; there is one in any case. Without `sessions` nobody signs in at
    the page, and without `subjects` only sample accounts are known without their token.

    Raises:
        Misconfigured: the demo is on, and the settings do not bear it.
    """
    settings = kustos.records.settings
    if demo_issuer is not None:
        check_demo(settings)
        log.warning("DEMO: anybody at this machine can sign in as any sample account. Not for real documents.")
    app = _empty_app()
    known = subjects or open_subjects(settings, demo_issuer, identity, None)
    app.state.subjects = known
    app.state.kustos = kustos
    app.state.doors = Doors(
        tenant=settings.tenant,
        identity=identity,
        keys=ApiKeys(kustos.records.keys, known, kustos.records.audit),
        demo=demo_issuer,
        local=local,
        sessions=sessions,
        limits=RequestLimits(kustos.records.limits, settings.requests_per_subject, settings.requests_per_key),
        failures=Failures(settings.failures_per_address),
        provider=open_provider(settings),
    )
    app.state.look = SharedLook(partial(look, [(kustos, app.state.doors)]))
    app.state.ingesting = ingesting or Ingesting(kustos)
    app.state.explaining = Explaining(kustos.records, known)
    app.state.pages = open_pages(kustos, app.state.ingesting.pool)
    app.state.answers = SlowWork("answers", ANSWERS_AT_A_TIME, ANSWERS_AT_A_TIME, ANSWERS_OF_ONE)
    drawing = max(1, processors() - 1)  # one parser is the sync's
    app.state.drawings = SlowWork("pictures", PICTURES_AT_A_TIME, drawing, PICTURES_OF_ONE)
    app.state.evaluations = SlowWork("evaluations", EVALUATIONS_AT_A_TIME, 1, EVALUATIONS_OF_ONE)
    for router in (*ROUTERS, *PAGE_ROUTERS):
        app.router.routes.extend(router.routes)
    add_error_handlers(app)
    app.add_middleware(
        Envelope,
        hosts=_names(settings) if is_loopback(settings.host) else None,
        extra_headers={"X-Kustos-Demo": "1"} if demo_issuer is not None else {},
    )
    return app


def _empty_app() -> FastAPI:
    row_of("GET", OPENAPI)
    return FastAPI(
        title="Kustos",
        description=DESCRIPTION,
        version="1",
        openapi_url=OPENAPI,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
    )


def _names(settings: Settings) -> frozenset[str]:
    return LOOPBACK_NAMES | ({settings.public_name.lower()} if settings.public_name else frozenset())
