"""What somebody may read who shows no token: the same that his token would say, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api.admission.subjects import DemoSubjects, KeycloakSubjects, open_subjects
from api.keycloak_realm.memberships import Memberships
from api.tokens.demo_issuer import DemoIssuer
from api.tokens.issuers import open_identity
from rag.access import principals
from rag.access.scope import Caller
from rag.errors import NotAuthenticated, NotFound, Unavailable
from rag.settings import Settings
from rag.stores.catalog import Catalog, sqlite_url
from rag.stores.catalog_realm import CatalogRealm
from tests.memory_realm import MemoryRealm

ACCOUNTS = Path(__file__).parents[2] / "examples" / "accounts.yaml"
SETTINGS = Settings(
    issuer="https://id.example/realms/acme",
    jwks_url="https://id.example/realms/acme/protocol/openid-connect/certs",
    realm="acme",
)
SUBJECT = principals.user("acme", "1")


class World:
    """Ann in a realm in memory, in a directory that does not know her group yet."""

    def __init__(self, home: Path) -> None:
        self.catalog = Catalog.open(sqlite_url(home / "catalog.db"))
        self.realm = MemoryRealm()
        self.realm.group("hr", identifier="g")
        self.realm.person("1", "g", roles=("staff",))
        self.change(name="ann", client_roles=frozenset({"reader"}))
        memberships = Memberships(self.realm, CatalogRealm(self.catalog, "main", "acme"), "acme")
        self.subjects = KeycloakSubjects(self.realm, memberships, SETTINGS)

    def change(self, **changes: Any) -> None:
        self.realm.accounts["1"] = replace(self.realm.accounts["1"], **changes)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.catalog.close()


def test_an_account_holds_what_its_token_would_say(world: World) -> None:
    assert world.subjects.caller(SUBJECT) == Caller(
        "main",
        SUBJECT,
        frozenset(
            {
                SUBJECT,
                principals.realm_role("acme", "staff"),
                principals.client_role("acme", "kustos", "reader"),
                principals.group_by_id("acme", "g"),
            }
        ),
    )


@pytest.mark.parametrize(
    "subject",
    ["1", "ann", "kc:acme:user:2", "kc:other:user:1", "kc:acme:role:1", "kc:acme:user:", ""],
)
def test_rm_12_nobody_else_is_meant_by_a_subject(world: World, subject: str) -> None:
    with pytest.raises(NotAuthenticated):
        world.subjects.caller(subject)


def test_a_disabled_account_is_nobody(world: World) -> None:
    world.realm.disable("1")
    with pytest.raises(NotAuthenticated):
        world.subjects.caller(SUBJECT)


def test_an_account_that_answers_for_another_id_is_nobody(world: World) -> None:
    world.change(id="2")
    with pytest.raises(NotAuthenticated):
        world.subjects.caller(SUBJECT)


def test_rm_08_a_right_that_cannot_be_written_is_not_left_out(world: World) -> None:
    world.change(realm_roles=frozenset({"a\0b"}))
    with pytest.raises(NotAuthenticated):
        world.subjects.caller(SUBJECT)


def test_what_cannot_be_known_is_unavailable(world: World) -> None:
    world.realm.down = True
    with pytest.raises(Unavailable):
        world.subjects.caller(SUBJECT)


@pytest.mark.parametrize("who", ["ann", "1", SUBJECT])
def test_rm_12_a_person_is_named_by_user_name_id_or_subject(world: World, who: str) -> None:
    assert world.subjects.subject(who) == SUBJECT


@pytest.mark.parametrize("who", ["ann@acme.example", "kc:acme:user:ann", "kc:other:user:1", "kc:acme:user:", ""])
def test_rm_12_nobody_is_named_by_anything_else(world: World, who: str) -> None:
    with pytest.raises(NotFound):
        world.subjects.subject(who)


def test_who_calls_himself_by_the_subject_of_another_is_not_taken_for_him(world: World) -> None:
    world.realm.person("2")
    world.realm.accounts["2"] = replace(world.realm.accounts["2"], name=SUBJECT)
    assert world.subjects.subject(SUBJECT) == SUBJECT


def test_who_calls_himself_by_the_id_of_another_is_not_taken_for_him(world: World) -> None:
    world.realm.person("2")
    world.realm.accounts["2"] = replace(world.realm.accounts["2"], name="1")
    with pytest.raises(NotFound, match="the id of another"):
        world.subjects.subject("1")


def test_a_sample_account_holds_what_its_token_says(tmp_path: Path) -> None:
    demo = DemoIssuer.create(tmp_path, ACCOUNTS)
    identity = open_identity(Settings(home=tmp_path), demo)
    found = open_subjects(Settings(home=tmp_path), demo, identity, None)
    assert isinstance(found, DemoSubjects)
    for account in demo.accounts:
        by_name, by_id = found.subject(account.name), found.subject(account.subject)
        assert by_name == by_id == found.subject(by_name)
        assert found.caller(by_name) == identity.caller(demo.token(account.name))
    with pytest.raises(NotAuthenticated):
        found.caller("kc:hansekai:user:nobody")
    with pytest.raises(NotFound):
        found.subject(by_name.replace("hansekai", "other"))


def test_where_nobody_is_known_nobody_can_be_asked_about() -> None:
    found = open_subjects(Settings(), None, open_identity(Settings(), None), None)
    with pytest.raises(NotAuthenticated):
        found.caller(SUBJECT)
    with pytest.raises(NotFound):
        found.subject("ann")
