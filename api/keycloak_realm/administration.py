"""The one place that talks to Keycloak's administration API. It reads, and changes nothing."""

from __future__ import annotations

import json
import logging
import re
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from keycloak import KeycloakAdmin, KeycloakError, KeycloakOpenIDConnection
from keycloak.exceptions import HTTP_FORBIDDEN, HTTP_NOT_FOUND, HTTP_OK, KeycloakAuthenticationError, KeycloakGetError

from api.keycloak_realm.check import PROFILE, Realm, with_parents
from api.tokens.issuers import issuer_of
from rag.access.groups import Group
from rag.errors import Misconfigured, NotAllowed, Unavailable
from rag.settings import Settings

TIMEOUT_S = 10
PAGE = 100
MOST_GROUPS = 1_000
"""So many groups of one account are listed at a time."""
AT_A_TIME = 4
"""Accounts that are asked about side by side while all of them are read."""
NO_ACCOUNTS = frozenset(("", ".", "..", "count", "profile"))
"""What has these names in the list of accounts is the list itself, what is above it, or about it."""
_T = TypeVar("_T")
_CERTS = re.compile(r"(https?://.+)/realms/([^/]+)/protocol/openid-connect/certs")


@dataclass(frozen=True, slots=True)
class Account:
    """A person or service account as it is now.

    Attributes:
        id: `sub` of his tokens.
        realm_roles: effective ones: assigned, composed, and of his groups and those above them.
        client_roles: effective ones at the client that was asked for.
        groups: those that he is a direct member of.
    """

    id: str
    name: str
    enabled: bool
    realm_roles: frozenset[str]
    client_roles: frozenset[str]
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class AdminEvent:
    """Something that an administrator did.

    Attributes:
        at_ms: milliseconds since 1970.
        kind: what it was done to, for instance GROUP.
        operation: CREATE, UPDATE, DELETE or ACTION.
        path: address of that below the realm's, for instance users/ID/groups/ID; empty where there is none.
    """

    id: str
    at_ms: int
    kind: str
    operation: str
    path: str


class ServiceClientRefused(NotAllowed):
    """The service client or its secret is not one that Keycloak knows."""


class KeycloakAccounts:
    """People, service accounts and groups of a realm, asked live."""

    def __init__(self, admin: KeycloakAdmin, client: str) -> None:
        self._admin = admin
        self._client = client
        self._renewing = Lock()

    @classmethod
    def of(cls, settings: Settings, timeout_s: int = TIMEOUT_S) -> KeycloakAccounts:
        """Those of the settings' provider; `client_roles` are those at the audience.

        Raises:
            Misconfigured: the provider is none, its keys are not at an address of Keycloak's, or the secret is missing.
        """
        return cls(administration(settings, timeout_s), settings.audience)

    def account(self, subject: str) -> Account | None:
        """The account with this id; None if there is none.

        Raises:
            NotAllowed: the service client may not read it.
            Unavailable: Keycloak does not answer, or not as it should.
        """
        return None if subject in NO_ACCOUNTS else _asked(lambda: _if_there(lambda: self._account(subject)))

    def credentials(self) -> str:
        """An access token of the service client, with some of its time left.

        Raises:
            NotAllowed, Unavailable: as above.
        """

        def read() -> str:
            connection = self._admin.connection
            with self._renewing:
                if connection.expires_at is None or connection.expires_at <= datetime.now(UTC):
                    connection.get_token()
                return _text(connection.token or {}, "access_token")

        return _asked(read)

    def renew(self) -> None:
        """Has a new token issued, where Keycloak has ended the one before.

        Raises:
            NotAllowed, Unavailable: as above.
        """

        def issue() -> None:
            with self._renewing:
                self._admin.connection.get_token()

        _asked(issue)

    def groups_of(self, subject: str) -> list[Group]:
        """The groups that the account with this id is a direct member of; none if there is no such account.

        Raises:
            NotAllowed, Unavailable: as above.
        """
        if subject in NO_ACCOUNTS:
            return []
        part = quote(subject, safe="")
        return _asked(lambda: _if_there(lambda: self._groups_of(part)) or [])

    def named(self, name: str) -> str | None:
        """The id of the account with exactly this user name; None if there is none.

        Raises:
            NotAllowed, Unavailable: as above.
        """

        def read() -> str | None:
            found = self._admin.get_users({"username": name, "exact": True, "max": 2})
            return next((str(each["id"]) for each in found if each["username"] == name.lower()), None)

        return _asked(read)

    def groups(self) -> list[Group]:
        """Every group of the realm, each after the one above it.

        Raises:
            NotAllowed, Unavailable: as above.
        """
        return _asked(lambda: list(self._groups()))

    def upwards(self, identifiers: Iterable[str]) -> list[Group]:
        """The groups with these ids and all above them; ids that there are not are left out.

        Raises:
            NotAllowed, Unavailable: as above.
        """
        found: dict[str, Group] = {}
        for each in identifiers:
            at: str | None = each
            while at is not None and at not in found:
                read = _asked(partial(_if_there, partial(self._get, f"groups/{quote(at, safe='')}")))
                if read is None:
                    break
                found[at] = group(read)
                at = found[at].parent
        return list(found.values())

    def people(self) -> Iterator[list[Account]]:
        """Every account that is enabled, service accounts too, a page at a time.

        Raises:
            NotAllowed, Unavailable: as above, in the middle too.
        """
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            pages = self._pages("users", enabled="true", briefRepresentation="true")
            while page := _asked(lambda: next(pages, None)):
                found = pool.map(self.account, [_text(each, "id") for each in page])
                yield [each for each in found if each is not None and each.enabled]

    def events_are_kept(self) -> bool:
        """Whether the realm records what its administrators do.

        Raises:
            NotAllowed, Unavailable: as above.
        """
        return _asked(lambda: self._get("events/config")["adminEventsEnabled"] is True)

    def newest_event(self) -> AdminEvent | None:
        """What administrators did last; None where nothing is recorded.

        Raises:
            NotAllowed, Unavailable: as above.
        """
        return _asked(lambda: next(iter(_events(self._get("admin-events", max=1, direction="desc"))), None))

    def events(self, since_ms: int) -> Iterator[AdminEvent]:
        """What administrators did from that moment on (included), oldest first.

        Args:
            since_ms: milliseconds since 1970 by Keycloak's clock.

        Raises:
            NotAllowed, Unavailable: as above, in the middle too.
        """
        pages = self._pages("admin-events", dateFrom=since_ms, direction="asc")
        while page := _asked(lambda: next(pages, None)):
            yield from _asked(partial(_events, page))

    def _groups(self) -> Iterator[Group]:
        addresses = ["groups"]
        while addresses:
            for page in self._pages(addresses.pop(), briefRepresentation="true"):
                yield from map(group, page)
                addresses += [f"groups/{quote(each['id'])}/children" for each in page if each["subGroupCount"]]

    def _account(self, subject: str) -> Account:
        part = quote(subject, safe="")
        user = self._admin.get_user(part)
        realm_roles = self._admin.get_composite_realm_roles_of_user(part)
        return Account(
            id=_text(user, "id"),
            name=_text(user, "username"),
            enabled=user["enabled"] is True,
            realm_roles=frozenset(_text(each, "name") for each in realm_roles),
            client_roles=frozenset(self._roles_at_client(part)),
            groups=tuple(self._groups_of(part)),
        )

    def _groups_of(self, part: str) -> list[Group]:
        pages = self._pages(f"users/{part}/groups", size=MOST_GROUPS, briefRepresentation="true")
        return [group(each) for page in pages for each in page]

    def _roles_at_client(self, subject: str) -> list[str]:
        """Effective roles there, read as the administration console does.

        The documented address wants the client's own id, which only `view-clients` tells, and that shows secrets too.
        """
        held = self._get(f"ui-ext/effective-roles/users/{subject}")
        return [_text(each, "role") for each in held if each["client"] == self._client]

    def _pages(self, address: str, size: int = PAGE, **query: str | int) -> Iterator[list[dict[str, Any]]]:
        for first in count(0, size):
            page: list[dict[str, Any]] = self._get(address, first=first, max=size, **query)
            yield page
            if len(page) < size:
                return

    def _get(self, address: str, **query: str | int) -> Any:
        """What is at an address of the realm's administration.

        The library's own methods ask for the children of every group that they list, and hold whole listings.
        """
        reply = self._admin.connection.raw_get(f"admin/realms/{self._admin.connection.realm_name}/{address}", **query)
        if reply.status_code != HTTP_OK:
            raise KeycloakGetError(response_code=reply.status_code, error_message=address)
        return reply.json()


def group(found: Mapping[str, Any]) -> Group:
    """A group out of Keycloak's representation."""
    above = found.get("parentId")
    return Group(_text(found, "id"), _text(found, "name"), _text(found, "path"), str(above) if above else None)


def _events(found: list[dict[str, Any]]) -> list[AdminEvent]:
    return [
        AdminEvent(
            id=_text(each, "id"),
            at_ms=int(each["time"]),
            kind=_text(each, "resourceType"),
            operation=_text(each, "operationType"),
            path=str(each.get("resourcePath") or ""),
        )
        for each in found
    ]


def administration(settings: Settings, timeout_s: int = TIMEOUT_S) -> KeycloakAdmin:
    """The administration API of the settings' realm, as its service client.

    Raises:
        Misconfigured: the provider is none, its keys are not at an address of Keycloak's, or the secret is missing.
    """
    issuer_of(settings)
    server, realm = _server_and_realm(settings)
    if not settings.service_secret:
        raise Misconfigured("KUSTOS_SERVICE_SECRET is not set")
    _without_attempts()
    connection = KeycloakOpenIDConnection(
        server_url=f"{server}/",
        realm_name=realm,
        client_id=settings.service_client,
        client_secret_key=settings.service_secret,
        timeout=timeout_s,
    )
    for each in (connection, connection.keycloak_openid.connection):
        each.verify = _authorities()
        each._s.trust_env = False  # no proxy or credentials of the environment stand between
        each._s.max_redirects = 0  # and the client's secret follows no redirect
    return KeycloakAdmin(connection=connection)


def realm_address(settings: Settings) -> str:
    """Where the administration API has the settings' realm.

    Raises:
        Misconfigured: the provider's keys are not at an address of Keycloak's.
    """
    server, realm = _server_and_realm(settings)
    return f"{server}/admin/realms/{realm}"


def _server_and_realm(settings: Settings) -> tuple[str, str]:
    found = _CERTS.fullmatch(settings.jwks_url)
    if found is None:
        raise Misconfigured(f"KUSTOS_JWKS_URL={settings.jwks_url} is not an address of Keycloak's")
    return found[1], found[2]


def _without_attempts() -> None:
    """Keeps the library under python-keycloak from logging each attempt to connect: what came of them is our error."""
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


class RealmReader:
    """A realm's configuration, read as the settings' service client."""

    def __init__(self, admin: KeycloakAdmin) -> None:
        self._admin = admin
        self._realm = str(admin.connection.realm_name)

    @classmethod
    def of(cls, settings: Settings) -> RealmReader:
        """The realm of the settings' provider.

        Raises:
            Misconfigured: a setting of the provider is missing or unsafe.
        """
        return cls(administration(settings))

    def realm(self) -> Realm:
        """The realm as an export would hold it, as far as `api.keycloak_realm.check` looks at it.

        Raises:
            NotAllowed: the service client may not read it.
            Unavailable: Keycloak does not answer, or not as it should.
        """
        return _asked(self._read)

    def _read(self) -> Realm:
        realm = self._admin.get_realm(self._realm)
        default = realm.get("defaultRole", {})
        profile = {"config": {"kc.user.profile.config": [json.dumps(self._admin.get_realm_users_profile())]}}
        clients = self._admin.get_clients()
        names = {each["id"]: each["clientId"] for each in clients}
        return {
            **realm,
            "clients": clients,
            "clientScopes": self._admin.get_client_scopes(),
            "components": {PROFILE: [profile]},
            "groups": [*self._admin.get_groups({"search": "/"}), *self._default_groups(realm)],
            "roles": self._composed(default, names),
        }

    def _default_groups(self, realm: Realm) -> list[dict[str, Any]]:
        """The default groups and those above them, with their roles."""
        paths = {above for path in realm.get("defaultGroups") or () for above in with_parents(path)}
        return [self._admin.get_group_by_path(each) for each in sorted(paths)]

    def _composed(self, role: Mapping[str, Any], clients: Mapping[str, str]) -> dict[str, Any]:
        """The role with all that it is composed of, in the shape of an export. `clients` are names by id."""
        realm_roles: list[dict[str, Any]] = []
        client_roles: dict[str, list[dict[str, Any]]] = {}
        waiting, seen = [role] if role else [], set()
        while waiting:
            each = waiting.pop()
            if each["id"] in seen:
                continue
            seen.add(each["id"])
            parts = self._admin.get_role_composites_by_id(each["id"]) if each.get("composite") else []
            waiting += parts
            made = {"name": each["name"], "composites": _by_owner(parts, clients)}
            if each.get("clientRole"):
                client_roles.setdefault(clients.get(each["containerId"], ""), []).append(made)
            else:
                realm_roles.append(made)
        return {"realm": realm_roles, "client": client_roles}


def _by_owner(roles: list[dict[str, Any]], clients: Mapping[str, str]) -> dict[str, Any]:
    of_clients: dict[str, list[str]] = {}
    for role in roles:
        if role.get("clientRole"):
            of_clients.setdefault(clients.get(role["containerId"], ""), []).append(role["name"])
    return {"realm": [role["name"] for role in roles if not role.get("clientRole")], "client": of_clients}


def _authorities() -> bool | str:
    """Where this machine keeps the authorities that it trusts, a company's own among them."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath or True


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found[name]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is not a text")
    return value


def _at(error: KeycloakError) -> str:
    """Where Keycloak was looked for, if it was not even reached."""
    url = urlsplit(getattr(getattr(error.__cause__, "request", None), "url", None) or "")
    return f" at {url.scheme}://{url.netloc}" if url.netloc else ""


def _if_there(read: Callable[[], _T]) -> _T | None:
    """What `read` returns; None where Keycloak knows nothing of the kind."""
    try:
        return read()
    except KeycloakError as error:
        if error.response_code == HTTP_NOT_FOUND:
            return None
        raise


def _asked(read: Callable[[], _T]) -> _T:
    """What `read` returns, its vendor's errors mapped to ours."""
    try:
        return read()
    except KeycloakAuthenticationError as error:
        raise ServiceClientRefused(
            "Keycloak does not accept the service client, so nobody is admitted: see that KUSTOS_SERVICE_SECRET is "
            "the secret that this realm has for it (docs/keycloak.md)"
        ) from error
    except KeycloakError as error:
        if error.response_code == HTTP_FORBIDDEN:
            raise NotAllowed("the service client may not read this of the realm") from error
        raise Unavailable(f"Keycloak cannot be asked{_at(error)}: {error}") from error
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:  # its text may repeat what Keycloak said of people
        raise Unavailable(f"Keycloak did not answer as it should: {type(error).__name__}") from error
    except OSError as error:
        raise Unavailable(f"Keycloak cannot be reached: {error!r}") from error
