"""Which groups count for a person: what Keycloak says at this moment, in a directory that is true for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from api.keycloak_realm.memberships import BEHIND, Memberships
from rag.access.directory import Directory
from rag.access.groups import Group
from rag.access.principals import EVERYONE_IN_TENANT, Principal, group, group_by_id, user
from rag.access.scope import Caller
from rag.errors import Unavailable
from rag.stores.catalog import Catalog, sqlite_url
from rag.stores.catalog_directory import CatalogDirectory
from rag.stores.catalog_realm import CatalogRealm, Followed
from tests.memory_realm import MemoryRealm

TENANT = "main"


@dataclass
class World:
    """A realm, a catalog that may be behind it, and what counts."""

    catalog: Catalog

    def __post_init__(self) -> None:
        self.realm = MemoryRealm()
        self.kept = CatalogRealm(self.catalog, TENANT, "acme")
        self.now = datetime(2026, 5, 1, tzinfo=UTC)
        self.memberships = Memberships(self.realm, self.kept, "acme", lambda: self.now)
        self.directory = Directory(CatalogDirectory(self.catalog))

    def catch_up(self) -> None:
        self.kept.set_groups(self.realm.groups(), whole=True)
        self.kept.set_followed(Followed("", 0, self.now, self.now))

    def asked(self, subject: str) -> frozenset[Principal]:
        """The groups of a person now."""
        with self.memberships.asked(subject) as groups:
            return groups()

    def held(self, subject: str) -> frozenset[Principal]:
        """What counts for a person now."""
        groups = self.asked(subject)
        return self.directory.widen(Caller(TENANT, subject, groups | {user("acme", subject)}))

    def paths(self, subject: str) -> set[str]:
        """The group paths among it."""
        prefix = group("acme", "/").removesuffix("/")
        return {each.removeprefix(prefix) for each in self.held(subject) if each.startswith(prefix)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    catalog = Catalog.open(sqlite_url(tmp_path / "catalog.db"))
    yield World(catalog)
    catalog.close()


def test_rm_03_a_member_of_a_group_below_is_a_member_above(world: World) -> None:
    top = world.realm.group("a")
    world.realm.person("ann", world.realm.group("b", top))
    world.realm.person("bob", top)
    assert world.paths("ann") == {"/a", "/a/b"}
    assert world.paths("bob") == {"/a"}


def test_rm_01_groups_of_the_same_last_name_are_two(world: World) -> None:
    leads = [world.realm.group("leads", world.realm.group(top)) for top in ("hr", "it")]
    world.realm.person("ann", leads[1])
    assert world.paths("ann") == {"/it", "/it/leads"}


def test_who_leaves_a_group_is_out_whatever_the_directory_says(world: World) -> None:
    sales = world.realm.group("sales")
    world.realm.person("ann", sales)
    world.catch_up()
    world.kept.set_people({user("acme", "ann"): {group_by_id("acme", sales)}})
    assert world.paths("ann") == {"/sales"}
    world.realm.leave("ann", sales)
    assert world.paths("ann") == set()


def test_rm_04_a_group_moved_away_is_not_held_by_where_it_was(world: World) -> None:
    """The directory still has the edge when the question comes."""
    top, other = world.realm.group("a"), world.realm.group("x")
    below = world.realm.group("b", top)
    deep = world.realm.group("c", below)
    world.realm.person("ann", deep)
    world.catch_up()
    world.realm.move(below, other)
    assert world.paths("ann") == {"/a/b/c", "/x/b/c", "/a/b", "/x/b", "/x"}, (
        "what was above is not, what it was called is"
    )


def test_rm_04_a_new_group_under_an_old_name_gets_nothing_of_it(world: World) -> None:
    sales = world.realm.group("sales")
    world.catch_up()
    world.realm.rename(sales, "trade")
    world.realm.person("ann", sales)
    world.realm.person("eve", world.realm.group("sales"))
    assert world.paths("eve") == set()
    assert world.paths("ann") == {"/sales", "/trade"}


def test_rm_05_members_of_a_group_made_anew_get_nothing_until_it_is_bound(world: World) -> None:
    """Not even before the directory has followed: the question itself finds that the path is another's."""
    finance = world.realm.group("finance")
    world.realm.person("ann", finance)
    assert world.paths("ann") == {"/finance"}
    world.realm.drop(finance)
    world.realm.person("eve", world.realm.group("finance"))
    assert (world.paths("ann"), world.paths("eve")) == (set(), set())
    world.catch_up()
    assert world.paths("eve") == set()
    world.kept.rebind("/finance")
    assert world.paths("eve") == {"/finance"}


def test_rm_02_a_slash_in_a_name_makes_nobody_a_member_of_another_group(world: World) -> None:
    test = world.realm.group("test")
    lead = world.realm.group("lead", test)
    world.realm.person("ann", lead)
    flat = world.realm.group("test/lead")
    world.realm.person("eve", flat)
    world.realm.person("mal", world.realm.group("below", flat))
    assert world.paths("ann") == {"/test/lead", "/test"}
    assert (world.paths("eve"), world.paths("mal")) == (set(), set())
    assert world.asked("eve") == {group_by_id("acme", flat)}


def test_rm_10_thousands_of_groups_are_all_there(world: World) -> None:
    world.realm.groups_by_id = {f"g{n}": Group(f"g{n}", f"n{n}", f"/n{n}", None) for n in range(3_000)}
    world.realm.person("ann", *world.realm.groups_by_id)
    assert len(world.paths("ann")) == 3_000
    assert world.realm.asked == ["groups of ann", "groups"]


def test_rm_09_an_account_in_no_group_is_in_none(world: World) -> None:
    world.realm.person("ann")
    assert world.asked("ann") == world.asked("nobody") == frozenset()
    nothing: frozenset[Principal] = frozenset()
    assert world.directory.widen(Caller(TENANT, "ann", nothing)) == nothing
    assert EVERYONE_IN_TENANT in world.directory.widen(Caller(TENANT, "ann", frozenset({user("acme", "ann")})))


def test_a_directory_that_is_true_is_not_read_again(world: World) -> None:
    world.realm.person("ann", world.realm.group("b", world.realm.group("a")))
    world.paths("ann")
    world.realm.asked.clear()
    world.paths("ann")
    assert world.realm.asked == ["groups of ann"]


def test_rm_04_another_group_put_above_under_the_same_name_is_found_though_nothing_follows_events(world: World) -> None:
    """Every path in Keycloak's answer is what it was before."""
    first = world.realm.group("x")
    below = world.realm.group("b", first)
    world.realm.person("ann", world.realm.group("c", below))
    world.catch_up()
    world.realm.rename(first, "y")
    second = world.realm.group("x")
    world.realm.move(below, second)
    held_by = {group_by_id("acme", each) for each in (first, second)}
    world.now += BEHIND
    assert held_by & world.held("ann") == {group_by_id("acme", second)}
    assert world.paths("ann") == {"/x/b/c", "/x/b"}, "rights for /x mean the group that is called /y now"


def test_what_is_above_a_group_is_read_once_a_minute_where_nothing_follows_events(world: World) -> None:
    world.realm.person("ann", world.realm.group("b", world.realm.group("a")))
    world.realm.person("bob", world.realm.group("top"))
    world.catch_up()
    for _ in range(2):
        world.now += BEHIND
        world.realm.asked.clear()
        for subject in ("ann", "ann", "bob"):
            world.paths(subject)
        assert world.realm.asked == ["groups of ann", "upwards g2", "groups of ann", "groups of bob"]
    world.catch_up()
    world.realm.asked.clear()
    world.paths("ann")
    assert world.realm.asked == ["groups of ann"]


def test_what_is_found_as_it_is_known_is_not_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.realm.person("ann", world.realm.group("b", world.realm.group("a")))
    world.catch_up()
    world.now += BEHIND
    monkeypatch.setattr(world.kept, "set_groups", None)
    assert world.paths("ann") == {"/a", "/a/b"}
    assert world.realm.asked[-1] == "upwards g2"


def test_a_group_that_is_gone_when_it_is_looked_up_is_nobodys(world: World) -> None:
    top = world.realm.group("a")
    world.realm.person("ann", top)
    world.catch_up()
    stale = world.realm.groups_of("ann")
    world.realm.rename(top, "z")
    renamed = world.realm.groups_of("ann")
    world.realm.drop(top)
    assert world.memberships.held(renamed) == frozenset()
    assert world.memberships.held(stale) == {group_by_id("acme", top)}, "as of when Keycloak said so"


def test_ft_02_what_keycloak_does_not_say_is_not_known(world: World) -> None:
    world.realm.down = True
    with pytest.raises(Unavailable):
        world.asked("ann")
