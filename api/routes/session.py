"""Signing in and out at the page, and hearing from the identity provider that somebody has signed out elsewhere."""

from __future__ import annotations

import logging
from functools import partial
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from api.admission.doors import Doors, GuardedRoute
from api.given import TheDoors
from api.loopback import is_loopback
from api.middleware import host_name
from api.schemas import PagePerson, PageSession, SignOutReply
from api.sign_in.oidc import Refused
from api.sign_in.page_guard import SESSION_COOKIE, SIGN_IN_COOKIE, check_own_page, cookie, drop_cookie, set_cookie
from api.sign_in.sessions import Sessions
from api.tokens.auth import MAX_TOKEN_BYTES
from rag.errors import BadInput, NotAuthenticated, Unavailable

log = logging.getLogger(__name__)

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)

SIGN_IN_S = 1_800
"""How long somebody may take at the identity provider, as Keycloak allows it (accessCodeLifespanLogin)."""
PATIENCE_S = 2.0
UNAVAILABLE = "sign-in-unavailable"


@router.get("/session")
async def session(request: Request, doors: TheDoors) -> PageSession:
    """Whether people sign in at the page, and who has done so in this browser."""
    held = cookie(request, SESSION_COOKIE) if doors.sessions else None
    if doors.sessions is None or held is None:
        return PageSession(sign_in=doors.sessions is not None, person=None)
    check_own_page(request, doors.sessions.url)
    try:
        of_session = await doors.cookies.whole(partial(doors.of_session, doors.sessions, held, request))
        caller = await of_session.confirmed()
        name = await doors.cookies.whole(partial(doors.sessions.name, held))
    except NotAuthenticated as error:
        log.info("a browser's session does not count: %s", error)
        request.state.headers = {}  # as at the door (SC-10)
        return PageSession(sign_in=True, person=None)
    return PageSession(sign_in=True, person=PagePerson(name=name, subject=caller.subject))


@router.get("/session/login")
async def login(request: Request, doors: TheDoors) -> Response:
    """Sends the browser to the identity provider, from the one address that it will be sent back to.

    Where the provider does not answer, it goes back to the page, which says so; a browser would only show an error.
    """
    sessions = _sessions(doors)
    if _is_another_name_of(urlsplit(sessions.url).netloc, request):
        return RedirectResponse(f"{sessions.url}{request.url.path}", 303)
    if doors.provider and not await doors.sign_ins.whole(partial(doors.provider.answers, PATIENCE_S)):
        return RedirectResponse(f"/#{UNAVAILABLE}", 303)
    secret, address = sessions.begin()
    reply = RedirectResponse(address, 303)
    # Lax, because the browser comes back from another site, and has to bring this one along.
    set_cookie(reply, SIGN_IN_COOKIE, secret, samesite="Lax", max_age_s=SIGN_IN_S)
    return reply


@router.get("/session/callback")
async def callback(request: Request, doors: TheDoors) -> Response:
    """Where the identity provider sends the browser back to. It goes on to the page, whatever came of it."""
    sessions = _sessions(doors)
    earlier = cookie(request, SESSION_COOKIE)
    try:
        began, answer = cookie(request, SIGN_IN_COOKIE), _once_each(request)
        secret = await doors.sign_ins.whole(partial(sessions.complete, began, answer))
    except (BadInput, NotAuthenticated, Unavailable) as error:
        if not isinstance(error, Unavailable):
            doors.failed(request)
        log.warning("a sign-in at the page failed: %s", error)
        reply = RedirectResponse(f"/#{_what_came(error)}", 303)
    else:
        if earlier:
            await doors.sign_ins.whole(partial(sessions.forget, earlier))
        reply = RedirectResponse("/", 303)
        set_cookie(reply, SESSION_COOKIE, secret, samesite="Strict")
    drop_cookie(reply, SIGN_IN_COOKIE)
    return reply


@router.post("/session/logout")
async def logout(request: Request, response: Response, doors: TheDoors) -> SignOutReply:
    """Ends the session here and at the identity provider. Somebody who is not signed in is told the same."""
    sessions = _sessions(doors)
    check_own_page(request, sessions.url)
    drop_cookie(response, SESSION_COOKIE)
    try:
        ended = partial(sessions.end, cookie(request, SESSION_COOKIE) or "")
        return SignOutReply(everywhere=await doors.sign_ins.whole(ended))
    except NotAuthenticated:
        return SignOutReply(everywhere=True)


@router.post("/session/backchannel-logout")
async def backchannel_logout(request: Request, doors: TheDoors) -> Response:
    """The identity provider says that a session has ended (OpenID Connect Back-Channel Logout 1.0, 2.5 to 2.8)."""
    sessions = _sessions(doors)
    token = await _logout_token(request)
    try:
        await doors.cookies.whole(partial(sessions.end_told, token))
    except NotAuthenticated as error:
        log.warning("a logout token was not believed: %s", error)
        raise BadInput("the logout token is not accepted; this service's log says why") from error
    return Response(status_code=200)


def _sessions(doors: Doors) -> Sessions:
    if doors.sessions is None:
        raise HTTPException(404)
    return doors.sessions


def _is_another_name_of(page: str, request: Request) -> bool:
    """Whether the browser calls this machine by another name than the page's, which has cookies of its own."""
    asked = request.headers.get("host", "")
    return asked != page and all(is_loopback(host_name(each).strip("[]")) for each in (asked, page))


async def _logout_token(request: Request) -> str:
    """The one `logout_token` of a form.

    Raises:
        BadInput: it is none, or holds none, or several.
    """
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > 2 * MAX_TOKEN_BYTES:
            raise BadInput("the form is too long for a logout token")
    try:
        form = parse_qs(body.decode("ascii"), strict_parsing=True, max_num_fields=10)
        (token,) = form.get("logout_token", [])
    except ValueError as error:
        raise BadInput("send one logout_token in a form") from error
    return token


def _once_each(request: Request) -> dict[str, str]:
    """The query, in which nothing may be said twice.

    Raises:
        BadInput: something is.
    """
    pairs = request.query_params.multi_items()
    if len(dict(pairs)) < len(pairs):
        raise BadInput("the identity provider's answer says something twice")
    return dict(pairs)


def _what_came(error: Exception) -> str:
    """What the page says of it; nothing of the answer itself is repeated."""
    if isinstance(error, Refused) and error.error == "access_denied":
        return "sign-in-cancelled"
    return UNAVAILABLE if isinstance(error, Unavailable) else "sign-in-failed"
