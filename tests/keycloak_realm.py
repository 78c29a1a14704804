"""The realm of deploy/keycloak on a running Keycloak: real tokens of its people, and everything that can be taken from them.

Tokens come by password through a client that exists in tests only. Tests that take something away make an account of
their own with `person`, so that none disturbs another.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from keycloak import KeycloakAdmin, KeycloakOpenID

from api.tokens.auth import Identity
from api.tokens.issuers import open_identity
from rag.settings import Settings
from tests.services.keycloak import Server

REALM_FILE = Path(__file__).parents[1] / "deploy" / "keycloak" / "realm-kustos.json"
REALM_NAME = "kustos"
QUALIFIER = "hansekai"
"""`KUSTOS_REALM` of the sample company, whose access files name it; Keycloak's own name for the realm is another."""
CLIENTS = ("kustos-page", "kustos-cli", "kustos-sync", "kustos-eval")
TEST_CLIENT = "kustos-test"


class KeycloakRealm:
    """One realm and its administration."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.issuer = f"{server.url}/realms/{name}"
        self.admin = administration(server, name)
        self._passwords: dict[str, str] = {}

    def environment(self, *clients: str) -> dict[str, str]:
        """Settings with which Kustos believes this realm's clients, that of the tests, and these."""
        return {
            "KUSTOS_ISSUER": self.issuer,
            "KUSTOS_JWKS_URL": f"{self.issuer}/protocol/openid-connect/certs",
            "KUSTOS_REALM": QUALIFIER,
            "KUSTOS_CLIENTS": ",".join((*CLIENTS, TEST_CLIENT, *clients)),
            "KUSTOS_SERVICE_SECRET": self.secret("kustos-service") or "",
        }

    def settings(self, home: Path, **environment: str) -> Settings:
        return Settings.from_mapping({"KUSTOS_HOME": str(home), **self.environment(), **environment})

    def identity(self, *clients: str) -> Identity:
        """Who is believed by a service with those settings, which accepts these clients too."""
        return open_identity(Settings.from_mapping(self.environment(*clients)), None)

    def token(self, person: str, client: str = TEST_CLIENT) -> str:
        """An access token of a person, issued now."""
        return str(self.sign_in(person, client)["access_token"])

    def sign_in(self, person: str, client: str = TEST_CLIENT) -> Mapping[str, Any]:
        """All that the token endpoint says: access, refresh and ID token."""
        if client == TEST_CLIENT:
            _ = self._test_client
        reply: Mapping[str, Any] = self.openid(client).token(person, self.password(person))
        return reply

    def password(self, person: str) -> str:
        """The person's password, set when it is first asked for."""
        if person not in self._passwords:
            self._passwords[person] = secrets.token_urlsafe(24)
            self.admin.set_user_password(self.subject(person), self._passwords[person], temporary=False)
        return self._passwords[person]

    def service_token(self, client: str) -> str:
        """An access token of a client's service account."""
        return str(self.openid(client).token(grant_type="client_credentials")["access_token"])

    def openid(self, client: str) -> KeycloakOpenID:
        """Keycloak as this client sees it: tokens, introspection, sign-out."""
        return KeycloakOpenID(
            server_url=f"{self.server.url}/",
            realm_name=self.name,
            client_id=client,
            client_secret_key=self.secret(client),
        )

    def secret(self, client: str) -> str | None:
        """The secret of a client; None for a public one."""
        found: str | None = self.client(client).get("secret")
        return found

    def client(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.admin.get_client(self.client_id(name))
        return found

    def client_id(self, name: str) -> str:
        """Keycloak's own id of a client."""
        return str(self.admin.get_client_id(name))

    def add_client(self, name: str, **settings: Any) -> None:
        """A confidential client with direct grants that carries what `kustos-page` carries, but for what is given."""
        page = self.client("kustos-page")
        scopes = {each: page[each] for each in ("defaultClientScopes", "fullScopeAllowed")}
        grants = {"directAccessGrantsEnabled": True, "standardFlowEnabled": False}
        self.admin.create_client({"clientId": name, "publicClient": False, **grants, **scopes, **settings})

    @cached_property
    def _test_client(self) -> None:
        self.add_client(TEST_CLIENT)

    def subject(self, person: str) -> str:
        """`sub` of a person."""
        found = self.admin.get_user_id(person)
        assert found, f"there is no account {person}"
        return str(found)

    def person(self, *, groups: Collection[str] = (), roles: Collection[str] = (), duties: Collection[str] = ()) -> str:
        """A new account with the default role and groups and these; its name."""
        name = f"test-{secrets.token_hex(4)}"
        self.admin.create_user(
            {"username": name, "enabled": True, "email": f"{name}@hansekai.example", "firstName": "T", "lastName": name}
        )
        for path in groups:
            self.join(name, path)
        for role in roles:
            self.give_role(name, role)
        for duty in duties:
            self.give_duty(name, duty)
        return name

    def join(self, person: str, path: str) -> None:
        self.admin.group_user_add(self.subject(person), self.group_id(path))

    def leave(self, person: str, path: str) -> None:
        self.admin.group_user_remove(self.subject(person), self.group_id(path))

    def give_role(self, person: str, role: str) -> None:
        self.admin.assign_realm_roles(self.subject(person), [self.admin.get_realm_role(role)])

    def take_role(self, person: str, role: str) -> None:
        self.admin.delete_realm_roles_of_user(self.subject(person), [self.admin.get_realm_role(role)])

    def give_duty(self, person: str, duty: str) -> None:
        self.admin.assign_client_role(self.subject(person), self.client_id("kustos"), [self.duty(duty)])

    def take_duty(self, person: str, duty: str) -> None:
        self.admin.delete_client_roles_of_user(self.subject(person), self.client_id("kustos"), [self.duty(duty)])

    def disable(self, person: str) -> None:
        self.admin.update_user(self.subject(person), {"enabled": False})

    def end_sessions(self, person: str) -> None:
        self.admin.user_logout(self.subject(person))

    def remove(self, person: str) -> None:
        self.admin.delete_user(self.subject(person))

    @contextmanager
    def service_may(self, *roles: str) -> Iterator[None]:
        """The service client has these roles of realm-management for the length of a block."""
        management = self.client_id("realm-management")
        subject = self.admin.get_client_service_account_user(self.client_id("kustos-service"))["id"]
        found = [self.admin.get_client_role(management, role) for role in roles]
        self.admin.assign_client_role(subject, management, found)
        try:
            yield
        finally:
            self.admin.delete_client_roles_of_user(subject, management, found)

    @contextmanager
    def without_events(self) -> Iterator[None]:
        """What administrators do is not recorded for the length of a block."""
        self.admin.update_realm(self.name, {"adminEventsEnabled": False})
        try:
            yield
        finally:
            self.admin.update_realm(self.name, {"adminEventsEnabled": True})

    @contextmanager
    def groups_left_out_of_tokens(self) -> Iterator[None]:
        """The group mapper fills what introspection says, and no access token, for the length of a block."""
        scope = next(each for each in self.admin.get_client_scopes() if each["name"] == "kustos")
        mapper = next(each for each in scope["protocolMappers"] if each["name"] == "groups by full path")
        off = {**mapper, "config": {**mapper["config"], "access.token.claim": "false"}}
        self.admin.update_mapper_in_client_scope(scope["id"], mapper["id"], off)
        try:
            yield
        finally:
            self.admin.update_mapper_in_client_scope(scope["id"], mapper["id"], mapper)

    def group_id(self, path: str) -> str:
        """Keycloak's own id of a group."""
        return str(self.admin.get_group_by_path(path)["id"])

    def duty(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.admin.get_client_role(self.client_id("kustos"), name)
        return found


def administration(server: Server, realm: str) -> KeycloakAdmin:
    return KeycloakAdmin(
        server_url=f"{server.url}/",
        username=server.administrator,
        password=server.password,
        realm_name=realm,
        user_realm_name="master",
    )


@contextmanager
def imported(server: Server) -> Iterator[KeycloakRealm]:
    """The realm under a name of its own on a server that others use too, through the administration API; removed after.

    Subjects are Keycloak's choice there: they must be unique in the whole server.
    """
    name = f"kustos-{secrets.token_hex(4)}"
    text = REALM_FILE.read_text(encoding="utf-8").replace(f"default-roles-{REALM_NAME}", f"default-roles-{name}")
    realm = {**json.loads(text), "realm": name}
    for person in realm["users"]:
        person.pop("id", None)
    admin = administration(server, "master")
    admin.create_realm(realm)
    try:
        yield KeycloakRealm(server, name)
    finally:
        admin.delete_realm(name)
