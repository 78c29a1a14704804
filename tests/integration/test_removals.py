"""What is taken away in a real Keycloak holds in the very next request, while the token it was taken from still lives."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from api.keycloak_realm.standing import open_provider
from api.tokens.auth import Identity
from api.tokens.issuers import open_identity
from rag.access import principals
from rag.access.principals import Principal
from rag.access.scope import Caller
from rag.errors import NotAuthenticated, Unavailable
from rag.settings import Settings
from tests.integration.conftest import MODEL, NO_MODEL, CommandLine
from tests.keycloak_realm import QUALIFIER, KeycloakRealm

LEADERS = principals.group(QUALIFIER, "/leitung")
STAFF = principals.realm_role(QUALIFIER, "mitarbeiter")
AUDITOR = principals.client_role(QUALIFIER, "kustos", "auditor")


@pytest.fixture(scope="module")
def identity(realm: KeycloakRealm) -> Identity:
    return realm.identity()


@pytest.mark.parametrize(
    ("held", "take"),
    [
        (LEADERS, lambda realm, person: realm.leave(person, "/leitung")),
        (STAFF, lambda realm, person: realm.take_role(person, "mitarbeiter")),
        (AUDITOR, lambda realm, person: realm.take_duty(person, "auditor")),
    ],
    ids=["group", "realm role", "duty"],
)
def test_rc_06_a_right_that_was_taken_away_is_missing_from_the_next_request(
    realm: KeycloakRealm, identity: Identity, held: Principal, take: Callable[[KeycloakRealm, str], None]
) -> None:
    person = realm.person(groups=["/leitung"], roles=["mitarbeiter"], duties=["auditor"])
    token = realm.token(person)
    before = identity.caller(token)
    take(realm, person)
    assert identity.caller(token) == Caller(before.tenant, before.subject, before.principals - {held})


def test_what_was_added_is_there_in_the_next_request(realm: KeycloakRealm, identity: Identity) -> None:
    person = realm.person()
    token = realm.token(person)
    assert LEADERS not in identity.caller(token).principals
    realm.join(person, "/leitung")
    assert LEADERS in identity.caller(token).principals


def test_rm_07_a_child_that_was_taken_out_of_a_composite_role_is_missing_from_the_next_request(
    realm: KeycloakRealm, identity: Identity
) -> None:
    admin, part = realm.admin, [realm.admin.get_realm_role("mitarbeiter")]
    admin.create_realm_role({"name": "schichtleitung"})
    admin.add_composite_realm_roles_to_role("schichtleitung", part)
    token = realm.token(realm.person(roles=["schichtleitung"]))
    assert STAFF in identity.caller(token).principals
    admin.remove_composite_realm_roles_to_role("schichtleitung", part)
    left = identity.caller(token).principals
    assert STAFF not in left
    assert principals.realm_role(QUALIFIER, "schichtleitung") in left


def test_rm_07_a_role_that_came_with_a_group_goes_with_it(realm: KeycloakRealm, identity: Identity) -> None:
    admin = realm.admin
    made = admin.create_group({"name": "nachtschicht"})
    admin.assign_group_realm_roles(made, [admin.get_realm_role("mitarbeiter")])
    person = realm.person(groups=["/nachtschicht"])
    token = realm.token(person)
    assert STAFF in identity.caller(token).principals
    admin.delete_group(made)
    left = identity.caller(token).principals
    assert STAFF not in left
    assert principals.group(QUALIFIER, "/nachtschicht") not in left


@pytest.mark.parametrize("take", ["disable", "end_sessions", "remove"])
def test_rc_01_who_has_no_account_or_session_any_more_is_refused(
    realm: KeycloakRealm, identity: Identity, take: str
) -> None:
    person = realm.person()
    token = realm.token(person)
    assert identity.caller(token)
    getattr(realm, take)(person)
    with pytest.raises(NotAuthenticated, match="does not accept the token any more"):
        identity.caller(token)


def test_rc_01_other_accounts_stay(realm: KeycloakRealm, identity: Identity) -> None:
    leaver = realm.person()
    stays, goes = realm.token(realm.person()), realm.token(leaver)
    realm.disable(leaver)
    with pytest.raises(NotAuthenticated):
        identity.caller(goes)
    assert identity.caller(stays)


def test_rc_01_tokens_of_a_client_that_was_disabled_are_refused(realm: KeycloakRealm) -> None:
    realm.add_client("kustos-other")
    identity, token = realm.identity("kustos-other"), realm.token(realm.person(), "kustos-other")
    assert identity.caller(token)
    with changed_client(realm, "kustos-other", enabled=False), pytest.raises(NotAuthenticated):
        identity.caller(token)
    assert identity.caller(token)


def test_rc_04_tokens_of_before_a_not_before_that_was_pushed_are_refused(realm: KeycloakRealm) -> None:
    realm.add_client("kustos-revoked")
    identity, token = realm.identity("kustos-revoked"), realm.token(realm.person(), "kustos-revoked")
    assert identity.caller(token)
    with changed_client(realm, "kustos-revoked", notBefore=2**31 - 1), pytest.raises(NotAuthenticated):
        identity.caller(token)


def test_tv_11_tokens_of_a_key_that_was_withdrawn_are_refused_although_its_public_part_is_still_known_here(
    realm: KeycloakRealm,
) -> None:
    identity, before = realm.identity(), realm.token(realm.person())
    assert identity.caller(before)
    with another_key(realm):
        with pytest.raises(NotAuthenticated, match="does not accept the token any more"):
            identity.caller(before)
        assert realm.identity().caller(realm.token(realm.person()))


def test_a_service_account_loses_its_rights_like_a_person(realm: KeycloakRealm, identity: Identity) -> None:
    token, reader = realm.service_token("kustos-eval"), principals.client_role(QUALIFIER, "kustos", "reader")
    subject = realm.admin.get_client_service_account_user(realm.client_id("kustos-eval"))["id"]
    kustos = realm.client_id("kustos")
    roles = [realm.admin.get_client_role(kustos, "reader")]
    assert reader in identity.caller(token).principals
    realm.admin.delete_client_roles_of_user(subject, kustos, roles)
    try:
        assert reader not in identity.caller(token).principals
    finally:
        realm.admin.assign_client_role(subject, kustos, roles)


def test_a_wrong_secret_admits_nobody(realm: KeycloakRealm) -> None:
    wrong = Settings.from_mapping({**realm.environment(), "KUSTOS_SERVICE_SECRET": "wrong"})
    with pytest.raises(Unavailable, match="KUSTOS_SERVICE_SECRET"):
        open_identity(wrong, None).caller(realm.token("anna"))
    ours, theirs = (open_provider(each) for each in (Settings.from_mapping(realm.environment()), wrong))
    assert ours
    assert theirs
    assert (ours.answers(10), theirs.answers(10)) == (True, False)


@pytest.mark.parametrize(("wrong_by_s", "told"), [(0, None), (300, "ahead of"), (-300, "behind")])
def test_tv_18_a_clock_that_is_not_keycloaks_is_told(realm: KeycloakRealm, wrong_by_s: int, told: str | None) -> None:
    provider = open_provider(Settings.from_mapping(realm.environment()), lambda: time.time() + wrong_by_s)
    assert provider
    assert provider.answers(10)
    assert provider.wrong_clock is None if told is None else told in str(provider.wrong_clock)


def test_within_the_stated_time_an_answer_holds_until_an_event_ends_it(realm: KeycloakRealm) -> None:
    settings = Settings.from_mapping({**realm.environment(), "KUSTOS_FRESHNESS_S": "300"})
    identity, person = open_identity(settings, None), realm.person(groups=["/leitung"])
    token = realm.token(person)
    assert LEADERS in identity.caller(token).principals
    realm.leave(person, "/leitung")
    assert LEADERS in identity.caller(token).principals
    identity.forget(subject=principals.user(QUALIFIER, realm.subject(person)))
    assert LEADERS not in identity.caller(token).principals


@contextmanager
def changed_client(realm: KeycloakRealm, name: str, **settings: Any) -> Iterator[None]:
    """A client with other settings for the length of a block."""
    identifier, before = realm.client_id(name), realm.client(name)
    realm.admin.update_client(identifier, {**before, **settings})
    try:
        yield
    finally:
        realm.admin.update_client(identifier, before)


@contextmanager
def another_key(realm: KeycloakRealm) -> Iterator[None]:
    """The realm signs with another key for the length of a block, and those it had are switched off."""
    admin = realm.admin
    providers = admin.get_components({"type": "org.keycloak.keys.KeyProvider"})
    before = [each for each in providers if each["providerId"] == "rsa-generated"]
    made = {**before[0], "name": "another", "config": {"priority": ["1000"], "active": ["true"], "enabled": ["true"]}}
    made.pop("id")
    admin.create_component(made)
    try:
        for each in before:
            off = {**each["config"], "active": ["false"], "enabled": ["false"]}
            admin.update_component(each["id"], {**each, "config": off})
        yield
    finally:
        for each in before:
            on = {**each["config"], "active": ["true"], "enabled": ["true"]}
            admin.update_component(each["id"], {**each, "config": on})
        (extra,) = [each for each in admin.get_components({"name": "another"}) if each["name"] == "another"]
        admin.delete_component(extra["id"])


@pytest.mark.skipif(not MODEL.is_dir(), reason=NO_MODEL)
def test_rc_09_the_command_takes_everything_away_and_each_time_the_first_request_obeys(
    realm: KeycloakRealm, tmp_path: Path
) -> None:
    command_line, server, before = CommandLine(tmp_path / "home"), realm.server, trials(realm)
    ran = command_line.run_alone(
        "eval", "revocation", "--times", "2", "--freshness", "0", "--json", "--keycloak", server.url,
        KEYCLOAK_ADMIN_PASSWORD=server.password,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    bounds = json.loads(ran.stdout)
    assert {each["removal"] for each in bounds} >= {
        "membership of a group", "role", "part of a composite role", "session", "account", "key that signed the token",
        "right at the source, from the end of its sync", "API key",
    }  # fmt: skip
    assert {(each["times"], each["freshness_s"]) for each in bounds} == {(2, 0.0)}
    assert trials(realm) <= before


def trials(realm: KeycloakRealm) -> set[str]:
    """Realms that somebody measures with at this moment."""
    return {each["realm"] for each in realm.admin.get_realms() if each["realm"].startswith("kustos-trial")}
