"""The one place that talks to Keycloak's administration API: reads what the realm checks need, and changes nothing."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from keycloak import KeycloakAdmin, KeycloakError, KeycloakOpenIDConnection
from keycloak.exceptions import HTTP_FORBIDDEN, KeycloakAuthenticationError

from api.identity import issuer_of
from api.realm_check import PROFILE, Realm
from rag.errors import Misconfigured, NotAllowed, Unavailable
from rag.settings import Settings

TIMEOUT_S = 10
_CERTS = re.compile(r"(https?://.+)/realms/([^/]+)/protocol/openid-connect/certs")


class RealmReader:
    """A realm, read as the settings' service client."""

    def __init__(self, url: str, realm: str, client: str, secret: str) -> None:
        connection = KeycloakOpenIDConnection(
            server_url=f"{url}/", realm_name=realm, client_id=client, client_secret_key=secret, timeout=TIMEOUT_S
        )
        for each in (connection, connection.keycloak_openid.connection):
            each.verify = _authorities()
            each._s.trust_env = False  # no proxy or credentials of the environment stand between
            each._s.max_redirects = 0  # and the client's secret follows no redirect
        self._admin = KeycloakAdmin(connection=connection)
        self._realm = realm

    @classmethod
    def of(cls, settings: Settings) -> RealmReader:
        """The realm of the settings' provider.

        Raises:
            Misconfigured: the provider is none, its keys are not at an address of Keycloak's, or the secret is missing.
        """
        issuer_of(settings)
        found = _CERTS.fullmatch(settings.jwks_url)
        if found is None:
            raise Misconfigured(f"KUSTOS_JWKS_URL={settings.jwks_url} is not an address of Keycloak's")
        if not settings.service_secret:
            raise Misconfigured("KUSTOS_SERVICE_SECRET is not set")
        return cls(found[1], found[2], settings.service_client, settings.service_secret)

    def realm(self) -> Realm:
        """The realm as an export would hold it, as far as `api.realm_check` looks at it.

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
            "groups": self._admin.get_groups({"search": "/"}),
            "roles": self._composed(default, names),
        }

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


def _asked(read: Callable[[], Realm]) -> Realm:
    """What `read` returns, its vendor's errors mapped to ours."""
    try:
        return read()
    except KeycloakAuthenticationError as error:
        raise NotAllowed(f"Keycloak does not accept the service client: {error}") from error
    except KeycloakError as error:
        if error.response_code == HTTP_FORBIDDEN:
            raise NotAllowed("the service client may not read the realm") from error
        raise Unavailable(f"Keycloak cannot be asked: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable(f"Keycloak did not answer as it should: {error!r}") from error
