"""An identity provider for the sample accounts, so that the demo works without one.

It signs tokens in Keycloak's shape with a key of its own, made in the home folder when the operator sets the demo up.
The tokens go through the same verification as any other issuer's. It serves loopback only: whoever reaches it can be
any of the sample accounts, and `api.app` refuses to start it on another address.
"""

from __future__ import annotations

import hashlib
import json
import stat
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from api.tokens.auth import AsIssued, Issuer
from api.tokens.jwks import StaticKeys
from rag.access import principals
from rag.access.principals import Principal
from rag.errors import BadPrincipal, Misconfigured, NotFound
from rag.home import refuse_closed
from rag.private_files import create_private, replace_private

MARKER = "demo.json"
KEY = "demo-key.pem"
TOKEN_LIFETIME_S = 600
AUDIENCE = "kustos"
CLIENT = "kustos-demo"
"""Under this name the demo's group edges stand in the catalog's directory."""


@dataclass(frozen=True, slots=True)
class Account:
    """One sample account."""

    name: str
    subject: str
    display_name: str
    email: str
    about: str
    roles: tuple[str, ...]
    groups: tuple[str, ...]
    duties: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts file: its accounts, and for each group the groups that contain it."""

    realm: str
    accounts: tuple[Account, ...]
    parents: Mapping[str, tuple[str, ...]]


class DemoIssuer:
    """Signs tokens for sample accounts. Made by `create` or `load`."""

    def __init__(self, accounts: Accounts, key: rsa.RSAPrivateKey, clock: Callable[[], float] = time.time) -> None:
        self._accounts = accounts
        self._by_name = {each.name: each for each in accounts.accounts}
        self._key = key
        self._public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        self._kid = hashlib.sha256(str(self._public["n"]).encode()).hexdigest()[:32]
        self._clock = clock

    @classmethod
    def create(cls, home: Path, accounts_file: Path) -> DemoIssuer:
        """Sets the demo up in `home`: a new key, unless there is one, and a marker that names the accounts file.

        Raises:
            Misconfigured: the accounts file cannot be used.
        """
        accounts = read_accounts(accounts_file)
        if not (home / KEY).exists():
            create_private(home / KEY, _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)))
        marker = {"accounts": str(accounts_file.resolve()), "key": KEY}
        replace_private(home / MARKER, json.dumps(marker).encode())
        return cls(accounts, _read_key(home / KEY))

    @classmethod
    def load(cls, home: Path) -> DemoIssuer | None:
        """The demo that was set up in `home`; None if none was.

        Raises:
            Misconfigured: it was, but its files cannot be used, or others can read its key; or as `refuse_closed`.
        """
        refuse_closed(home)
        marker = home / MARKER
        if not marker.exists():
            return None
        try:
            named = json.loads(marker.read_text(encoding="utf-8"))
            accounts_file = Path(named["accounts"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Misconfigured(f"{marker} cannot be read ({error}); remove it to switch the demo off") from error
        return cls(read_accounts(accounts_file), _read_key(home / KEY))

    @property
    def accounts(self) -> tuple[Account, ...]:
        return self._accounts.accounts

    def token(self, name: str) -> str:
        """A token for the account, valid for `TOKEN_LIFETIME_S`.

        Raises:
            NotFound: there is no such account.
        """
        account = self._account(name)
        return jwt.encode(self._claims(account), self._key, "RS256", headers={"kid": self._kid})

    def about(self, name: str) -> str:
        """Who the account stands for, in a few words.

        Raises:
            NotFound: there is no such account.
        """
        return self._account(name).about

    def issuer(self, tenant: str) -> Issuer:
        """What `api.tokens.auth` needs to verify these tokens."""
        keys = StaticKeys({self._kid: {**self._public, "alg": "RS256", "use": "sig"}})
        return Issuer(self._url, AUDIENCE, self._accounts.realm, tenant, frozenset({CLIENT}), keys, AsIssued())

    def directory_edges(self) -> list[tuple[Principal, Principal]]:
        """(member group, containing group) for every nesting in the accounts file, for the catalog's directory."""
        realm = self._accounts.realm
        return [
            (principals.group(realm, child), principals.group(realm, parent))
            for child, parents in sorted(self._accounts.parents.items())
            for parent in parents
        ]

    @property
    def _url(self) -> str:
        return f"https://demo.invalid/realms/{self._accounts.realm}"  # RFC 2606: can never be a real provider

    def _account(self, name: str) -> Account:
        if name not in self._by_name:
            raise NotFound(f"there is no sample account {name!r}; there are {', '.join(sorted(self._by_name))}")
        return self._by_name[name]

    def _claims(self, account: Account) -> dict[str, Any]:
        """The claims that Keycloak would put into an access token of this person."""
        now = int(self._clock())
        return {
            "iss": self._url,
            "sub": account.subject,
            "aud": AUDIENCE,
            "azp": CLIENT,
            "typ": "Bearer",
            "jti": str(uuid.uuid4()),
            "iat": now,
            "exp": now + TOKEN_LIFETIME_S,
            "preferred_username": account.name,
            "name": account.display_name,
            "email": account.email,
            "realm_access": {"roles": list(account.roles)},
            "groups": list(account.groups),
            "resource_access": {AUDIENCE: {"roles": list(account.duties)}},
        }


def read_accounts(path: Path) -> Accounts:
    """The sample accounts in a YAML file; `examples/accounts.yaml` shows the form.

    Raises:
        Misconfigured: the file cannot be read, or an entry is not as it should be.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        realm = _text(content, "realm")
        accounts = tuple(_account(each, realm) for each in content["accounts"])
        parents = {str(child): tuple(map(str, above or ())) for child, above in (content.get("groups") or {}).items()}
        for path_of_group in {group for child, above in parents.items() for group in (child, *above)}:
            principals.group(realm, path_of_group)
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, BadPrincipal) as error:
        raise Misconfigured(f"the accounts file {path} cannot be used: {error!r}") from error
    if min(len({each.name for each in accounts}), len({each.subject for each in accounts})) < len(accounts):
        raise Misconfigured(f"the accounts file {path} has two accounts with the same name or subject")
    return Accounts(realm, accounts, parents)


def _account(entry: Mapping[str, Any], realm: str) -> Account:
    account = Account(
        name=_text(entry, "name"),
        subject=str(uuid.UUID(_text(entry, "subject"))),
        display_name=_text(entry, "display_name"),
        email=_text(entry, "email"),
        about=_text(entry, "about"),
        roles=tuple(map(str, entry.get("roles") or ())),
        groups=tuple(map(str, entry.get("groups") or ())),
        duties=tuple(map(str, entry.get("duties") or ())),
    )
    for path in account.groups:
        principals.group(realm, path)
    return account


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry[name]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be a text")
    return value


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _read_key(path: Path) -> rsa.RSAPrivateKey:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise Misconfigured(f"others can read the demo's signing key {path}; remove it and set the demo up again")
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise Misconfigured(f"the demo's signing key {path} cannot be used ({error}); set the demo up again") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Misconfigured(f"the demo's signing key {path} is not an RSA key; remove it and set the demo up again")
    return key
