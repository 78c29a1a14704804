"""Verifies what a request shows before anything of its body is read, and asks what that is worth once it is whole.

Asked before, the answer would be as old as the sender makes it: he sends all but the last byte, and that one after his
rights were taken away (RC-05).
"""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from api.access_table import Duty, Row, row_of
from api.admission.keys import ApiKeys, check_scope
from api.admission.limits import Failures, OverLimit, Refusals, RequestLimits
from api.admission.local_operator import LOCAL_OPERATOR, LocalOperator
from api.loopback import is_loopback
from api.sign_in.page_guard import SESSION_COOKIE, check_own_page, cookie
from api.sign_in.sessions import Sessions
from api.slow_work import SlowWork
from api.threads import awaited
from api.tokens.auth import Identity, Verified
from api.tokens.confirmation import Unconfirmed
from api.tokens.demo_issuer import DemoIssuer
from api.tokens.discovery import Provider
from rag.access.api_keys import PREFIX
from rag.access.scope import Caller
from rag.errors import BadInput, NotAllowed, NotAuthenticated

log = logging.getLogger(__name__)

Ask = Callable[[], Unconfirmed]
"""Asks what somebody may read who has shown who he is. Raises Overloaded."""
Handler = Callable[[Request], Coroutine[Any, Any, Response]]
KEY_HEADER = "x-api-key"
FORWARDED = frozenset({"forwarded", "via", "x-real-ip"})
"""Headers by which a proxy gives itself away, beside X-Forwarded-*."""
BODIES_AT_A_TIME = 2_048
BODIES_OF_ONE = 32
"""Of one token or key: half of a body holds memory and is counted, which is given back only once it is known whose."""
PROOFS_AT_A_TIME = 512
PROOF_THREADS = 8
"""Keys that have to be fetched hold these, and not the threads on which everything else runs (FT-03)."""
SIGN_INS_AT_A_TIME = 64
SIGN_IN_THREADS = 8
"""And these are held by who signs in or out, or by a session's renewal, while the identity provider is slow."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a request shows, one of these."""

    token: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    cookie: str = field(default="", repr=False)

    @property
    def text(self) -> str:
        return self.token or self.key or self.cookie


@dataclass(frozen=True, slots=True)
class Doors:
    """Who can be recognised here, in an installation that serves `tenant`."""

    tenant: str
    identity: Identity
    keys: ApiKeys
    demo: DemoIssuer | None
    local: LocalOperator | None
    sessions: Sessions | None
    limits: RequestLimits
    failures: Failures
    provider: Provider | None = None
    refusals: Refusals = field(default_factory=Refusals)
    bodies: SlowWork = field(default_factory=lambda: SlowWork("requests", BODIES_AT_A_TIME, 1, BODIES_OF_ONE))
    proofs: SlowWork = field(default_factory=lambda: SlowWork("proofs", PROOFS_AT_A_TIME, PROOF_THREADS))
    cookies: SlowWork = field(default_factory=lambda: SlowWork("sessions", PROOFS_AT_A_TIME, SIGN_IN_THREADS))
    sign_ins: SlowWork = field(default_factory=lambda: SlowWork("sign-ins", SIGN_INS_AT_A_TIME, SIGN_IN_THREADS))

    async def admit(self, row: Row, request: Request) -> None:
        """Lets the request through, with `request.state.caller` set unless everybody may come in.

        For a row that is early there is no caller yet, but `request.state.unconfirmed`; there is also where this fails
        after he has been asked about.

        Raises:
            BadInput: more than one token, key or cookie.
            NotAuthenticated: none of them, or one that is not valid for this duty.
            NotAllowed: the caller does not have the duty, his key is for something else, the demo is not for him, or a
                cookie comes from elsewhere.
            TooManyRequests: of this caller.
            HTTPException: the demo is off, or the body is too long or does not come.
            ClientDisconnect: nobody is there to be answered any more.
            Unavailable: Keycloak does not answer, or too many wait for it.
        """
        match row.duty:
            case Duty.PUBLIC | Duty.PAGE:
                pass
            case Duty.READER:
                unconfirmed = await self._unconfirmed(row, request)
                if not row.early:
                    request.state.caller = await unconfirmed.confirmed()
            case Duty.OPERATOR | Duty.AUDITOR | Duty.EVALUATOR:
                request.state.caller = await self._on_duty(row, request)
            case Duty.DEMO:
                self._check_demo(request)

    def failed(self, request: Request) -> None:
        """Counts a request whose proof was not valid.

        Raises:
            TooManyRequests: too many of them came from its address.
        """
        self.failures.count(request.client.host if request.client else "this machine")

    def _proof(self, request: Request) -> Proof:
        """The one proof in the request: the page's cookie, or else a token or key."""
        held = cookie(request, SESSION_COOKIE) if self.sessions else None
        if self.sessions is None or held is None:
            return proof_in_header(request)
        if {"authorization", KEY_HEADER} & set(request.headers):
            raise BadInput("the request has a token or key and the page's cookie; send one of them")
        check_own_page(request, self.sessions.url)
        return Proof(cookie=held)

    async def _unconfirmed(self, row: Row, request: Request) -> Unconfirmed:
        proof = self._proof(request)
        work = self.cookies if proof.cookie else self.proofs
        ask = await work.whole(partial(self._known, row, proof, request))
        try:
            with self.bodies.place(proof.text):
                await request.body()
        finally:  # or what has ended would use up its person's requests by bodies that never come whole
            request.state.unconfirmed = unconfirmed = ask()
        refuse_elsewhere(request)
        return unconfirmed

    def _known(self, row: Row, proof: Proof, request: Request) -> Ask:
        """Who he says he is: verified and counted, and not asked about yet."""
        if proof.key:
            key = self.keys.verified(proof.key)
            self._count(request, key.subject, key.id)
            check_scope(key, row.scope)
            return partial(self.keys.unconfirmed, key, request.state.request_id)
        if self.sessions and proof.cookie:
            return self._of_session(self.sessions, proof.cookie, request, apart=row.scope is None)
        verified = self.identity.verified(proof.token)
        return self._counted(verified, partial(self.identity.asked, verified), request, row.scope is None)

    def of_session(self, sessions: Sessions, held: str, request: Request) -> Unconfirmed:
        """Whom the cookie stands for.

        Raises:
            NotAuthenticated, TooManyRequests, Unavailable: as `admit`.
        """
        return self._of_session(sessions, held, request, apart=False)()

    def _of_session(self, sessions: Sessions, held: str, request: Request, *, apart: bool) -> Ask:
        token = sessions.verified(held)
        return self._counted(token, partial(sessions.asked, held, token), request, apart)

    def _counted(self, token: Verified, ask: Ask, request: Request, apart: bool) -> Ask:
        """Counts whom the token names. That is undone if it turns out that the token is not his any more."""

        def refused() -> None:
            self.refusals.count(token.text)
            self.limits.give_back(token.subject, apart=apart)

        self.refusals.check(token.text)
        self._count(request, token.subject, apart=apart)

        def ask_once_counted() -> Unconfirmed:
            unconfirmed = ask()
            unconfirmed.when_refused(refused)
            return unconfirmed

        return ask_once_counted

    def _count(self, request: Request, subject: str, key_id: str | None = None, *, apart: bool = False) -> None:
        """Counts the request. A route that does the work of several counts the others by `request.state.count`."""

        def count(further: int = 0) -> None:
            try:
                request.state.headers = self.limits.take(subject, key_id, apart=apart, further=further)
            except OverLimit as error:
                request.state.headers = error.headers
                raise

        request.state.count = count
        count()

    async def _on_duty(self, row: Row, request: Request) -> Caller:
        """Who has the duty. The holder of the operator key is a caller without rights: he reads nothing."""
        if row.duty is Duty.OPERATOR and self.is_local(self._proof(request)):
            if not is_loopback(request.url.hostname or ""):  # where commands of every home on this machine come to
                refuse_elsewhere(request)
            return Caller(self.tenant, LOCAL_OPERATOR, frozenset())
        unconfirmed = await self._unconfirmed(row, request)
        caller = await unconfirmed.confirmed()
        if not self.identity.has_duty(caller, row.duty):
            raise NotAllowed(f"this is for people with the role '{row.duty}' of this service's client")
        return caller

    def is_local(self, proof: Proof) -> bool:
        """Whether this is the operator key of this home."""
        return self.local is not None and hmac.compare_digest(proof.token.encode(), self.local.key.encode())

    def _check_demo(self, request: Request) -> None:
        if self.demo is None:
            raise HTTPException(404)
        if request.client is None or not is_loopback(request.client.host):
            raise NotAllowed("sample accounts are for people at this machine only")
        # A proxy on this machine calls from loopback, whoever stands behind it.
        if any(name in FORWARDED or name.startswith("x-forwarded-") for name in request.headers):
            raise NotAllowed("sample accounts are for people at this machine only, and not through a proxy")
        # A page of another site could otherwise make this browser fetch a token. It could not read it, but why answer?
        origin = request.headers.get("origin")
        if origin is not None and origin != f"{request.url.scheme}://{request.headers.get('host')}":
            raise NotAllowed("sample accounts are for this service's own page only")
        if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            raise NotAllowed("sample accounts are for this service's own page only")


class StrictRequest(Request):
    """A request whose JSON means one thing: no name twice, because readers differ in which of the two counts."""

    async def json(self) -> Any:
        """The body.

        Raises:
            ValueError: it is not JSON, or an object in it has a name twice; the framework answers 422 or 400.
        """
        return json.loads(await self.body(), object_pairs_hook=_unique)


class GuardedRoute(APIRoute):
    """A route that knows its duty from the access table; without a row there it cannot be built."""

    def get_route_handler(self) -> Handler:
        self.dependant.call = awaited(self.endpoint)
        handler = super().get_route_handler()
        (method,) = self.methods or {"GET"}
        row = row_of(method, self.path)

        async def admitted(doors: Doors, request: Request) -> Response:
            try:
                await doors.admit(row, request)
                return await handler(request)
            except Exception:
                unconfirmed: Unconfirmed | None = getattr(request.state, "unconfirmed", None)
                if unconfirmed:
                    await unconfirmed.confirmed()  # who is nobody any more hears that, and nothing of what he sent
                raise

        async def guarded(request: Request) -> Response:
            doors: Doors = request.app.state.doors
            strict = StrictRequest(request.scope, request.receive)
            try:
                return await admitted(doors, strict)
            except NotAuthenticated:
                request.state.headers = {}  # how busy somebody is, is nothing for who is not him any more (SC-10)
                doors.failed(request)
                raise
            except BadInput:
                if row.duty is Duty.PAGE:  # what proves something stands in a form or a cookie there
                    doors.failed(request)
                raise

        return guarded


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("an object has a name twice")
    return dict(pairs)


def refuse_elsewhere(request: Request) -> None:
    """Looked at after the proof: who has a valid one may know that this address is another tenant's (MT-02).

    Raises:
        NotAllowed: `api.tenants` has found that the request came to the page's host of another tenant.
    """
    if getattr(request.state, "elsewhere", False):
        log.warning("request %s has a valid proof of this tenant and came to another's host", request.state.request_id)
        raise NotAllowed("this token or key is for another address of this service than the one that it was sent to")


def proof_in_header(request: Request) -> Proof:
    """The token or key of the one header that has one; no other place is looked at (TV-21).

    Raises:
        BadInput: there are several.
        NotAuthenticated: there is none, or it does not hold what it should.
    """
    bearers, keys = (request.headers.getlist(name) for name in ("authorization", KEY_HEADER))
    if len(bearers) + len(keys) > 1:
        raise BadInput("the request has several Authorization or X-API-Key headers; send exactly one of them")
    if keys:
        if not keys[0].startswith(PREFIX):
            raise NotAuthenticated("the X-API-Key header does not hold an API key")
        return Proof(key=keys[0])
    scheme, _, token = bearers[0].partition(" ") if bearers else ("", "", "")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotAuthenticated("no bearer token")
    return Proof(key=token.strip()) if token.strip().startswith(PREFIX) else Proof(token=token.strip())
