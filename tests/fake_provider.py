"""An identity provider in memory, as far as one client of it sees: codes, tokens that renew once, and sessions that end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt

from api.sign_in.id_and_logout_tokens import LOGOUT_EVENT
from api.sign_in.oidc import Client, challenge
from api.sign_in.sessions import Sessions
from api.tokens.auth import Identity, Worth
from rag.stores.catalog_sessions import CatalogSessions
from tests import library
from tests.fakes import Clock
from tests.library import ISSUER, KID, signing_key

PAGE = "https://kustos.example"
BASE = f"{ISSUER}/protocol/openid-connect"
CLIENT, SECRET = "web", "the-clients-secret"
LIFETIME_S = 300
DEVICE = {
    "device_code": "device",
    "user_code": "ABCD-EFGH",
    "verification_uri": f"{ISSUER}/device",
    "verification_uri_complete": f"{ISSUER}/device?user_code=ABCD-EFGH",
    "expires_in": 600,
    "interval": 5,
}
LOGOUT = {"aud": CLIENT, "typ": "Logout", "sid": "session-1", "jti": "1", "events": {LOGOUT_EVENT: {}}, "sub": ...}
LOGOUT |= {"azp": ..., "groups": ..., "realm_access": ...}


class FakeProvider:
    """Answers as Keycloak does. `fails`, if set, answers instead."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.asked: list[str] = []
        self.fails: Callable[[httpx.Request], httpx.Response] | None = None
        self.identity: dict[str, Any] = {}  # what its ID tokens say that they should not
        self.access: dict[str, Any] = {}
        self.sid = "session-1"
        self.device: list[str] = []  # what is said of a device's code each time it is asked about; then it is confirmed
        self._codes: dict[str, tuple[str, str]] = {}
        self._refresh: set[str] = set()
        self._made = 0

    def confirm(self, address: str) -> dict[str, str]:
        """Somebody signs in at the address that the page sent him to; what comes back in the query."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert (asked["client_id"], asked["redirect_uri"]) == (CLIENT, f"{PAGE}/session/callback")
        assert asked["code_challenge_method"] == "S256"
        code = self._new("code")
        self._codes[code] = asked["code_challenge"], asked["nonce"]
        return {"code": code, "state": asked["state"], "iss": ISSUER}

    def end(self) -> None:
        """Ends the session there."""
        self._refresh.clear()

    def client(self, secret: str = SECRET) -> Client:
        return Client(BASE, CLIENT, secret, httpx.Client(transport=httpx.MockTransport(self._answer)), self.clock)

    def sessions(self, store: CatalogSessions, worth: Worth | None = None) -> Sessions:
        """The page's sessions at this provider."""
        return Sessions(
            url=PAGE,
            issuer=ISSUER,
            client=self.client(),
            identity=Identity([library.issuer(worth=worth)], self.clock),
            store=store,
            clock=self.clock,
        )

    def logout_token(self, header: dict[str, object] | None = None, **changes: object) -> str:
        """What it sends when a session has ended; `...` takes a claim out."""
        now = int(self.clock())
        claims = library.claims(now, **{**LOGOUT, "exp": now + 120, **changes})
        named = {"kid": KID, "typ": "logout+jwt", **(header or {})}
        return jwt.PyJWS().encode(json.dumps(claims).encode(), signing_key(), "RS256", headers=named)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix(urlsplit(BASE).path)
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        self.asked.append(f"{path} {form.get('grant_type', '')}".strip())
        if self.fails:
            return self.fails(request)
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
            return _refused("invalid_client", 401)
        match path, form.get("grant_type"):
            case "/token", "authorization_code":
                expected, nonce = self._codes.pop(form.get("code", ""), ("", ""))
                return self._tokens(nonce) if challenge(form["code_verifier"]) == expected else _refused()
            case "/token", "refresh_token":
                known = form["refresh_token"] in self._refresh
                self._refresh.discard(form["refresh_token"])
                return self._tokens("") if known else _refused()
            case "/logout", None:
                known = form["refresh_token"] in self._refresh
                self._refresh.discard(form["refresh_token"])
                return httpx.Response(204) if known else _refused()
            case "/revoke", None:
                self._refresh.discard(form["token"])
                return httpx.Response(200)
            case "/auth/device", None:
                self._codes["device"] = form["code_challenge"], ""
                return httpx.Response(200, json=DEVICE)
            case "/token", _ if self.device:
                return _refused(self.device.pop(0))
            case "/token", _:
                return self._tokens("") if challenge(form["code_verifier"]) == self._codes["device"][0] else _refused()
        return httpx.Response(404)

    def _tokens(self, nonce: str) -> httpx.Response:
        now, refresh = int(self.clock()), self._new("refresh")
        self._refresh.add(refresh)
        times = {"exp": now + LIFETIME_S, "sub": "ann", "sid": self.sid, "jti": refresh}
        identity = {"aud": CLIENT, "typ": "ID", "nonce": nonce, "name": "Ann Lee", **self.identity}
        told = {
            "access_token": library.token(now, **{**times, "groups": ["/sales"], **self.access}),
            "id_token": library.token(now, **{**times, **identity}),
            "refresh_token": refresh,
            "expires_in": LIFETIME_S,
        }
        return httpx.Response(200, json=told)

    def _new(self, kind: str) -> str:
        self._made += 1
        return f"{kind}-{self._made}"


def _refused(error: str = "invalid_grant", status: int = 400) -> httpx.Response:
    return httpx.Response(status, json={"error": error, "error_description": "no"})
