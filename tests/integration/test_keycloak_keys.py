"""An API key obeys a real Keycloak: what is taken from its account is gone in the next request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from fastapi.testclient import TestClient

from api.admission.key_issue import issue
from api.admission.subjects import Subjects, open_subjects
from api.keycloak_realm.memberships import open_memberships
from api.tokens.issuers import open_identity
from rag.access import principals
from rag.access.api_keys import KeyScope
from tests.keycloak_realm import QUALIFIER, KeycloakRealm
from tests.library import Library, Written, open_library

GROUP, ROLE = "/leitung", "geschaeftsfuehrung"
OF_GROUP = Written("group.txt", ["For the group."], frozenset({principals.group(QUALIFIER, GROUP)}))
OF_ROLE = Written("role.txt", ["For the role."], frozenset({principals.realm_role(QUALIFIER, ROLE)}))


@dataclass
class World:
    library: Library
    subjects: Subjects
    client: TestClient

    def key(self, account: str) -> str:
        subject = self.subjects.subject(account)
        records = self.library.kustos.records
        return issue(records, subject, {KeyScope.QUERY}, name="", days=1, by=subject)[0].text

    def read(self, key: str) -> set[str] | int:
        """Titles that the key opens, or the status that refused it."""
        reply = self.client.get("/v1/documents", headers={"X-API-Key": key})
        return {each["title"] for each in reply.json()["documents"]} if reply.is_success else reply.status_code


@pytest.fixture(scope="module")
def world(realm: KeycloakRealm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("home")
    settings, library = realm.settings(home), open_library(home, OF_GROUP, OF_ROLE, requests_per_key=0, realm=QUALIFIER)
    memberships = open_memberships(settings, library.kustos.records.realm)
    subjects = open_subjects(settings, None, open_identity(settings, None, memberships), memberships)
    client = TestClient(library.app(subjects=subjects), base_url="http://127.0.0.1")
    yield World(library, subjects, client)
    library.kustos.close()


REMOVALS: dict[str, tuple[Callable[[KeycloakRealm, str], None], set[str] | int]] = {
    "group": (lambda realm, person: realm.leave(person, GROUP), {"role.txt"}),
    "role": (lambda realm, person: realm.take_role(person, ROLE), {"group.txt"}),
    "account disabled": (lambda realm, person: realm.disable(person), 401),
    "account deleted": (lambda realm, person: realm.remove(person), 401),
}


@pytest.mark.parametrize("removal", REMOVALS)
def test_rc_01_and_rc_06_what_keycloak_takes_away_no_key_opens_any_more(world, realm, removal) -> None:
    person = realm.person(groups=[GROUP], roles=[ROLE])
    key = world.key(person)
    assert world.read(key) == {"group.txt", "role.txt"}
    take, left = REMOVALS[removal]
    take(realm, person)
    assert world.read(key) == left


def test_sa_01_a_key_of_a_service_account_opens_what_was_granted_to_that_account(world, realm) -> None:
    key = world.key("service-account-kustos-sync")
    assert world.read(key) == set()
    realm.give_role("service-account-kustos-sync", ROLE)
    assert world.read(key) == {"role.txt"}
    realm.take_role("service-account-kustos-sync", ROLE)
    assert world.read(key) == set()


def test_a_key_ends_by_itself_or_with_its_account_and_not_with_sessions_or_the_client(world, realm) -> None:
    """What docs/api.md says that an administrator has to know."""
    person, service = realm.person(roles=[ROLE]), "service-account-kustos-eval"
    realm.give_role(service, ROLE)
    keys = [world.key(person), world.key(service)]
    client = realm.client_id("kustos-eval")
    realm.end_sessions(person)
    realm.admin.update_client(client, {"enabled": False})
    try:
        assert [world.read(each) for each in keys] == [{"role.txt"}] * 2
    finally:
        realm.admin.update_client(client, {"enabled": True})
        realm.take_role(service, ROLE)
    realm.disable(person)
    assert [world.read(each) for each in keys] == [401, set()]
