"""People, groups and roles of a real Keycloak, as Kustos asks for them without a token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api.admission.subjects import Subjects, open_subjects
from api.explaining import Explaining
from api.keycloak_realm.administration import KeycloakAccounts
from api.keycloak_realm.live_groups import LiveGroups
from api.keycloak_realm.memberships import BEHIND, TIMEOUT_S, Memberships, open_memberships
from api.keycloak_realm.sync import RealmSync, Synced, open_sync
from api.tokens.auth import Identity
from api.tokens.issuers import open_identity
from rag.access import principals
from rag.access.acl import Acl
from rag.access.directory import Directory
from rag.access.principals import Principal
from rag.access.scope import Caller
from rag.bootstrap import Records, open_records
from rag.documents import Document, acl_id, document_id
from rag.errors import NotAllowed, NotAuthenticated, NotFound, Unavailable
from rag.settings import Settings
from rag.stores.catalog_writing import NewVersion, Place
from tests.integration.conftest import CommandLine
from tests.keycloak_realm import QUALIFIER, KeycloakRealm


@pytest.fixture(scope="module")
def settings(realm: KeycloakRealm, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return realm.settings(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def records(settings: Settings) -> Iterator[Records]:
    opened = open_records(settings)
    yield opened
    opened.catalog.close()


@pytest.fixture(scope="module")
def memberships(settings: Settings, records: Records) -> Memberships:
    found = open_memberships(settings, records.realm)
    assert found
    return found


@pytest.fixture(scope="module")
def identity(settings: Settings, memberships: Memberships) -> Identity:
    return open_identity(settings, None, memberships)


@pytest.fixture(scope="module")
def subjects(settings: Settings, identity: Identity, memberships: Memberships) -> Subjects:
    return open_subjects(settings, None, identity, memberships)


@pytest.fixture
def sync(settings: Settings, records: Records) -> RealmSync:
    return open_sync(settings, records.realm)


def paths(records: Records, caller: Caller) -> set[str]:
    """Group paths that count for a caller."""
    prefix = principals.group(QUALIFIER, "/").removesuffix("/")
    widened = Directory(records.directory).widen(caller)
    return {each.removeprefix(prefix) for each in widened if each.startswith(prefix)}


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
        principals.group_by_id(QUALIFIER, realm.group_id("/leitung")),
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


def test_a_service_client_that_may_not_ask_is_told_so(
    realm: KeycloakRealm, settings: Settings, identity: Identity, records: Records
) -> None:
    secret = realm.secret("kustos-sync") or ""
    weak = replace(settings, service_client="kustos-sync", service_secret=secret)
    memberships = open_memberships(weak, records.realm)
    with pytest.raises(NotAllowed):
        open_subjects(weak, None, identity, memberships).caller(user(realm, "anna"))
    with pytest.raises(Unavailable):
        open_identity(weak, None, memberships).caller(realm.token("anna"))


def test_ft_02_a_keycloak_that_is_not_there_is_unavailable(
    settings: Settings, identity: Identity, records: Records
) -> None:
    away = "http://127.0.0.1:9/realms/kustos"
    gone = replace(settings, issuer=away, jwks_url=f"{away}/protocol/openid-connect/certs")
    memberships = open_memberships(gone, records.realm)
    with pytest.raises(Unavailable):
        open_subjects(gone, None, identity, memberships).caller("kc:hansekai:user:1")


def test_rm_03_a_member_of_a_group_below_counts_as_one_above(
    realm: KeycloakRealm, identity: Identity, records: Records
) -> None:
    assert paths(records, identity.caller(realm.token("anna"))) == {
        "/accounts",
        "/betrieb/fahrer/hamburg",
        "/betrieb/fahrer",
        "/betrieb",
    }


def test_rm_03_at_fifteen_levels_and_keycloak_has_no_cycles(
    realm: KeycloakRealm, identity: Identity, records: Records, sync: RealmSync
) -> None:
    ids: list[str] = []
    for level in range(15):
        ids.append(realm.admin.create_group({"name": f"l{level}"}, parent=ids[-1] if ids else None))
    person = realm.person()
    realm.admin.group_user_add(realm.subject(person), ids[-1])
    expected = {"/accounts", *("".join(f"/l{n}" for n in range(level + 1)) for level in range(15))}
    assert paths(records, identity.caller(realm.token(person))) == expected
    sync.run(full=True)
    assert paths(records, identity.caller(realm.token(person))) == expected
    moved = json.dumps({"id": ids[0], "name": "l0"})
    address = f"admin/realms/{realm.name}/groups/{ids[-1]}/children"
    assert realm.admin.connection.raw_post(address, data=moved).status_code >= 400
    realm.admin.delete_group(ids[0])


def test_rm_01_and_rm_04_a_renamed_group_keeps_its_rights_and_its_old_name_gives_none(
    realm: KeycloakRealm, identity: Identity, records: Records
) -> None:
    trade = realm.admin.create_group({"name": "handel"})
    person, other = realm.person(groups=["/handel"]), realm.person()
    assert paths(records, identity.caller(realm.token(person))) == {"/accounts", "/handel"}
    realm.admin.update_group(trade, {"name": "verkauf"})
    again = realm.admin.create_group({"name": "handel"})
    realm.join(other, "/handel")
    assert paths(records, identity.caller(realm.token(person))) == {"/accounts", "/handel", "/verkauf"}
    assert paths(records, identity.caller(realm.token(other))) == {"/accounts"}
    for each in (trade, again):
        realm.admin.delete_group(each)


def move(realm: KeycloakRealm, group: str, below: str, name: str) -> None:
    address = f"admin/realms/{realm.name}/groups/{below}/children"
    moved = json.dumps({"id": group, "name": name})
    assert realm.admin.connection.raw_post(address, data=moved).status_code == 204


@pytest.mark.parametrize("lost", ["renamed", "moved"])
def test_rm_04_what_happens_three_levels_up_shows_in_the_path_of_the_answer(
    realm: KeycloakRealm, identity: Identity, records: Records, lost: str
) -> None:
    """The directory has not followed when the question comes."""
    top, other = (realm.admin.create_group({"name": f"{name}-{lost}"}) for name in ("ganz-oben", "daneben"))
    part = realm.admin.create_group({"name": "teil"}, parent=top)
    realm.admin.create_group({"name": "unten"}, parent=part)
    person = realm.person(groups=[f"/ganz-oben-{lost}/teil/unten"])
    token = realm.token(person)
    assert f"/ganz-oben-{lost}" in paths(records, identity.caller(token))
    if lost == "renamed":
        realm.admin.update_group(top, {"name": "anders"})
        assert "/anders/teil/unten" in paths(records, identity.caller(token))
    else:
        move(realm, part, other, "teil")
        assert f"/ganz-oben-{lost}" not in paths(records, identity.caller(token))
        assert f"/daneben-{lost}" in paths(records, identity.caller(token))
    for each in (top, other):
        realm.admin.delete_group(each)


def test_rm_04_another_group_put_above_under_the_same_name_is_found_though_nothing_follows_events(
    realm: KeycloakRealm, settings: Settings, records: Records
) -> None:
    """No path that Keycloak tells of the person has changed."""
    memberships = Memberships(
        LiveGroups.of(settings, TIMEOUT_S), records.realm, QUALIFIER, lambda: datetime.now(UTC) + BEHIND
    )
    first = realm.admin.create_group({"name": "haus"})
    part = realm.admin.create_group({"name": "teil"}, parent=first)
    realm.admin.create_group({"name": "unten"}, parent=part)
    person = realm.person(groups=["/haus/teil/unten"])
    subject = realm.subject(person)

    def above() -> frozenset[Principal]:
        with memberships.asked(subject) as groups:
            caller = Caller("main", user(realm, person), groups())
        return Directory(records.directory).widen(caller)

    assert principals.group_by_id(QUALIFIER, first) in above()
    before = KeycloakAccounts.of(settings).groups_of(subject)
    realm.admin.update_group(first, {"name": "altes-haus"})
    second = realm.admin.create_group({"name": "haus"})
    move(realm, part, second, "teil")
    assert KeycloakAccounts.of(settings).groups_of(subject) == before
    memberships = Memberships(
        LiveGroups.of(settings, TIMEOUT_S), records.realm, QUALIFIER, lambda: datetime.now(UTC) + BEHIND
    )
    assert principals.group_by_id(QUALIFIER, first) not in above()
    assert principals.group_by_id(QUALIFIER, second) in above()
    for each in (first, second):
        realm.admin.delete_group(each)


def test_the_newest_event_is_the_last_of_all(realm: KeycloakRealm, settings: Settings) -> None:
    accounts = KeycloakAccounts.of(settings)
    for name in ("ereignis-1", "ereignis-2"):
        made = realm.admin.create_group({"name": name})
        newest = accounts.newest_event()
        assert newest is not None
        assert (newest.kind, newest.operation, newest.path) == ("GROUP", "CREATE", f"groups/{made}")
        assert [each.id for each in accounts.events(newest.at_ms)][-1:] == [newest.id]
        realm.admin.delete_group(made)


def test_rm_04_a_moved_group_is_held_by_where_it_is_now(
    realm: KeycloakRealm, identity: Identity, records: Records
) -> None:
    old, new = realm.admin.create_group({"name": "alt"}), realm.admin.create_group({"name": "neu"})
    below = realm.admin.create_group({"name": "team"}, parent=old)
    person = realm.person(groups=["/alt/team"])
    token = realm.token(person)
    assert paths(records, identity.caller(token)) == {"/accounts", "/alt", "/alt/team"}
    move(realm, below, new, "team")
    assert paths(records, identity.caller(token)) == {"/accounts", "/neu", "/neu/team", "/alt/team"}
    for each in (old, new):
        realm.admin.delete_group(each)


def test_rm_05_a_group_made_anew_has_none_of_the_rights_of_the_old_one(
    realm: KeycloakRealm, identity: Identity, records: Records, sync: RealmSync
) -> None:
    old = realm.admin.create_group({"name": "finanzen"})
    person = realm.person(groups=["/finanzen"])
    assert "/finanzen" in paths(records, identity.caller(realm.token(person)))
    realm.admin.delete_group(old)
    new = realm.admin.create_group({"name": "finanzen"})
    realm.join(person, "/finanzen")
    token = realm.token(person)
    assert paths(records, identity.caller(token)) == {"/accounts"}
    sync.run()
    assert paths(records, identity.caller(token)) == {"/accounts"}
    records.realm.rebind("/finanzen")
    assert paths(records, identity.caller(token)) == {"/accounts", "/finanzen"}
    realm.admin.delete_group(new)


def test_rm_02_a_group_whose_name_is_the_path_of_another_is_not_that_one(
    realm: KeycloakRealm, identity: Identity, records: Records
) -> None:
    made = realm.admin.create_group({"name": "felixstowe/sales"})
    person = realm.person()
    realm.admin.group_user_add(realm.subject(person), made)
    assert paths(records, identity.caller(realm.token(person))) == {"/accounts"}
    assert paths(records, identity.caller(realm.token("grace"))) == {"/accounts", "/felixstowe", "/felixstowe/sales"}
    realm.admin.delete_group(made)


def test_rm_10_more_groups_than_a_token_holds(realm: KeycloakRealm, identity: Identity, records: Records) -> None:
    """With the mapper's 'add to access token' off, a token of somebody in many groups is no larger than another's."""
    person, top = realm.person(), realm.admin.create_group({"name": "viele"})
    for number in range(120):
        name = f"{number}-{'x' * 150}"
        realm.admin.group_user_add(realm.subject(person), realm.admin.create_group({"name": name}, parent=top))
    try:
        with pytest.raises(NotAuthenticated, match="too long"):
            identity.caller(realm.token(person))
        with realm.groups_left_out_of_tokens():
            token = realm.token(person)
        assert len(token) < 4_000
        assert len(paths(records, identity.caller(token))) == 122
    finally:
        realm.admin.delete_group(top)


def held(records: Records, realm: KeycloakRealm, person: str) -> set[Principal]:
    """What the history has a person hold now."""
    subject = principals.user(QUALIFIER, realm.subject(person))
    return {each for _, each in records.history.memberships({subject}, records.history.now())}


def test_the_directory_is_read_once_and_then_follows_events(
    realm: KeycloakRealm, records: Records, sync: RealmSync
) -> None:
    everything = sync.run(full=True)
    known = records.realm.people()
    account = realm.admin.get_client_service_account_user(realm.client_id("kustos-sync"))
    assert principals.user(QUALIFIER, account["id"]) in known, "service accounts are people too"
    assert everything.people == len(known)
    leitung = principals.group_by_id(QUALIFIER, realm.group_id("/leitung"))
    person = realm.person(groups=["/leitung"], roles=["mitarbeiter"], duties=["auditor"])
    assert sync.run().full_because == ""
    assert {leitung, principals.realm_role(QUALIFIER, "mitarbeiter")} <= held(records, realm, person)
    realm.leave(person, "/leitung")
    realm.take_role(person, "mitarbeiter")
    assert sync.run().people == 1
    assert not {leitung, principals.realm_role(QUALIFIER, "mitarbeiter")} & held(records, realm, person)
    assert principals.client_role(QUALIFIER, "kustos", "auditor") in held(records, realm, person)
    realm.disable(person)
    sync.run()
    assert held(records, realm, person) == set()
    assert sync.run() == Synced("", 0, 0, 0)


def test_a_role_of_a_group_and_a_part_of_a_role_reach_the_directory(
    realm: KeycloakRealm, records: Records, sync: RealmSync
) -> None:
    person = realm.person(groups=["/vertrieb"])
    for name in ("gruppenrolle", "teilrolle"):
        realm.admin.create_realm_role({"name": name})
    sync.run(full=True)
    whole, part = (realm.admin.get_realm_role(name) for name in ("gruppenrolle", "teilrolle"))
    realm.admin.assign_group_realm_roles(realm.group_id("/vertrieb"), [whole])
    sync.run()
    assert principals.realm_role(QUALIFIER, "gruppenrolle") in held(records, realm, person)
    realm.admin.add_composite_realm_roles_to_role("gruppenrolle", [part])
    sync.run()
    assert principals.realm_role(QUALIFIER, "teilrolle") in held(records, realm, person)
    realm.admin.delete_realm_role("gruppenrolle")
    sync.run()
    assert not {principals.realm_role(QUALIFIER, name) for name in ("gruppenrolle", "teilrolle")} & held(
        records, realm, person
    )


def test_a_gap_in_the_events_means_that_everything_is_read(
    realm: KeycloakRealm, records: Records, sync: RealmSync
) -> None:
    sync.run(full=True)
    person = realm.person(groups=["/leitung"])
    sync.run()
    realm.leave(person, "/leitung")
    realm.admin.connection.raw_delete(f"admin/realms/{realm.name}/admin-events")
    assert sync.run().full_because == "the last event that was followed is no longer kept"
    assert principals.group_by_id(QUALIFIER, realm.group_id("/leitung")) not in held(records, realm, person)
    with realm.without_events():
        assert sync.run() == Synced("", 0, 0, 0)
        realm.join(person, "/leitung")
    assert sync.run().full_because == "the realm itself was changed"
    assert principals.group_by_id(QUALIFIER, realm.group_id("/leitung")) in held(records, realm, person)


def test_groups_are_listed_across_pages(realm: KeycloakRealm, settings: Settings) -> None:
    top = realm.admin.create_group({"name": "seiten"})
    for number in range(101):
        realm.admin.create_group({"name": f"s{number}"}, parent=top)
    found = KeycloakAccounts.of(settings).groups()
    assert sum(each.parent == top for each in found) == 101
    assert len({each.id for each in found}) == len(found) == realm.admin.groups_count()["count"]
    realm.admin.delete_group(top)


def test_an_operator_is_told_why_now_and_then(
    realm: KeycloakRealm, records: Records, sync: RealmSync, subjects: Subjects
) -> None:
    """A story of a real realm: in the group, out of it, disabled, gone."""
    name = document_id("main", "share", "plan.txt")
    allowed = principals.group(QUALIFIER, "/betrieb")
    records.writer.set_places("share", [Place("folder", Acl.of({allowed}), "folder/_access.yaml")])
    place = acl_id("main", "share", "folder")
    about = Document(name, "main", "share", "file:///plan.txt", "plan", "text/plain", "de", "1", place, 1, None, 0)
    records.writer.commit([NewVersion(about, "plan.txt", "1", [])], {})
    asking, explaining = Caller("main", "sys:local-operator", frozenset()), Explaining(records, subjects)
    person = realm.person(groups=["/betrieb/lager/hamburg"])
    subject = realm.subject(person)
    told = explaining.explain(asking, "r", "file:///plan.txt", person)
    assert (told["allowed"], told["origin"]) == (True, "folder/_access.yaml")
    named = [told["groups"].get(each, each) for each in told["chains"][0]]
    assert named == [user(realm, person), "/betrieb/lager/hamburg", "/betrieb/lager", "/betrieb", allowed]
    sync.run(full=True)
    inside = records.history.now()
    realm.leave(person, "/betrieb/lager/hamburg")
    assert not explaining.explain(asking, "r", name, person)["allowed"], (
        "Keycloak is asked, whatever the directory says"
    )
    sync.run()
    outside = records.history.now()
    realm.join(person, "/betrieb/lager/hamburg")
    sync.run()
    again = records.history.now()
    realm.disable(person)
    with pytest.raises(NotAuthenticated):
        explaining.explain(asking, "r", name, person)
    realm.remove(person)
    sync.run()
    then = [explaining.explain(asking, "r", name, subject, at)["allowed"] for at in (inside, outside, again)]
    assert then == [True, False, True]
    with pytest.raises(NotFound):
        explaining.explain(asking, "r", name, subject, records.history.now())
    with pytest.raises(NotFound):
        explaining.explain(asking, "r", name, f"{person}@hansekai.example")


def test_an_operator_reads_the_directory_and_binds_a_path_anew(realm: KeycloakRealm, tmp_path: Path) -> None:
    command_line = CommandLine(tmp_path / "home")
    open_records(realm.settings(tmp_path / "home")).catalog.close()

    def told(*arguments: str) -> Any:
        done = command_line.run("directory", *arguments, **realm.environment())
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    old = realm.admin.create_group({"name": "einkauf"})
    assert told("sync", "--json")["full_because"] == "it was never read"
    realm.admin.delete_group(old)
    new = realm.admin.create_group({"name": "einkauf"})
    assert "followed" in told("sync")
    drift = {"path": "/einkauf", "group_id": old, "now": None, "taken_by": new}
    assert drift in told("status", "--json")["drifts"]
    assert "/einkauf" in told("status")
    assert "called so now" in told("rebind", "/einkauf")
    assert drift not in told("status", "--json")["drifts"]
    assert command_line.run("directory", "rebind", "/nirgends", **realm.environment()).returncode == 1
    realm.admin.delete_group(new)
    assert "/einkauf means nobody's group now" in told("rebind", "/einkauf")


@pytest.mark.parametrize("who", [".", "..", "count", "profile", "../users", "%2e", "anna/../katharina", "?search=anna"])
def test_a_name_that_is_an_address_of_keycloaks_is_nobody(subjects: Subjects, who: str) -> None:
    with pytest.raises(NotFound):
        subjects.subject(who)
    with pytest.raises(NotAuthenticated):
        subjects.caller(principals.user(QUALIFIER, who))
