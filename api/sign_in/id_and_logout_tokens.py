"""The two tokens beside the access token: the ID token, which says who has signed in, and the logout token.

Form, signature and issuer are judged by `api.tokens.auth`; here is what each has to say beyond that. Neither is good
for what the other or an access token is: purposes differ in `typ`, `aud`, `nonce` and `events` (TV-16, UI-08, RC-02).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from api.tokens.auth import LEEWAY_S, MAX_NAME, Identity, Issuer, check_time
from api.tokens.claims import Claims
from rag.access import principals
from rag.access.principals import Principal
from rag.errors import BadPrincipal, NotAuthenticated

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
LOGOUT_TYPES = ("logout+jwt",)
LOGOUT_AGE_S = 300
"""A logout token that was signed longer ago is not believed, so no jti needs to be remembered longer."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who has signed in: `sid` is the provider's name of the session, `name` is for display and nothing else."""

    subject: Principal
    sid: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Logout:
    """What has ended: the session `sid`, or without one all of `subject`. `id` tells this token from every other."""

    sid: str | None
    subject: Principal | None
    id: str
    ends_at: int


def signed_in(identity: Identity, issuer_url: str, client: str, token: str, nonce: str, now: float) -> SignedIn:
    """Who the ID token names (OpenID Connect Core 1.0, 3.1.3.7).

    Raises:
        NotAuthenticated: it is not an ID token for this client and this very sign-in, or has ended.
        Unavailable: the provider's keys cannot be fetched.
    """
    issuer, claims = identity.signed(token)
    _check_recipient(issuer, claims, issuer_url, client)
    if claims.get("typ") != "ID" or claims.get("azp", client) != client:
        raise NotAuthenticated("the token is not an ID token of this client")
    check_time(claims, now)
    if not hmac.compare_digest(_text(claims, "nonce").encode(), nonce.encode()):
        raise NotAuthenticated("the ID token belongs to another sign-in")
    name = next((each for each in map(claims.get, ("name", "preferred_username")) if isinstance(each, str)), "")
    sid = _text(claims, "sid") if "sid" in claims else None
    return SignedIn(_person(issuer, _text(claims, "sub")), sid, name[:MAX_NAME])


def logged_out(identity: Identity, issuer_url: str, client: str, token: str, now: float) -> Logout:
    """What the logout token ends (OpenID Connect Back-Channel Logout 1.0, 2.6).

    Raises:
        NotAuthenticated: it is not a logout token for this client, or was signed too long ago.
        Unavailable: the provider's keys cannot be fetched.
    """
    issuer, claims = identity.signed(token, LOGOUT_TYPES)
    _check_recipient(issuer, claims, issuer_url, client)
    check_time(claims, now)
    issued, events = claims.get("iat"), claims.get("events")
    if not isinstance(issued, int) or issued < now - LOGOUT_AGE_S - LEEWAY_S:
        raise NotAuthenticated("the logout token was signed too long ago, or does not say when")
    if "nonce" in claims or claims.get("typ", "Logout") != "Logout":
        raise NotAuthenticated("the token is not a logout token")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        raise NotAuthenticated("the token tells of no logout")
    sid = _text(claims, "sid") if "sid" in claims else None
    subject = _person(issuer, _text(claims, "sub")) if "sub" in claims else None
    if sid is None and subject is None:
        raise NotAuthenticated("the logout token names neither a session nor a person")
    identifier = hashlib.sha256(f"{issuer.url}\0{_text(claims, 'jti')}".encode()).hexdigest()
    return Logout(sid, subject, identifier, issued + LOGOUT_AGE_S + 2 * LEEWAY_S)


def _check_recipient(issuer: Issuer, claims: Claims, issuer_url: str, client: str) -> None:
    if issuer.url != issuer_url:
        raise NotAuthenticated("the token is of another issuer than the one that was asked")
    if claims.get("aud") not in (client, [client]):
        raise NotAuthenticated("the token is for another client")


def _person(issuer: Issuer, subject: str) -> Principal:
    try:
        return principals.user(issuer.realm, subject)
    except BadPrincipal as error:
        raise NotAuthenticated(f"the token names nobody: {error}") from error


def _text(claims: Claims, name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME:
        raise NotAuthenticated(f"the token's {name} is not a text of reasonable length")
    return value
