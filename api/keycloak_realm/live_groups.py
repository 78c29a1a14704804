"""Which groups somebody is in at this moment: asked at each request, so without the detours of a library."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import Protocol
from urllib.parse import quote, urlencode, urlsplit

from api.keycloak_realm.administration import MOST_GROUPS, NO_ACCOUNTS, KeycloakAccounts, group, realm_address
from api.tokens.connections import FAILED, Answer, Connections, Question
from rag.access.groups import Group
from rag.errors import Unavailable
from rag.settings import Settings

_LISTED = urlencode({"briefRepresentation": "true", "first": 0, "max": MOST_GROUPS})


class Accounts(Protocol):
    """Asks the same through the library: `KeycloakAccounts`."""

    def credentials(self) -> str: ...
    def groups_of(self, subject: str) -> Sequence[Group]: ...
    def upwards(self, identifiers: Iterable[str]) -> Sequence[Group]: ...
    def groups(self) -> Sequence[Group]: ...


class LiveGroups:
    """A realm's groups as they are now. Safe to use from several threads."""

    def __init__(self, address: str, accounts: Accounts, timeout_s: float) -> None:
        """`address` is that of the realm's administration."""
        self._accounts = accounts
        self._path = urlsplit(address).path
        self._connections = Connections(address, timeout_s)
        self.upwards, self.groups = accounts.upwards, accounts.groups

    @classmethod
    def of(cls, settings: Settings, timeout_s: int) -> LiveGroups:
        """Those of the settings' provider.

        Raises:
            Misconfigured: the provider is none, its keys are not at an address of Keycloak's, or the secret is missing.
        """
        return cls(realm_address(settings), KeycloakAccounts.of(settings, timeout_s), timeout_s)

    @contextmanager
    def asking_groups_of(self, subject: str) -> Iterator[Callable[[], Sequence[Group]]]:
        """Asks; what the block is given waits for the groups that the account with this id is a direct member of.

        They are none if there is no such account.

        Raises:
            NotAllowed, Unavailable: as `KeycloakAccounts.groups_of`; on asking and on waiting.
        """
        if subject in NO_ACCOUNTS:
            yield list
            return
        bearer = {"Authorization": f"Bearer {self._accounts.credentials()}", "Accept": "application/json"}
        question = Question("GET", f"{self._path}/users/{quote(subject, safe='')}/groups?{_LISTED}", bearer)
        try:
            with self._connections.asked(question) as answer:
                yield partial(self._groups, subject, answer)
        except FAILED as error:
            raise Unavailable(f"Keycloak does not say which groups somebody is in: {error!r}") from error

    def _groups(self, subject: str, answer: Callable[[], Answer]) -> Sequence[Group]:
        """What the answer says; what is more than one page, or no list, is left to the library, which knows it all."""
        told = answer()
        if told.status != HTTPStatus.OK:
            return self._accounts.groups_of(subject)
        found = _listed(told.body)
        return found if len(found) < MOST_GROUPS else self._accounts.groups_of(subject)


def _listed(body: bytes) -> list[Group]:
    try:
        found = json.loads(body)
        listed = [group(each) for each in found] if isinstance(found, list) else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # its text may repeat what is said of people
        raise Unavailable(f"Keycloak did not answer as it should: {type(error).__name__}") from error
    if listed is None:
        raise Unavailable("Keycloak did not answer as it should: no list")
    return listed
