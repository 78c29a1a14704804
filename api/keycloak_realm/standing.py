"""Whether the identity provider answers this service, and so whether anybody can be admitted."""

from __future__ import annotations

from api.keycloak_realm.administration import KeycloakAccounts
from api.tokens.discovery import Provider
from api.tokens.issuers import introspection_of, realm_url
from rag.settings import Settings

TIMEOUT_S = 2


def open_provider(settings: Settings) -> Provider | None:
    """The settings' provider, to be asked what it calls itself and whether it answers; None if there is none.

    Whether it answers this service shows in what it says of the service's own token: a secret that was exchanged, or a
    client that was disabled, admits nobody either. A made-up token would do too, but be an error in Keycloak's log.

    Raises:
        Misconfigured: a setting of the provider is missing or unsafe.
    """
    if not settings.issuer:
        return None
    accounts, introspection = KeycloakAccounts.of(settings, TIMEOUT_S), introspection_of(settings)
    return Provider.at(realm_url(settings.jwks_url), lambda: introspection.claims(accounts.credentials()))
