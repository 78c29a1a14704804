"""Asks the identity provider for tokens on behalf of one client (OAuth 2.0: RFC 6749, 7009, 8628), as Keycloak has it.

No redirect is followed and no proxy of the environment asked, because codes, tokens and secrets go out here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from rag.errors import Misconfigured, NotAuthenticated, Unavailable

TIMEOUT_S = 5.0
MAX_BYTES = 256_000
SCOPE = "openid"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class Refused(NotAuthenticated):
    """The identity provider said no, and which no it is: `error` is the code of RFC 6749, 5.2, or RFC 8628, 3.5."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(f"the identity provider refuses: {error!a} {description!a}")
        self.error = error


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a client got. `ends_at` is when the access token ends, in seconds since 1970 by our clock."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    identity: str = field(repr=False)
    ends_at: int


@dataclass(frozen=True, slots=True)
class Device:
    """A sign-in that somebody has to confirm elsewhere (RFC 8628, 3.2). Times in seconds."""

    code: str = field(repr=False)
    user_code: str
    address: str
    address_with_code: str
    expires_in: int
    interval: int


class Client:
    """One client of the provider whose addresses begin with `base`."""

    def __init__(
        self, base: str, name: str, secret: str, http: httpx.Client, clock: Callable[[], float] = time.time
    ) -> None:
        self._base = base
        self._credentials = {"client_id": name, **({"client_secret": secret} if secret else {})}
        self._http = http
        self._clock = clock
        self.name = name

    @classmethod
    def at(cls, base: str, name: str, secret: str = "") -> Client:
        """A client that trusts this machine's own store of certificates. Without a secret it is a public one."""
        trusted = ssl.create_default_context()
        http = httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, verify=trusted)
        return cls(base, name, secret, http)

    def exchange(self, code: str, verifier: str, redirect: str) -> Tokens:
        """The tokens for an authorization code.

        Raises:
            Refused: the code, the verifier or the client is not accepted.
            Unavailable: no answer, or none that can be read.
        """
        given = {"code": code, "code_verifier": verifier, "redirect_uri": redirect}
        return self._tokens({"grant_type": "authorization_code", **given})

    def refresh(self, token: str) -> Tokens:
        """The tokens that follow; `token` is used up.

        Raises:
            Refused, Unavailable: as above; Refused also means that the session has ended.
        """
        return self._tokens({"grant_type": "refresh_token", "refresh_token": token})

    def check(self) -> None:
        """Whether the provider takes this client for what it says it is: asks for what it cannot get.

        Raises:
            Misconfigured: it does not.
            Unavailable: as above.
        """
        try:
            self.refresh("no-such-token")
        except Refused as error:
            if error.error != "invalid_grant":
                raise Misconfigured(f"{self._base} does not accept the client {self.name}: {error}") from error

    def begin_device(self, challenge: str) -> Device:
        """Begins a sign-in that a person confirms in a browser of his own.

        Raises:
            Refused, Unavailable: as above.
        """
        proof = {"scope": SCOPE, "code_challenge": challenge, "code_challenge_method": "S256"}
        told = self._post("/auth/device", proof)
        try:
            address = _text(told, "verification_uri")
            return Device(
                code=_text(told, "device_code"),
                user_code=_text(told, "user_code"),
                address=address,
                address_with_code=str(told.get("verification_uri_complete") or address),
                expires_in=int(told["expires_in"]),
                interval=int(told.get("interval", 5)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable(
                f"the identity provider at {self._base} did not answer as it should: {error!r}"
            ) from error

    def confirmed(self, device: Device, verifier: str) -> Tokens:
        """The tokens of a sign-in that was confirmed.

        Raises:
            Refused: `error` says whether it is too early (authorization_pending, slow_down) or too late.
            Unavailable: as above.
        """
        return self._tokens({"grant_type": DEVICE_GRANT, "device_code": device.code, "code_verifier": verifier})

    def revoke(self, refresh: str) -> None:
        """Makes a refresh token, and what came with it, worth nothing.

        Raises:
            Refused, Unavailable: as above.
        """
        self._post("/revoke", {"token": refresh, "token_type_hint": "refresh_token"})

    def end_session(self, refresh: str) -> None:
        """Ends the person's session at the provider, and with it those of all its clients.

        Raises:
            Refused, Unavailable: as above.
        """
        self._post("/logout", {"refresh_token": refresh})

    def _tokens(self, form: Mapping[str, str]) -> Tokens:
        told = self._post("/token", form)
        try:
            access, refresh = _text(told, "access_token"), _text(told, "refresh_token")
            ends_at = int(self._clock()) + int(told["expires_in"])
            return Tokens(access, refresh, str(told.get("id_token", "")), ends_at)
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable(f"the identity provider at {self._base} gave no tokens: {error!r}") from error

    def _post(self, path: str, form: Mapping[str, str]) -> Mapping[str, Any]:
        """The object that the provider answers with; an empty one where it says nothing."""
        try:
            with self._http.stream("POST", self._base + path, data={**form, **self._credentials}) as reply:
                status, told = reply.status_code, _object(reply)
        except httpx.ConnectError as error:
            raise Unavailable(f"the identity provider at {self._base} cannot be reached: {error}") from error
        except (httpx.HTTPError, ValueError, TypeError, RecursionError) as error:
            raise Unavailable(
                f"the identity provider at {self._base} does not answer as it should: {error!r}"
            ) from error
        if status in (200, 204):
            return told
        if 400 <= status < 500 and isinstance(told.get("error"), str) and status not in (404, 429):
            raise Refused(told["error"], str(told.get("error_description", "")))
        raise Unavailable(f"the identity provider at {self._base} answers with status {status}")


def challenge(verifier: str) -> str:
    """What goes ahead of a verifier (RFC 7636, S256)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _object(reply: httpx.Response) -> Mapping[str, Any]:
    """The JSON object of a reply.

    Raises:
        ValueError, TypeError: it is too long, or holds something else.
    """
    body = bytearray()
    for piece in reply.iter_bytes():
        body += piece
        if len(body) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
    if not body:
        return {}
    told = json.loads(body)
    if not isinstance(told, dict):
        raise TypeError("not a JSON object")
    return told


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told[name]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is not a text")
    return value
