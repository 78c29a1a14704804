"""Several tenants behind one address. Each has an application of its own; here is chosen which one a request is for.

What a request proves chooses, and never what it asks for (MT-02): the issuer that its token names, the tenant in whose
catalog the id of its API key is, the home whose operator key it holds. None of that is believed here. It only says who
judges it: the tenant's own application verifies the proof as if it were alone. A request without a proof, or with one
that nobody here knows, is for the tenant whose page has the host that it came to; so are a page and a browser's cookie,
which the browser itself binds to one host. A proof of one tenant at the host of another's page is refused by the tenant
whose it is, after he has verified it (403); a made-up one is a 401 wherever it is sent.

No object of one application can be reached from another. What they share is the embedding model, which keeps nothing of
a text; the processors and the event loop; and this, which holds no document, no right and no name.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qs

from anyio import CapacityLimiter
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import logs
from api.admission.doors import Doors, Proof, proof_in_header
from api.admission.limits import Failures
from api.errors import internal_error, kustos_error, status_error
from api.loopback import LOOPBACK_NAMES, is_loopback
from api.middleware import Envelope, host_name, limited
from api.readiness import SharedLook, look
from api.sign_in.id_and_logout_tokens import LOGOUT_TYPES
from api.slow_work import SlowWork
from api.threads import AT_A_TIME, threads_of
from api.tokens.auth import MAX_TOKEN_BYTES, named_issuer
from rag.access.api_keys import id_of
from rag.bootstrap import Kustos
from rag.errors import (
    BadInput,
    KustosError,
    Misconfigured,
    NotAuthenticated,
    StoreUnavailable,
    TooManyRequests,
    Unavailable,
)
from rag.settings import Settings
from rag.tenants import page_host

log = logging.getLogger(__name__)

LOGOUT = "/session/backchannel-logout"
LOOKUPS_AT_A_TIME = 512
LOOKUP_THREADS = 8


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant's application, and by what it is chosen. `host` is that of its page; empty where it has none."""

    name: str
    host: str
    app: FastAPI
    doors: Doors
    kustos: Kustos
    threads: CapacityLimiter

    @classmethod
    def of(cls, app: FastAPI) -> Tenant:
        kustos: Kustos = app.state.kustos
        settings = kustos.records.settings
        threads = CapacityLimiter(AT_A_TIME)
        return cls(settings.tenant, page_host(settings), app, app.state.doors, kustos, threads)


class Tenants:
    """The application that the server runs where there are several tenants."""

    def __init__(self, apps: Sequence[FastAPI], base: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """`apps` are the tenants' own (`api.app.create_app`), `base` the installation's settings.

        Raises:
            Misconfigured: two of them would be chosen by the same issuer or host.
        """
        self._tenants = [Tenant.of(each) for each in apps]
        self._by_issuer: dict[str, Tenant] = {}
        self._by_host: dict[str, Tenant] = {}
        self._by_key: dict[str, Tenant] = {}  # grows by keys that are there, and no key changes its tenant
        for each in self._tenants:
            for issuer in each.doors.identity.issuers:
                _enter(self._by_issuer, issuer, each)
            if each.host:
                _enter(self._by_host, each.host, each)
        named = {base.public_name.lower()} if base.public_name else set()
        self._names = LOOPBACK_NAMES | named | self._by_host.keys() if is_loopback(base.host) else None
        self._lookups = SlowWork("look-ups of API keys", LOOKUPS_AT_A_TIME, LOOKUP_THREADS)
        self._look = SharedLook(partial(look, [(each.kustos, each.doors) for each in self._tenants]), clock)
        self._failures = Failures(base.failures_per_address)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == LOGOUT:
            try:
                body = await _body(limited(receive))
            except HTTPException as error:
                await self._ours(status_error(error.status_code))(scope, receive, send)
                return
            receive = _again(body)
        answer = await self._answer(Request(scope, receive), body if scope["path"] == LOGOUT else b"")
        await answer(scope, receive, send)

    async def _answer(self, request: Request, body: bytes) -> ASGIApp:
        """What answers the request: a tenant's application, or the little that there is to say without one."""
        path = request.scope["path"]
        try:
            host = _host(request)
            if self._names is not None and host not in self._names:
                return self._ours(status_error(421))
            if path in ("/healthz", "/readyz"):
                return self._ours(await self._health(request))
            owner = self._by_host.get(host)
            if path == LOGOUT:
                tenant = self._told(body) or owner
            else:
                tenant = owner if _is_page(path) else await self._proven(request, owner) or owner
            return partial(_pass_on, tenant, owner) if tenant else self._ours(self._nobodys(request))
        except KustosError as error:
            return self._ours(kustos_error(error))
        except Exception:
            log.exception("no tenant could be chosen for a request")
            return self._ours(internal_error())

    def _ours(self, reply: Response) -> ASGIApp:
        """A reply of no tenant, with the headers and the log line that every reply has."""
        return Envelope(reply, None, {})

    async def _proven(self, request: Request, owner: Tenant | None) -> Tenant | None:
        """The tenant who is to judge the proof in the header; None where there is none, or nobody here knows it.

        Raises:
            BadInput: there are several, and no `owner` who would say so.
            Unavailable: it cannot be known whose a key is, and there is no `owner` to ask.
        """
        try:
            proof = proof_in_header(request)
            if proof.key:
                return await self._holder(id_of(proof.key))
            return self._local(proof) or self._by_issuer.get(named_issuer(proof.token))
        except NotAuthenticated:
            return None
        except (BadInput, Unavailable):
            if owner is None:
                raise
            return None

    def _local(self, proof: Proof) -> Tenant | None:
        """The tenant whose home holds this operator key. All are compared, so that time tells nothing of which."""
        found = [each for each in self._tenants if each.doors.is_local(proof)]
        return found[0] if found else None

    async def _holder(self, key_id: str) -> Tenant | None:
        """The tenant who has made the key with this id.

        One that was found is remembered, so nobody's made-up keys keep other tenants' own from being found.

        Raises:
            Overloaded: as many as may be are looked for already.
            StoreUnavailable: nobody has it, but somebody's catalog does not answer.
        """
        return self._by_key.get(key_id) or await self._lookups.whole(partial(self._looked_up, key_id))

    def _looked_up(self, key_id: str) -> Tenant | None:
        if key_id in self._by_key:  # found while this waited for its turn
            return self._by_key[key_id]
        failure: StoreUnavailable | None = None
        for each in self._tenants:
            try:
                if each.doors.keys.has(key_id):
                    self._by_key[key_id] = each
                    return each
            except StoreUnavailable as error:
                failure = error
        if failure is not None:
            raise failure
        return None

    def _told(self, body: bytes) -> Tenant | None:
        """The tenant whose provider the logout token in this form names; None where it holds none that is known."""
        try:
            (token,) = parse_qs(body.decode("ascii"), strict_parsing=True, max_num_fields=10).get("logout_token", [])
            return self._by_issuer.get(named_issuer(token, LOGOUT_TYPES))
        except (ValueError, NotAuthenticated):
            return None

    def _nobodys(self, request: Request) -> Response:
        """The answer to what proves nothing and came to nobody's host: 421 for pages, which only hosts have, or 401."""
        if _is_page(request.scope["path"]):
            return status_error(421)
        try:
            self._failures.count(request.client.host if request.client else "this machine")
        except TooManyRequests as error:
            return kustos_error(error)
        return kustos_error(NotAuthenticated("no tenant here knows the token or key, if there is one"))

    async def _health(self, request: Request) -> Response:
        """One answer for all: which of them is not ready stands in the log alone."""
        if request.method != "GET":
            return status_error(405)
        if request.scope["path"] == "/healthz":
            return JSONResponse({"status": "alive"})
        return JSONResponse((await self._look.found()).model_dump())


async def _pass_on(tenant: Tenant, owner: Tenant | None, scope: Scope, receive: Receive, send: Send) -> None:
    """To the tenant's own application, which learns whether the request came to another's host."""
    state = scope.setdefault("state", {})
    state["elsewhere"], state["host_is_known"] = owner is not None and owner is not tenant, True
    with logs.lines_of(tenant.name), threads_of(tenant.threads):
        await tenant.app(scope, receive, send)


def _enter(known: dict[str, Tenant], name: str, tenant: Tenant) -> None:
    if name in known:
        raise Misconfigured(f"the tenants {known[name].name} and {tenant.name} would both be chosen by {name}")
    known[name] = tenant


def _is_page(path: str) -> bool:
    """Whether this is about a browser at one host: the page, its files, and signing in."""
    return not path.startswith("/v1/")


def _host(request: Request) -> str:
    """The host that the request came to, without its port.

    Raises:
        BadInput: it names several.
    """
    hosts = request.headers.getlist("host")
    if len(hosts) > 1:
        raise BadInput("the request has several Host headers; send exactly one")
    return host_name("".join(hosts)).removesuffix(".")


async def _body(receive: Receive) -> bytes:
    """The body of a form with one token; what is longer than that is cut off, and so is no such form."""
    body, more = b"", True
    while more and len(body) <= 2 * MAX_TOKEN_BYTES:
        message = await receive()
        body += message.get("body", b"")
        more = message["type"] == "http.request" and message.get("more_body", False)
    return body


def _again(body: bytes) -> Receive:
    """What gives a body that was read once more."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive
