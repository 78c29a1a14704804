"""Opens everything that a process needs to be the service, and serves."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from socket import socket

from fastapi import FastAPI

from api import logs
from api.admission.local_operator import LOCAL_OPERATOR, LocalOperator
from api.admission.subjects import open_subjects
from api.app import create_app
from api.keycloak_realm.memberships import open_memberships
from api.keycloak_realm.sync import open_sync
from api.keycloak_realm.watch import RealmWatch
from api.server import listen, run_on
from api.sign_in.sessions import open_sessions
from api.tenants import Tenants
from api.tokens.auth import Identity
from api.tokens.demo_issuer import DemoIssuer
from api.tokens.issuers import open_identity
from api.upkeep import every_day, keep
from ingest.bootstrap import Ingesting
from rag.bootstrap import Kustos, end_grants, open_kustos
from rag.errors import IndexMismatch, Misconfigured, Unavailable
from rag.models.embedders import open_embedder
from rag.ports import Embedder
from rag.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """An open Kustos, what takes documents in, and the application over both."""

    kustos: Kustos
    ingesting: Ingesting
    identity: Identity
    app: FastAPI

    @property
    def tenant(self) -> str:
        return self.kustos.records.settings.tenant


@contextmanager
def open_service(settings: Settings, embedder: Embedder | None = None) -> Iterator[Service]:
    """The service, not listening yet, for as long as the block lasts; with an embedder of others, where there is one.

    Raises:
        Misconfigured: a setting is missing or unsafe, or the demo would be reachable from elsewhere.
        KustosError: catalog, index or model cannot be opened.
    """
    demo = DemoIssuer.load(settings.home)
    kustos = open_kustos(settings, embedder)
    kustos.records.limits.forget_full()
    ingesting = Ingesting(kustos)
    try:
        memberships = open_memberships(settings, kustos.records.realm)
        identity = open_identity(settings, demo, memberships)
        subjects = open_subjects(settings, demo, identity, memberships)
        sessions = open_sessions(settings, identity, kustos.records.sessions)
        local = LocalOperator.load(settings.home)
        app = create_app(kustos, identity, demo, local, ingesting, sessions, subjects)
        yield Service(kustos, ingesting, identity, app)
    finally:
        ingesting.close()  # a second Ctrl-C ends this wait, and then the index is left as a crash would leave it
        kustos.close()


def serve(settings: Settings) -> None:
    """Serves on the settings' address until interrupted, and tells commands of this home where.

    Raises:
        Misconfigured: as above, or nobody could sign in, or the address cannot be listened on.
        KustosError: as above.
    """
    logs.begin()
    if not settings.issuer and DemoIssuer.load(settings.home) is None:
        raise Misconfigured(
            "nobody could sign in: set KUSTOS_ISSUER, KUSTOS_JWKS_URL and KUSTOS_REALM, "
            "or set up the sample company with: kustos demo --once"
        )
    with (
        open_service(settings) as service,
        listen(settings.host, settings.port) as listener,
        working(service, _url(listener)),
    ):
        log.info("listening at %s", _url(listener))
        run_on(service.app, listener, service.ingesting.stop)


def serve_tenants(base: Settings, tenants: Mapping[str, Settings]) -> None:
    """Serves all tenants of the installation `base` on its address until interrupted; see `api.tenants`.

    Raises:
        Misconfigured, KustosError: as above; the message names the tenant.
    """
    logs.begin()
    embedder = open_embedder(base)
    with ExitStack() as stack:
        services = [stack.enter_context(_opened(each, embedder)) for each in tenants.values()]
        front = Tenants([each.app for each in services], base)
        listener = stack.enter_context(listen(base.host, base.port))
        for service in services:
            with logs.lines_of(service.tenant):
                stack.enter_context(working(service, _url(listener)))

        def stop() -> None:
            for service in services:
                service.ingesting.stop()

        log.info("listening at %s", _url(listener))
        run_on(front, listener, stop)


@contextmanager
def _opened(settings: Settings, embedder: Embedder) -> Iterator[Service]:
    """One tenant's service. What is wrong with him is told under his name."""
    with ExitStack() as stack:
        with logs.lines_of(settings.tenant):
            try:
                service = stack.enter_context(open_service(settings, embedder))
            except (Misconfigured, IndexMismatch, Unavailable) as error:
                raise type(error)(f"tenant {settings.tenant}: {error}") from error
        yield service


@contextmanager
def working(service: Service, url: str) -> Iterator[None]:
    """For as long as the block lasts, commands of its home find the service at `url`, and it does its daily work."""
    settings = service.kustos.records.settings
    if not settings.break_glass_hours and (ended := end_grants(service.kustos.records, by=LOCAL_OPERATOR)):
        log.warning("break-glass is off: %d grants and proposals were revoked for good", ended)
    local = LocalOperator.load(settings.home)
    local.announce(settings.home, url)
    try:
        with every_day(partial(keep, service.kustos.records)), following(settings, service):
            yield
    finally:
        local.withdraw(settings.home, url)


def _url(listener: socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def following(settings: Settings, service: Service) -> Iterator[None]:
    """The directory follows the realm for as long as the block lasts, where there is one."""
    if not settings.issuer:
        yield
        return

    def forget(subject: str | None) -> None:
        service.identity.forget(subject=subject)

    watch = RealmWatch(open_sync(settings, service.kustos.records.realm, forget), settings.directory_interval_s)
    watch.start()
    try:
        yield
    finally:
        watch.stop()
