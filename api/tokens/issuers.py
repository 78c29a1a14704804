"""Who is believed in this installation: the configured identity provider and, where it was set up, the demo."""

from __future__ import annotations

from urllib.parse import urlsplit

from api.loopback import is_loopback
from api.tokens.auth import AskedOfKeycloak, GroupsNow, Identity, Issuer, usable
from api.tokens.demo_issuer import MARKER, DemoIssuer
from api.tokens.discovery import Provider
from api.tokens.freshness import Freshness
from api.tokens.introspection import Introspection
from api.tokens.jwks import HttpKeys
from rag.errors import Misconfigured
from rag.settings import Settings

CERTS = "/protocol/openid-connect/certs"
INTROSPECTION = "/protocol/openid-connect/token/introspect"
UNASKED = (
    "KUSTOS_ISSUER is set, so KUSTOS_SERVICE_SECRET must be set too: with it Kustos asks Keycloak at each request what "
    "the caller may read now. It is the secret of the client {client}; docs/keycloak.md says where to find it"
)


def open_identity(settings: Settings, demo: DemoIssuer | None, groups: GroupsNow | None = None) -> Identity:
    """Recognises the people of the settings' identity provider and the sample accounts of `demo`; without both, nobody.

    `groups` says who of the provider's people is in which, by their ids.

    Raises:
        Misconfigured: a setting of the provider is missing or unsafe, or the demo is on beside a provider.
    """
    if demo:
        check_demo(settings)
    issuers = [
        *([demo.issuer(settings.tenant)] if demo else []),
        *([issuer_of(settings, groups)] if settings.issuer else []),
    ]
    return Identity(issuers)


def check_demo(settings: Settings) -> None:
    """Whether these settings bear a demo, where anybody can be any sample account.

    Raises:
        Misconfigured: there is an identity provider, or the service would be reachable from beyond this machine.
    """
    if settings.issuer:
        raise Misconfigured(
            "the demo lets anybody at this machine be any sample account, so it does not run beside KUSTOS_ISSUER; "
            f"unset that, or remove {MARKER} from the home folder {settings.home.absolute()} if it is there"
        )
    if not is_loopback(settings.host) or settings.public_name:
        raise Misconfigured(
            "the demo lets anybody who reaches it be any sample account, so it neither listens on "
            f"{settings.host or 'every address'} nor has a public name; use KUSTOS_HOST=127.0.0.1 without "
            f"KUSTOS_PUBLIC_NAME, or remove {MARKER} from the home folder {settings.home.absolute()} if it is there"
        )


def usable_keys(settings: Settings) -> int:
    """How many of the provider's keys can sign tokens that are accepted here. Asks the provider, once.

    Raises:
        Misconfigured: a setting of the provider is missing or unsafe.
        Unavailable: it does not give its keys; the message says why.
    """
    issuer_of(settings)
    return sum(map(usable, HttpKeys.at(settings.jwks_url).published().values()))


def issuer_named(settings: Settings) -> str:
    """What the provider calls itself in its tokens. Asks it, once.

    Raises:
        Misconfigured, Unavailable: as above.
    """
    return Provider.at(realm_url(settings.jwks_url)).issuer()


def issuer_of(settings: Settings, groups: GroupsNow | None = None) -> Issuer:
    """The identity provider of the settings.

    Raises:
        Misconfigured: a setting of it is missing or unsafe.
    """
    for name in ("audience", "jwks_url", "realm", "service_client"):
        if not getattr(settings, name):
            raise Misconfigured(f"KUSTOS_ISSUER is set, so KUSTOS_{name.upper()} must be set too")
    if not settings.service_secret:
        raise Misconfigured(UNASKED.format(client=settings.service_client))
    url = urlsplit(settings.jwks_url)
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname or "")):
        raise Misconfigured(f"KUSTOS_JWKS_URL={settings.jwks_url} must begin with https://, or name this machine")
    return Issuer(
        url=settings.issuer,
        audience=settings.audience,
        realm=settings.realm,
        tenant=settings.tenant,
        clients=frozenset(settings.clients or {settings.audience}),
        keys=HttpKeys.at(settings.jwks_url),
        worth=AskedOfKeycloak(introspection_of(settings), Freshness(settings.freshness_s), groups),
    )


def introspection_of(settings: Settings) -> Introspection:
    """Asks what a token is worth, as the service client of the settings.

    Raises:
        Misconfigured: the keys are not at an address of Keycloak's.
    """
    return Introspection(introspection_url(settings.jwks_url), settings.service_client, settings.service_secret)


def introspection_url(jwks_url: str) -> str:
    """Where Keycloak says what a token is worth, beside where its keys are.

    Raises:
        Misconfigured: the keys are not at an address of Keycloak's.
    """
    return realm_url(jwks_url) + INTROSPECTION


def realm_url(jwks_url: str) -> str:
    """What all addresses of the realm begin with, as far as this service calls them.

    Raises:
        Misconfigured: the keys are not at an address of Keycloak's.
    """
    realm = jwks_url.removesuffix(CERTS)
    if realm == jwks_url:
        raise Misconfigured(f"KUSTOS_JWKS_URL={jwks_url} is not an address of Keycloak's: it does not end in {CERTS}")
    return realm
