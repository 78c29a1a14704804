"""How a command reaches Kustos.

Passages and answers come over HTTP only, and only with a verified token, whether a service runs or not: search, ask,
documents. So do syncs (ingest, demo). If a service holds this home, the command talks to it. If none does, the
command is the service for as long as it runs, on a private socket that nobody else can reach. So the command line can
show nobody a passage that the API would not. What people and auditors ask may also go to a service elsewhere, at
KUSTOS_URL; what needs the operator's key never does.

What operators ask about an installation goes to the files of this home, which are the operator's own, and shows no
passage: status, explain, documents --refused, doctor and models. `ingest --rebuild` opens catalog and index itself; a
service of this home must not run beside it where the index is embedded, and has to be started again where it is not.
"""

from __future__ import annotations

import json
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import uvicorn
from starlette.types import ASGIApp

from api.admission.doors import KEY_HEADER
from api.admission.local_operator import LocalOperator
from api.cli.signed_in import SignedIn
from api.loopback import is_loopback
from api.service import open_service
from api.tokens.demo_issuer import DemoIssuer
from rag.errors import BadInput, KustosError, Misconfigured, NotAuthenticated, NotFound, Unavailable
from rag.settings import Settings

START_TIMEOUT_S = 120.0
ANSWER_TIMEOUT_S = 600.0
SYNC_TIMEOUT_S = 60.0
"""Silence after which a sync's service counts as gone: many times `api.routes.ingest.HEARTBEAT_S`."""
RETRY_S = 0.1
SIGN_IN_REFUSED = "the service does not accept this sign-in, and its log says why; sign in again with: kustos login"
KEY_REFUSED = (
    "the service does not accept the key in KUSTOS_API_KEY, and its log says why: it has expired or was revoked, say. "
    "Set another, or leave it unset and sign in with: kustos login"
)
_LOOPBACK = "http://127.0.0.1"


@contextmanager
def connect(settings: Settings) -> Iterator[httpx.Client]:
    """A client of the running service, or of one that lives as long as the block.

    Raises:
        Unavailable: a service is running and does not answer.
        KustosError: the service cannot be opened; the message says why and what to do.
    """
    running = running_service(settings, START_TIMEOUT_S)
    if running is not None:
        with closing(running):
            yield running
        return
    with open_service(settings) as service, privately(service.app, service.ingesting.stop) as client:
        yield client


@contextmanager
def privately(app: ASGIApp, on_stop: Callable[[], None] = lambda: None) -> Iterator[httpx.Client]:
    """A client of the application, which is served on a socket that nobody else can reach until the block ends.

    Raises:
        Unavailable: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="kustos-") as folder:
        socket = Path(folder) / "service.sock"
        server = uvicorn.Server(uvicorn.Config(app, uds=str(socket), log_level="error", access_log=False))
        thread = threading.Thread(target=server.run, name="private service")
        thread.start()
        try:
            client = httpx.Client(
                transport=httpx.HTTPTransport(uds=str(socket), retries=0),
                base_url=_LOOPBACK,
                timeout=ANSWER_TIMEOUT_S,
            )
            with client:
                _await(server, thread)
                yield client
        finally:
            on_stop()
            server.should_exit = True
            thread.join()


@contextmanager
def reach(settings: Settings) -> Iterator[httpx.Client]:
    """A client of the service that people ask: the one at KUSTOS_URL, or that of this home.

    Raises:
        Misconfigured: tokens would not be safe on the way to KUSTOS_URL.
        KustosError: as `connect`.
    """
    if not settings.url:
        with connect(settings) as client:
            yield client
        return
    url = urlsplit(settings.url)
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname or "")):
        raise Misconfigured(f"KUSTOS_URL={settings.url} must begin with https://, or name this machine")
    trusted = ssl.create_default_context()
    with httpx.Client(base_url=settings.url, timeout=ANSWER_TIMEOUT_S, trust_env=False, verify=trusted) as client:
        yield client


def proof(settings: Settings, who: str | None) -> dict[str, str]:
    """Header of the sample account `who`; where none is named, of the settings' API key or who has signed in.

    Raises:
        NotAuthenticated: nobody has signed in, or the sign-in has ended.
        Misconfigured, NotFound, Unavailable: as `bearer` and `SignedIn.token`.
    """
    if who:
        return bearer(settings, who)
    return {KEY_HEADER: settings.api_key} if settings.api_key else signed_in(settings)


def signed_in(settings: Settings) -> dict[str, str]:
    """Header of the person who has signed in.

    Raises:
        NotAuthenticated, Misconfigured, Unavailable: as `SignedIn.token`.
    """
    return {"Authorization": f"Bearer {SignedIn.at(settings).token()}"}


def bearer(settings: Settings, who: str) -> dict[str, str]:
    """Header with a token for a sample account, from the demo issuer and no other.

    Raises:
        Misconfigured: this home has no demo issuer.
        NotFound: no such sample account.
    """
    issuer = DemoIssuer.load(settings.home)
    if issuer is None:
        raise Misconfigured(
            f"--as works with the sample accounts of the demo issuer only, and {settings.home} has none. Your own "
            "documents are read by people whom your identity provider knows: set KUSTOS_ISSUER, KUSTOS_JWKS_URL and "
            "KUSTOS_REALM (docs/keycloak.md), sign in with `kustos login`, and leave --as out. To try things out: "
            "KUSTOS_HOME=FOLDER kustos demo --once"
        )
    return {"Authorization": f"Bearer {issuer.token(who)}"}


def operator(settings: Settings) -> dict[str, str]:
    """Header that proves the right to read this home's files, which is what operating means here."""
    return {"Authorization": f"Bearer {LocalOperator.load(settings.home).key}"}


def checked(response: httpx.Response) -> httpx.Response:
    """The response, if it is a success.

    Raises:
        BadInput, NotAuthenticated, NotFound, Unavailable, KustosError: by status, with the service's message.
    """
    if response.is_success:
        return response
    response.read()
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise NotAuthenticated(KEY_REFUSED if KEY_HEADER in response.request.headers else SIGN_IN_REFUSED)
    kinds: dict[int, type[KustosError]] = {404: NotFound, 503: Unavailable}
    kind = kinds.get(response.status_code, BadInput if response.status_code < 500 else KustosError)
    raise kind(_message(response))


def events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """The JSON lines of a streamed reply, as they arrive."""
    for line in response.iter_lines():
        if line.strip():
            yield json.loads(line)


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"the service answered with status {response.status_code}"


def running_service(settings: Settings, patience_s: float) -> httpx.Client | None:
    """A client of the service that runs for this home; None if none does.

    Raises:
        Unavailable: its process lives, so it holds the index, but it has not answered for `patience_s` seconds.
    """
    until, pause = time.monotonic() + patience_s, threading.Event()
    while url := LocalOperator.running_url(settings.home):
        client = httpx.Client(base_url=url, timeout=ANSWER_TIMEOUT_S, trust_env=False)
        try:
            client.get("/healthz", timeout=max(until - time.monotonic(), RETRY_S)).raise_for_status()
        except httpx.HTTPError as error:
            client.close()
            if time.monotonic() >= until:
                raise Unavailable(
                    f"the service at {url} is running and busy: it has not answered for {patience_s:.0f} s; "
                    "see its log, and try again later"
                ) from error
            pause.wait(RETRY_S)
        else:
            return client
    return None


def _await(server: uvicorn.Server, thread: threading.Thread) -> None:
    waited = threading.Event()
    for _ in range(int(START_TIMEOUT_S / 0.01)):
        if server.started:
            return
        if not thread.is_alive():
            break
        waited.wait(0.01)
    raise Unavailable("the private service of this command did not start")
