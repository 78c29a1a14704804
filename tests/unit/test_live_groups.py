"""Which groups somebody is in, from a real server on loopback that may say anything."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest

from api.keycloak_realm.administration import MOST_GROUPS
from api.keycloak_realm.live_groups import LiveGroups
from rag.access.groups import Group
from rag.errors import NotAllowed, Unavailable
from tests.fake_keycloak import FakeKeycloak, Reply, blurt, break_off, fake_keycloak, say, say_and_close

pytestmark = pytest.mark.loopback

SALES = Group("g1", "sales", "/sales", None)
NORTH = Group("g2", "north", "/sales/north", "g1")
FROM_THE_LIBRARY = [Group("g9", "library", "/library", None)]
ANSWER = json.dumps(
    [
        {"id": "g1", "name": "sales", "path": "/sales"},
        {"id": "g2", "name": "north", "path": "/sales/north", "parentId": "g1", "subGroupCount": 0},
    ]
).encode()


class Accounts:
    """What the library would say."""

    refused = False

    def credentials(self) -> str:
        return "service-token"

    def groups_of(self, subject: str) -> list[Group]:
        if self.refused:
            raise NotAllowed("the service client may not read this of the realm")
        return FROM_THE_LIBRARY

    def upwards(self, identifiers: object) -> list[Group]:
        raise AssertionError(identifiers)

    def groups(self) -> list[Group]:
        raise AssertionError


@pytest.fixture
def keycloak() -> Iterator[FakeKeycloak]:
    with fake_keycloak() as fake:
        fake.listing = say(ANSWER)
        yield fake


@pytest.fixture
def accounts() -> Accounts:
    return Accounts()


@pytest.fixture
def live(keycloak: FakeKeycloak, accounts: Accounts) -> LiveGroups:
    return LiveGroups(f"http://127.0.0.1:{keycloak.port}/admin/realms/acme", accounts, 10.0)


def groups(live: LiveGroups, subject: str = "ann") -> Sequence[Group]:
    with live.asking_groups_of(subject) as answer:
        return answer()


def test_the_groups_are_those_of_the_answer(live: LiveGroups) -> None:
    assert groups(live) == [SALES, NORTH]


def test_the_question_is_of_one_account_and_shows_the_service_clients_token(live, keycloak: FakeKeycloak) -> None:
    groups(live, "a/../b?x=#1")
    ((address, credentials),) = keycloak.listed
    assert address.startswith("/admin/realms/acme/users/a%2F..%2Fb%3Fx%3D%231/groups?")
    assert credentials == "Bearer service-token"


@pytest.mark.parametrize("subject", ["", ".", "..", "count", "profile"])
def test_what_is_no_account_is_not_asked_about(live, keycloak: FakeKeycloak, subject: str) -> None:
    assert groups(live, subject) == []
    assert keycloak.listed == []


def test_the_question_is_sent_before_its_answer_is_waited_for(live, keycloak: FakeKeycloak) -> None:
    with live.asking_groups_of("ann") as first, live.asking_groups_of("bob") as second:
        assert second() == first() == [SALES, NORTH]
    assert keycloak.connections == 2
    assert [groups(live) for _ in range(5)] == [[SALES, NORTH]] * 5
    assert keycloak.connections == 2, "both are kept"


def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next_one(live, keycloak: FakeKeycloak) -> None:
    with live.asking_groups_of("ann"):
        pass
    keycloak.listing = say(b"[]")
    assert groups(live, "bob") == []


def test_a_connection_that_keycloak_closed_meanwhile_is_replaced(live, keycloak: FakeKeycloak) -> None:
    keycloak.listing = say_and_close(ANSWER)
    for _ in range(10):
        assert groups(live) == [SALES, NORTH]


@pytest.mark.parametrize("status", [204, 301, 401, 404, 500])
def test_an_answer_that_is_no_list_is_left_to_the_library(live, keycloak: FakeKeycloak, status: int) -> None:
    keycloak.listing = say(b"", status, Location="http://127.0.0.1:9/")
    assert groups(live) == FROM_THE_LIBRARY


def test_more_than_a_page_is_left_to_the_library(live, keycloak: FakeKeycloak) -> None:
    page = [{"id": f"g{at}", "name": "n", "path": f"/{at}"} for at in range(MOST_GROUPS)]
    keycloak.listing = say(json.dumps(page).encode())
    assert groups(live) == FROM_THE_LIBRARY


def test_that_the_service_may_not_ask_is_said_so(live, keycloak: FakeKeycloak, accounts: Accounts) -> None:
    keycloak.listing, accounts.refused = say(b"{}", 403), True
    with pytest.raises(NotAllowed):
        groups(live)


WRONG = {
    "an object": say(b"{}" + b" " * 5),
    "groups without an id": say(b'[{"name": "sales", "path": "/sales"}]'),
    "an id that is no text": say(b'[{"id": 1, "name": "sales", "path": "/sales"}]'),
    "no JSON": say(b"<html>"),
    "too large": say(b"[" + b" " * 300_000 + b"]"),
    "cut off": break_off(ANSWER),
    "two lengths": say(ANSWER, **{"Content-length": "2"}),
    "no HTTP": blurt(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "closed without a word": blurt(b""),
}


@pytest.mark.parametrize("reply", WRONG.values(), ids=WRONG)
def test_ft_03_what_is_no_answer_is_unavailable_and_the_next_answer_counts(live, keycloak, reply: Reply) -> None:
    keycloak.listing = reply
    with pytest.raises(Unavailable):
        groups(live)
    keycloak.listing = say(ANSWER)
    assert groups(live) == [SALES, NORTH]


def test_ft_02_a_keycloak_that_is_down_is_unavailable(accounts: Accounts) -> None:
    with fake_keycloak() as gone:
        address = f"http://127.0.0.1:{gone.port}/admin/realms/acme"
    with pytest.raises(Unavailable):
        groups(LiveGroups(address, accounts, 10.0))
