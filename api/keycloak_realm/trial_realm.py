"""A realm made for measuring, on a Keycloak that one administers: its people, and what can be taken from them.

Made from the realm of `deploy/keycloak` under a name of its own, and removed afterwards. No other realm is touched.
"""

from __future__ import annotations

import json
import secrets
import ssl
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import httpx

from rag.errors import BadInput, Unavailable

CLIENT = "kustos-trial"
SERVICE = "kustos-service"
GROUP, ROLE, PART, STAFF = "revocable", "revocable", "revocable-part", "trial-staff"
"""What is taken from people, and the role that all of them keep. The part comes to each by a role of his own."""
TIMEOUT_S = 60.0
TOKEN_S = 30.0
"""So long an administrator's token is used; Keycloak lets it live for 60 s."""
_CHEAP = "hashAlgorithm(pbkdf2-sha256) and hashIterations(1)"
"""Passwords of people who exist for minutes."""


@dataclass(frozen=True, slots=True)
class Person:
    """One account. `id` is its `sub`."""

    name: str
    id: str
    password: str

    @property
    def composite(self) -> str:
        """The role by which he has the part, and nobody else."""
        return f"team-of-{self.name}"


class Administrator:
    """The administration API, as an administrator of the realm `master`."""

    def __init__(self, url: str, name: str, password: str) -> None:
        self.url = url.rstrip("/")
        self._form = {"grant_type": "password", "client_id": "admin-cli", "username": name, "password": password}
        self._http = httpx.Client(timeout=TIMEOUT_S, trust_env=False, verify=ssl.create_default_context())
        self._token, self._since = "", float("-inf")
        self._lock = Lock()

    def send(self, method: str, path: str, body: object = None) -> Any:
        """The reply's JSON; None without any.

        Raises:
            Unavailable: Keycloak does not answer, or does not do it.
        """
        header = {"Authorization": f"Bearer {self._bearer()}"}
        reply = self._asked(method, f"{self.url}/admin/realms{path}", json=body, headers=header)
        return reply.json() if reply.content else None

    def token(self, realm: str, **form: str) -> str:
        """An access token of this realm.

        Raises:
            Unavailable: there is none for this form.
        """
        reply = self._asked("POST", f"{self.url}/realms/{realm}/protocol/openid-connect/token", data=form)
        return str(reply.json()["access_token"])

    def close(self) -> None:
        self._http.close()

    def _bearer(self) -> str:
        with self._lock:
            if time.monotonic() - self._since > TOKEN_S:
                self._token, self._since = self.token("master", **self._form), time.monotonic()
            return self._token

    def _asked(self, method: str, url: str, **more: Any) -> httpx.Response:
        try:
            reply = self._http.request(method, url, **more)
        except httpx.HTTPError as error:
            raise Unavailable(f"Keycloak cannot be asked at {url}: {error!r}") from error
        if not reply.is_success:
            raise Unavailable(f"Keycloak did not do {method} {url}: status {reply.status_code} {reply.text[:200]}")
        return reply


class TrialRealm:
    """The realm and its people."""

    def __init__(self, admin: Administrator, name: str, people: Sequence[Person], secret: str) -> None:
        self.people = people
        self._admin = admin
        self._name = name
        self._secret = secret

    def environment(self) -> dict[str, str]:
        """Settings of a service that believes this realm."""
        issuer = f"{self._admin.url}/realms/{self._name}"
        return {
            "KUSTOS_ISSUER": issuer,
            "KUSTOS_JWKS_URL": f"{issuer}/protocol/openid-connect/certs",
            "KUSTOS_REALM": self._name,
            "KUSTOS_CLIENTS": CLIENT,
            "KUSTOS_SERVICE_CLIENT": SERVICE,
            "KUSTOS_SERVICE_SECRET": self._secret,
        }

    def token(self, person: Person) -> str:
        """An access token of the person, issued now."""
        form = {"grant_type": "password", "client_id": CLIENT, "username": person.name, "password": person.password}
        return self._admin.token(self._name, **form)

    def leave_group(self, person: Person) -> None:
        group = self._send("GET", f"/group-by-path/{GROUP}")["id"]
        self._send("DELETE", f"/users/{person.id}/groups/{group}")

    def take_role(self, person: Person) -> None:
        self._send("DELETE", f"/users/{person.id}/role-mappings/realm", [self._role(ROLE)])

    def take_part(self, person: Person) -> None:
        self._send("DELETE", f"/roles/{person.composite}/composites", [self._role(PART)])

    def disable(self, person: Person) -> None:
        self._send("PUT", f"/users/{person.id}", {**self._send("GET", f"/users/{person.id}"), "enabled": False})

    def end_sessions(self, person: Person) -> None:
        self._send("POST", f"/users/{person.id}/logout")

    def withdraw_key(self) -> None:
        """Switches off the key that signs tokens. A second one signs from then on."""
        self._set_key(enabled=False)

    def restore_key(self) -> None:
        self._set_key(enabled=True)

    def _set_key(self, *, enabled: bool) -> None:
        value = [str(enabled).lower()]
        for each in self._send("GET", "/components?type=org.keycloak.keys.KeyProvider"):
            if each["name"] == CLIENT:
                config = {**each["config"], "enabled": value, "active": value}
                self._send("PUT", f"/components/{each['id']}", {**each, "config": config})

    def _role(self, name: str) -> Any:
        return self._send("GET", f"/roles/{name}")

    def _send(self, method: str, path: str, body: object = None) -> Any:
        return self._admin.send(method, f"/{self._name}{path}", body)


@contextmanager
def trial_realm(admin: Administrator, export: Path, people: int) -> Iterator[TrialRealm]:
    """The realm of the export with this many people of ours in place of its own, until the block ends.

    Raises:
        BadInput: the export is none.
        Unavailable: Keycloak does not answer, or does not do what is asked.
    """
    name, secret = f"kustos-trial-{secrets.token_hex(4)}", secrets.token_urlsafe(32)
    made = [Person(f"person-{at}", str(uuid.uuid4()), secrets.token_urlsafe(16)) for at in range(people)]
    admin.send("POST", "", _realm(_read(export), name, secret, made))
    try:
        signing = {"priority": ["1000"], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"]}
        kind = {"providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider"}
        admin.send("POST", f"/{name}/components", {"name": CLIENT, **kind, "config": signing})
        yield TrialRealm(admin, name, made, secret)
    finally:
        admin.send("DELETE", f"/{name}")


def _read(export: Path) -> dict[str, Any]:
    try:
        found = json.loads(export.read_text(encoding="utf-8"))
        return {**found, "roles": found["roles"], "clients": found["clients"], "realm": found["realm"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{export} is no export of a realm: {error!r}") from error


def _realm(export: Mapping[str, Any], name: str, secret: str, people: Sequence[Person]) -> dict[str, Any]:
    default, text = f"default-roles-{name}", json.dumps(export)
    realm: dict[str, Any] = json.loads(text.replace(f"default-roles-{export['realm']}", default))
    page = next(each for each in realm["clients"] if each["clientId"] == "kustos-page")
    for client in realm["clients"]:
        if client["clientId"] == SERVICE:
            client["secret"] = secret
    trial = {"clientId": CLIENT, "publicClient": True, "directAccessGrantsEnabled": True, "standardFlowEnabled": False}
    taken = {each: page[each] for each in ("defaultClientScopes", "fullScopeAllowed")}
    composites = [{"name": each.composite, "composite": True, "composites": {"realm": [PART]}} for each in people]
    return {
        **realm,
        "realm": name,
        "passwordPolicy": _CHEAP,
        "clients": [*realm["clients"], {**trial, **taken}],
        "groups": [*realm["groups"], {"name": GROUP}],
        "roles": {**realm["roles"], "realm": [
            *realm["roles"]["realm"], *({"name": each} for each in (ROLE, PART, STAFF)), *composites,
        ]},
        "users": [
            *(each for each in realm["users"] if "serviceAccountClientId" in each),
            *(_account(each, default) for each in people),
        ],
    }  # fmt: skip


def _account(person: Person, default_role: str) -> dict[str, Any]:
    return {
        "id": person.id, "username": person.name, "enabled": True, "email": f"{person.name}@trial.example",
        "firstName": "Trial", "lastName": person.name, "groups": ["/accounts", f"/{GROUP}"],
        "realmRoles": [default_role, ROLE, STAFF, person.composite],
        "credentials": [{"type": "password", "value": person.password, "temporary": False}],
    }  # fmt: skip
