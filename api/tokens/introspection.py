"""Asks Keycloak what a token is worth now (RFC 7662). It evaluates roles and groups anew each time."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlencode, urlsplit

from api.tokens.claims import Claims, claims_in
from api.tokens.connections import FAILED, Answer, Connections, Question
from rag.errors import NotAuthenticated, Unavailable

TIMEOUT_S = 2.0
_REFUSED = (400, 401, 403)
_HEADERS = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}


class Introspection:
    """One realm's introspection endpoint, asked as a confidential client. Safe to use from several threads."""

    def __init__(self, url: str, client: str, secret: str, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._target = urlsplit(url).path
        self._connections = Connections(url, timeout_s)
        self._credentials = {"client_id": client, "client_secret": secret}

    def claims(self, token: str) -> Claims:
        """What the token says if it were issued now.

        Raises:
            NotAuthenticated: Keycloak does not accept the token (any more).
            Unavailable: Keycloak does not answer in time, or not as it should; nothing is known of the token.
        """
        body = urlencode({"token": token, "token_type_hint": "access_token", **self._credentials}).encode()
        try:
            with self._connections.asked(Question("POST", self._target, _HEADERS, body)) as answer:
                claims = _claims(answer())
        except (*FAILED, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise Unavailable(
                f"the identity provider at {self._url} does not say what a token is worth: {reason}"
            ) from error
        if not claims["active"]:
            raise NotAuthenticated("the identity provider does not accept the token any more")
        return claims


def _claims(answer: Answer) -> Claims:
    """The answer, which has an `active` that is true or false.

    Raises:
        ValueError: it is no answer to the question.
    """
    if answer.status in _REFUSED:
        raise ValueError(f"status {answer.status}; check KUSTOS_SERVICE_CLIENT and KUSTOS_SERVICE_SECRET")
    if answer.status != HTTPStatus.OK:
        raise ValueError(f"status {answer.status}")
    claims = claims_in(answer.body)
    if isinstance(claims.get("active"), bool):
        return claims
    raise ValueError("an answer without active")
