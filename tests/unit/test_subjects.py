"""What somebody may read who shows no token: the same that his token would say, or nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from api.demo_issuer import DemoIssuer
from api.identity import open_identity
from api.keycloak import Account, Group
from api.subjects import DemoSubjects, KeycloakSubjects, open_subjects
from rag.access import principals
from rag.access.scope import Caller
from rag.errors import Misconfigured, NotAuthenticated, NotFound, Unavailable
from rag.settings import Settings

ACCOUNTS = Path(__file__).parents[2] / "examples" / "accounts.yaml"
SETTINGS = Settings(
    issuer="https://id.example/realms/acme",
    jwks_url="https://id.example/realms/acme/protocol/openid-connect/certs",
    realm="acme",
)
ANN = Account("1", "ann", True, frozenset({"staff"}), frozenset({"reader"}), (Group("g", "hr", "/hr", None),))
SUBJECT = principals.user("acme", "1")


@dataclass
class MemoryAccounts:
    """Accounts by id. `down` makes every question fail."""

    held: dict[str, Account] = field(default_factory=lambda: {"1": ANN})
    down: bool = False

    def account(self, subject: str) -> Account | None:
        if self.down:
            raise Unavailable("Keycloak cannot be asked")
        return self.held.get(subject)

    def named(self, name: str) -> str | None:
        return next((each.id for each in self.held.values() if each.name == name), None)


def subjects(*accounts: Account, down: bool = False) -> KeycloakSubjects:
    return KeycloakSubjects(MemoryAccounts({each.id: each for each in accounts}, down), SETTINGS)


def test_an_account_holds_what_its_token_would_say() -> None:
    assert subjects(ANN).caller(SUBJECT) == Caller(
        "main",
        SUBJECT,
        frozenset(
            {
                SUBJECT,
                principals.realm_role("acme", "staff"),
                principals.client_role("acme", "kustos", "reader"),
                principals.group("acme", "/hr"),
            }
        ),
    )


@pytest.mark.parametrize(
    "subject",
    ["1", "ann", "kc:acme:user:2", "kc:other:user:1", "kc:acme:role:1", "kc:acme:user:", ""],
)
def test_rm_12_nobody_else_is_meant_by_a_subject(subject: str) -> None:
    with pytest.raises(NotAuthenticated):
        subjects(ANN).caller(subject)


def test_a_disabled_account_is_nobody() -> None:
    with pytest.raises(NotAuthenticated):
        subjects(replace(ANN, enabled=False)).caller(SUBJECT)


def test_an_account_that_answers_for_another_id_is_nobody() -> None:
    other = KeycloakSubjects(MemoryAccounts({"1": replace(ANN, id="2")}), SETTINGS)
    with pytest.raises(NotAuthenticated):
        other.caller(SUBJECT)


def test_rm_08_a_right_that_cannot_be_written_is_not_left_out() -> None:
    with pytest.raises(NotAuthenticated):
        subjects(replace(ANN, realm_roles=frozenset({"a\0b"}))).caller(SUBJECT)


def test_what_cannot_be_known_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        subjects(ANN, down=True).caller(SUBJECT)


def test_a_person_is_named_by_user_name_or_id() -> None:
    assert subjects(ANN).subject("ann") == subjects(ANN).subject("1") == SUBJECT
    with pytest.raises(NotFound):
        subjects(ANN).subject("ann@acme.example")


def test_who_calls_himself_by_the_id_of_another_is_not_taken_for_him() -> None:
    with pytest.raises(NotFound, match="the id of another"):
        subjects(ANN, replace(ANN, id="2", name="1")).subject("1")


def test_a_sample_account_holds_what_its_token_says(tmp_path: Path) -> None:
    demo = DemoIssuer.create(tmp_path, ACCOUNTS)
    identity = open_identity(Settings(home=tmp_path), demo)
    found = open_subjects(Settings(home=tmp_path), demo, identity)
    assert isinstance(found, DemoSubjects)
    for account in demo.accounts:
        by_name, by_id = found.subject(account.name), found.subject(account.subject)
        assert by_name == by_id
        assert found.caller(by_name) == identity.caller(demo.token(account.name))
    with pytest.raises(NotAuthenticated):
        found.caller("kc:hansekai:user:nobody")


def test_without_a_secret_nobody_can_be_asked_about() -> None:
    found = open_subjects(Settings(), None, open_identity(Settings(), None))
    with pytest.raises(Misconfigured, match="KUSTOS_SERVICE_SECRET"):
        found.caller(SUBJECT)
