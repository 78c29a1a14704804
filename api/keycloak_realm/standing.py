"""Whether the identity provider answers this service, and so whether anybody can be admitted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from api.keycloak_realm.administration import KeycloakAccounts
from api.tokens.claims import Claims
from api.tokens.discovery import Provider
from api.tokens.issuers import introspection_of, realm_url
from rag.access.groups import Group
from rag.errors import NotAuthenticated, Unavailable
from rag.settings import Settings

TIMEOUT_S = 2


class Accounts(Protocol):
    def credentials(self) -> str: ...
    def renew(self) -> None: ...
    def groups_of(self, subject: str) -> Sequence[Group]: ...


class Worth(Protocol):
    def claims(self, token: str) -> Claims: ...


class AskedAsUs:
    """Asks the provider what the service's own token is worth, and sees by a new one what time it is there.

    A secret that was exchanged, or a client that was disabled, shows here; and in the question for its groups, that it
    may not look at people any more. A made-up token would show the first too, and be an error in Keycloak's log.
    Keycloak 26.5 sends no `Date`, so its clock is read from the tokens it issues.
    """

    def __init__(self, accounts: Accounts, introspection: Worth, now: Callable[[], float] = time.time) -> None:
        self._accounts = accounts
        self._introspection = introspection
        self._now = now
        self._token = ""
        self._received = 0.0

    def __call__(self) -> float:
        """By how many seconds its clock is ahead of this one's, as of its last new token; to a second or two.

        Raises:
            NotAllowed, NotAuthenticated, Unavailable: it does not answer, or not this service.
        """
        try:
            return self._asked()
        except NotAuthenticated:  # a `not before` that was pushed ends this token like everybody's, and not the service
            self._accounts.renew()
            return self._asked()

    def _asked(self) -> float:
        claims = self._introspection.claims(self._own_token())
        issued, subject = claims.get("iat"), claims.get("sub")
        if not isinstance(issued, int) or not 0 <= issued < 2**53 or not isinstance(subject, str):
            raise Unavailable("the identity provider does not say whose the service's own token is, and from when")
        ahead_s = issued - self._received
        self._accounts.groups_of(subject)
        self._own_token()  # which that question may have renewed
        return ahead_s

    def _own_token(self) -> str:
        """The token, whose arrival is noted whatever is said of it: later it would look as if its clock were behind."""
        token = self._accounts.credentials()
        if token != self._token:
            self._token, self._received = token, self._now()
        return token


def open_provider(settings: Settings, now: Callable[[], float] = time.time) -> Provider | None:
    """The settings' provider, to be asked what it calls itself and whether it answers; None if there is none.

    Raises:
        Misconfigured: a setting of the provider is missing or unsafe.
    """
    if not settings.issuer:
        return None
    asked = AskedAsUs(KeycloakAccounts.of(settings, TIMEOUT_S), introspection_of(settings), now)
    return Provider.at(realm_url(settings.jwks_url), asked)
