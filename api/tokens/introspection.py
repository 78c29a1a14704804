"""Asks Keycloak what a token is worth now (RFC 7662). It evaluates roles and groups anew each time.

The question goes out at transport level: there are no redirects, cookies or proxies there that the client's secret or a
person's token could follow, and no content encoding that could blow up.
"""

from __future__ import annotations

import ssl
from time import monotonic
from urllib.parse import urlencode

import httpx

from api.tokens.claims import Claims, claims_in
from rag.errors import NotAuthenticated, Unavailable

TIMEOUT_S = 2.0
"""For connecting, for sending, for each wait for a piece of the answer, and for all of its pieces."""
MAX_BYTES = 256_000
CONNECTIONS = 16
IDLE_S = 30.0
_REFUSED = (400, 401, 403)
_BROKEN_CONNECTION = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)


class Introspection:
    """One realm's introspection endpoint, asked as a confidential client over connections that are kept.

    Safe to use from several threads.
    """

    def __init__(self, url: str, client: str, secret: str, timeout_s: float = TIMEOUT_S) -> None:
        self._url = httpx.URL(url)
        self._timeout_s = timeout_s
        self._transport = _transport()
        self._credentials = {"client_id": client, "client_secret": secret}
        self._headers = {
            "Host": self._url.netloc.decode(),
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
        }

    def claims(self, token: str) -> Claims:
        """What the token says if it were issued now.

        Raises:
            NotAuthenticated: Keycloak does not accept the token (any more).
            Unavailable: Keycloak does not answer in time, or not as it should; nothing is known of the token.
        """
        try:
            status, body = self._answer(token)
            claims = _claims(status, body)
        except (httpx.HTTPError, ValueError, OSError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise Unavailable(
                f"the identity provider at {self._url} does not say what a token is worth: {reason}"
            ) from error
        if not claims["active"]:
            raise NotAuthenticated("the identity provider does not accept the token any more")
        return claims

    def _answer(self, token: str) -> tuple[int, bytes]:
        try:
            return self._asked(token)
        except _BROKEN_CONNECTION:  # Keycloak may have closed an idle connection at the moment of its use
            return self._asked(token)

    def _asked(self, token: str) -> tuple[int, bytes]:
        body = urlencode({"token": token, "token_type_hint": "access_token", **self._credentials}).encode()
        patience = dict.fromkeys(("connect", "read", "write", "pool"), self._timeout_s)
        request = httpx.Request(
            "POST", self._url, headers=self._headers, content=body, extensions={"timeout": patience}
        )
        response = self._transport.handle_request(request)
        try:
            return response.status_code, _read(response, self._timeout_s)
        finally:
            response.close()


def _transport() -> httpx.HTTPTransport:
    """Certificates are checked against this machine's own store, where a company's own authority stands."""
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=IDLE_S)
    return httpx.HTTPTransport(verify=ssl.create_default_context(), trust_env=False, limits=limits)


def _read(response: httpx.Response, timeout_s: float) -> bytes:
    """The body.

    Raises:
        ValueError: it is too large, or comes too slowly.
    """
    body, until = bytearray(), monotonic() + timeout_s
    assert isinstance(response.stream, httpx.SyncByteStream)
    for piece in response.stream:
        body += piece
        if len(body) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        if monotonic() > until:
            raise ValueError(f"not complete in {timeout_s} s")
    return bytes(body)


def _claims(status: int, body: bytes) -> Claims:
    """The answer, which has an `active` that is true or false.

    Raises:
        ValueError: it is no answer to the question.
    """
    if status in _REFUSED:
        raise ValueError(f"status {status}; check KUSTOS_SERVICE_CLIENT and KUSTOS_SERVICE_SECRET")
    if status != httpx.codes.OK:
        raise ValueError(f"status {status}")
    claims = claims_in(body)
    if isinstance(claims.get("active"), bool):
        return claims
    raise ValueError("an answer without active")
