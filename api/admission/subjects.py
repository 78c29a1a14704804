"""What somebody may read now who does not show a token: the owner of an API key, the person an operator asks about."""

from __future__ import annotations

from typing import Protocol

from api.keycloak_realm.administration import Account, KeycloakAccounts
from api.keycloak_realm.memberships import Memberships
from api.tokens.auth import Identity
from api.tokens.demo_issuer import DemoIssuer
from rag.access import principals
from rag.access.principals import Principal
from rag.access.scope import Caller
from rag.errors import BadPrincipal, NotAuthenticated, NotFound
from rag.settings import Settings


class Subjects(Protocol):
    """People and service accounts by `Caller.subject`, the principal of their id."""

    def caller(self, subject: str) -> Caller:
        """Who that is, with what he holds at this moment, as his own token would say.

        Raises:
            NotAuthenticated: there is no such account, it is disabled, or its rights cannot be read.
            Unavailable, NotAllowed: it cannot be known now.
        """

    def subject(self, who: str) -> str:
        """The subject of the account that `who` names: by its user name, its id or its subject, never by e-mail.

        Raises:
            NotFound: there is none, or the name of one is the id of another.
            Unavailable, NotAllowed: it cannot be known now.
        """


class Accounts(Protocol):
    """The accounts of one realm, as it has them at this moment. Each method raises NotAllowed or Unavailable."""

    def account(self, subject: str) -> Account | None:
        """The account with this id; None if there is none."""

    def named(self, name: str) -> str | None:
        """The id of the account with exactly this user name; None if there is none."""


class DemoSubjects:
    """The sample accounts. What they hold is what their tokens say, verified like anybody's."""

    def __init__(self, demo: DemoIssuer, identity: Identity) -> None:
        self._demo = demo
        self._identity = identity

    def caller(self, subject: str) -> Caller:
        for account in self._demo.accounts:
            caller = self._identity.caller(self._demo.token(account.name))
            if caller.subject == subject:
                return caller
        raise NotAuthenticated("there is no such sample account")

    def subject(self, who: str) -> str:
        names = {each.subject: each.name for each in self._demo.accounts}
        found = self._identity.caller(self._demo.token(names.get(who.rpartition(":user:")[2], who))).subject
        if ":" in who and who != found:
            raise NotFound(f"there is no sample account {who!r}")
        return found


class KeycloakSubjects:
    """Accounts of a realm, asked of Keycloak each time."""

    def __init__(self, accounts: Accounts, memberships: Memberships, settings: Settings) -> None:
        self._accounts = accounts
        self._memberships = memberships
        self._settings = settings

    def caller(self, subject: str) -> Caller:
        identifier = identifier_in(subject, self._settings.realm)
        account = self._accounts.account(identifier) if identifier != subject else None
        if account is None or account.id != identifier:
            raise NotAuthenticated("there is no such account")
        if not account.enabled:
            raise NotAuthenticated("the account is disabled")
        try:
            return Caller(self._settings.tenant, subject, self._principals(account))
        except BadPrincipal as error:
            raise NotAuthenticated(f"the account's rights cannot be read: {error}") from error

    def subject(self, who: str) -> str:
        identifier = identifier_in(who, self._settings.realm)
        named = self._accounts.named(who) if identifier == who else None
        account = self._accounts.account(identifier)
        found = {each for each in (named, account and account.id) if each}
        if len(found) > 1:
            raise NotFound(f"{who} is the name of one account and the id of another; give the first one's id")
        if not found:
            raise NotFound(f"there is no account with the user name or id {who!r}")
        return principals.user(self._settings.realm, found.pop())

    def _principals(self, account: Account) -> frozenset[Principal]:
        """The same that `api.tokens.auth` makes of a token's claims."""
        realm, client = self._settings.realm, self._settings.audience
        return frozenset(
            {
                principals.user(realm, account.id),
                *(principals.realm_role(realm, name) for name in account.realm_roles),
                *(principals.client_role(realm, client, name) for name in account.client_roles),
                *self._memberships.held(account.groups),
            }
        )


def identifier_in(who: str, realm: str) -> str:
    """The account's id where `who` is the whole subject of one of this realm; otherwise `who` itself."""
    return who.removeprefix(principals.user(realm, "*").removesuffix("*")) if realm else who


class NoSubjects:
    """Nobody is known: there is neither a provider nor a demo."""

    def caller(self, subject: str) -> Caller:
        raise NotAuthenticated("there is no identity provider")

    def subject(self, who: str) -> str:
        raise NotFound(f"there is no account with the user name or id {who!r}: there is no identity provider")


def open_subjects(
    settings: Settings, demo: DemoIssuer | None, identity: Identity, memberships: Memberships | None
) -> Subjects:
    """The sample accounts of `demo`, or those of the settings' provider, whose groups `memberships` knows.

    Raises:
        Misconfigured: a setting of the provider is missing or unsafe.
    """
    if demo is not None:
        return DemoSubjects(demo, identity)
    if memberships is None:
        return NoSubjects()
    return KeycloakSubjects(KeycloakAccounts.of(settings), memberships, settings)
