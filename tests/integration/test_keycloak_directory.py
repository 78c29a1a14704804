"""People, groups and roles of a real Keycloak, as Kustos asks for them without a token."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.auth import Identity
from api.subjects import Subjects, open_subjects
from rag.access import principals
from rag.errors import NotAllowed, NotAuthenticated, NotFound, Unavailable
from rag.settings import Settings
from tests.keycloak_realm import QUALIFIER, KeycloakRealm


@pytest.fixture(scope="module")
def identity(realm: KeycloakRealm) -> Identity:
    return realm.identity()


@pytest.fixture(scope="module")
def settings(realm: KeycloakRealm) -> Settings:
    return realm.settings(Path("unused"), KUSTOS_SERVICE_SECRET=realm.secret("kustos-service") or "")


@pytest.fixture(scope="module")
def subjects(settings: Settings, identity: Identity) -> Subjects:
    return open_subjects(settings, None, identity)


def user(realm: KeycloakRealm, person: str) -> str:
    return principals.user(QUALIFIER, realm.subject(person))


@pytest.mark.parametrize("person", ["anna", "katharina", "murat", "paul"])
def test_rm_06_keycloak_says_of_a_person_what_his_token_says(
    realm: KeycloakRealm, identity: Identity, subjects: Subjects, person: str
) -> None:
    assert subjects.caller(user(realm, person)) == identity.caller(realm.token(person))
    assert subjects.subject(person) == subjects.subject(realm.subject(person)) == user(realm, person)


@pytest.mark.parametrize("client", ["kustos-sync", "kustos-eval"])
def test_rm_06_and_of_a_service_account(
    realm: KeycloakRealm, identity: Identity, subjects: Subjects, client: str
) -> None:
    caller = identity.caller(realm.service_token(client))
    assert subjects.caller(caller.subject) == caller
    assert subjects.subject(f"service-account-{client}") == caller.subject


def test_rm_07_roles_come_through_composites_and_through_groups_and_those_above_them(
    realm: KeycloakRealm, identity: Identity, subjects: Subjects
) -> None:
    realm.admin.create_realm_role({"name": "of-the-group"})
    realm.admin.create_realm_role({"name": "within"})
    above, within = realm.admin.get_realm_role("of-the-group"), realm.admin.get_realm_role("within")
    realm.admin.add_composite_realm_roles_to_role("of-the-group", [within])
    top = realm.admin.create_group({"name": "with-roles"})
    realm.admin.create_group({"name": "below"}, parent=top)
    realm.admin.assign_group_realm_roles(top, [above])
    realm.admin.assign_group_client_roles(top, realm.client_id("kustos"), [realm.duty("auditor")])
    person = realm.person(groups=["/with-roles/below"])
    caller = subjects.caller(user(realm, person))
    assert caller == identity.caller(realm.token(person))
    assert {principals.realm_role(QUALIFIER, name) for name in ("of-the-group", "within")} <= caller.principals
    assert principals.client_role(QUALIFIER, "kustos", "auditor") in caller.principals
    realm.admin.remove_composite_realm_roles_to_role("of-the-group", [within])
    assert principals.realm_role(QUALIFIER, "within") not in subjects.caller(user(realm, person)).principals


def test_what_is_taken_away_is_missing_at_once(realm: KeycloakRealm, subjects: Subjects) -> None:
    person = realm.person(groups=["/leitung"], roles=["mitarbeiter"], duties=["auditor"])
    subject, before = user(realm, person), subjects.caller(user(realm, person)).principals
    realm.leave(person, "/leitung")
    realm.take_role(person, "mitarbeiter")
    realm.take_duty(person, "auditor")
    assert before - subjects.caller(subject).principals == {
        principals.group(QUALIFIER, "/leitung"),
        principals.realm_role(QUALIFIER, "mitarbeiter"),
        principals.client_role(QUALIFIER, "kustos", "auditor"),
    }


@pytest.mark.parametrize("take", ["disable", "remove"])
def test_an_account_that_is_disabled_or_gone_is_nobody_at_once(
    realm: KeycloakRealm, subjects: Subjects, take: str
) -> None:
    person = realm.person()
    subject = user(realm, person)
    subjects.caller(subject)
    getattr(realm, take)(person)
    with pytest.raises(NotAuthenticated):
        subjects.caller(subject)


def test_rm_12_a_name_that_is_given_again_is_another_person(realm: KeycloakRealm, subjects: Subjects) -> None:
    person = realm.person()
    before = user(realm, person)
    realm.remove(person)
    realm.admin.create_user({"username": person, "enabled": True})
    assert subjects.subject(person) != before
    with pytest.raises(NotAuthenticated):
        subjects.caller(before)
    for who in (f"{person}@hansekai.example", "nobody", "../anna"):
        with pytest.raises(NotFound):
            subjects.subject(who)


def test_a_service_client_that_may_not_ask_is_told_so(realm: KeycloakRealm, identity: Identity) -> None:
    client = {"KUSTOS_SERVICE_CLIENT": "kustos-sync", "KUSTOS_SERVICE_SECRET": realm.secret("kustos-sync") or ""}
    with pytest.raises(NotAllowed):
        open_subjects(realm.settings(Path("unused"), **client), None, identity).caller(user(realm, "anna"))


def test_ft_02_a_keycloak_that_is_not_there_is_unavailable(settings: Settings, identity: Identity) -> None:
    away = "http://127.0.0.1:9/realms/kustos"
    gone = {"issuer": away, "jwks_url": f"{away}/protocol/openid-connect/certs"}
    nobody = Settings(**{**{name: getattr(settings, name) for name in settings.__slots__}, **gone})
    with pytest.raises(Unavailable):
        open_subjects(nobody, None, identity).caller("kc:hansekai:user:1")
