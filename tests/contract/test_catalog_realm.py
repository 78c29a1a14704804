"""What the catalog keeps of a realm, over every database: groups by id, what paths mean, who held what."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier

import pytest
from sqlalchemy import text

from rag.access.groups import Drift, Group
from rag.access.principals import Principal, group, group_by_id, realm_role, user
from rag.errors import NotFound
from rag.stores.catalog import Catalog
from rag.stores.catalog_directory import CatalogDirectory
from rag.stores.catalog_realm import CatalogRealm, Followed

TENANT, REALM = "main", "acme"
SALES = Group("1", "sales", "/sales", None)
NORTH = Group("2", "north", "/sales/north", "1")
ANN, STAFF = user(REALM, "ann"), realm_role(REALM, "staff")


@pytest.fixture
def realm(catalog: Catalog) -> CatalogRealm:
    return CatalogRealm(catalog, TENANT, REALM)


def held_by(catalog: Catalog, identifier: str) -> set[Principal]:
    """The paths that a member of the group with this id holds."""
    directory = CatalogDirectory(catalog)
    found = directory.containers(TENANT, {group_by_id(REALM, identifier)})
    return {each for each in found if each.startswith(f"kc:{REALM}:group:")}


def test_rm_03_a_group_is_held_by_the_one_above_it_and_not_the_other_way(catalog, realm) -> None:
    realm.set_groups([SALES, NORTH], whole=True)
    assert held_by(catalog, "2") == {group(REALM, "/sales/north"), group(REALM, "/sales")}
    assert held_by(catalog, "1") == {group(REALM, "/sales")}
    assert held_by(catalog, "3") == set()


def test_rm_03_nested_groups_hold_at_fifteen_levels(catalog, realm) -> None:
    levels = [
        Group(str(n), f"l{n}", "".join(f"/l{m}" for m in range(n + 1)), str(n - 1) if n else None) for n in range(15)
    ]
    realm.set_groups(levels, whole=True)
    assert held_by(catalog, "14") == {group(REALM, each.path) for each in levels}


def test_rm_04_a_renamed_group_keeps_what_its_path_was_given(catalog, realm) -> None:
    realm.set_groups([SALES, NORTH], whole=True)
    renamed = [Group("1", "trade", "/trade", None), Group("2", "north", "/trade/north", "1")]
    realm.set_groups(renamed, whole=True)
    assert held_by(catalog, "2") == {
        group(REALM, path) for path in ("/sales/north", "/sales", "/trade/north", "/trade")
    }
    realm.set_groups([*renamed, Group("3", "sales", "/sales", None)], whole=True)
    assert held_by(catalog, "3") == set(), "a new group under the old name holds nothing that the path was given"
    assert realm.tree().drifts() == [
        Drift("/sales", "1", now="/trade", taken_by="3"),
        Drift("/sales/north", "2", now="/trade/north", taken_by=None),
    ]


def test_rm_04_a_moved_group_is_held_by_where_it_is_now_alone(catalog, realm) -> None:
    realm.set_groups([SALES, NORTH, Group("4", "extern", "/extern", None)], whole=True)
    realm.set_groups([Group("2", "north", "/extern/north", "4")], whole=False)
    found = held_by(catalog, "2")
    assert group(REALM, "/sales") not in found
    assert {group(REALM, "/extern"), group(REALM, "/extern/north")} <= found


def test_rm_05_a_group_made_anew_holds_nothing_until_an_operator_says_so(catalog, realm) -> None:
    realm.set_groups([SALES], whole=True)
    realm.set_groups([], whole=True)
    realm.set_groups([Group("9", "sales", "/sales", None)], whole=True)
    assert held_by(catalog, "9") == held_by(catalog, "1") == set()
    realm.rebind("/sales")
    assert held_by(catalog, "9") == {group(REALM, "/sales")}
    assert realm.tree().drifts() == []
    with pytest.raises(NotFound):
        realm.rebind("/nothing")


def test_rm_02_a_name_with_a_slash_is_meant_by_no_path(catalog, realm) -> None:
    realm.set_groups(
        [
            Group("5", "sales/north", "/sales/north", None),
            Group("6", "deep", "/sales/north/deep", "5"),
            Group("7", "esc/aped", "/esc~/aped", None),
        ],
        whole=True,
    )
    assert held_by(catalog, "5") == held_by(catalog, "6") == held_by(catalog, "7") == set()
    realm.set_groups([SALES, NORTH], whole=False)
    assert held_by(catalog, "2") == {group(REALM, "/sales/north"), group(REALM, "/sales")}
    assert held_by(catalog, "5") == set()


def test_rm_08_names_that_look_like_something_else_stay_names(catalog, realm) -> None:
    odd = ["*", "public", "group:x", " a", "a ", "A", "a\u0308", "\u00e4", "..", "%2F", "~", "sys:everyone-in-tenant"]
    realm.set_groups([Group(str(n), name, f"/{name}", None) for n, name in enumerate(odd)], whole=True)
    for number, name in enumerate(odd):
        assert held_by(catalog, str(number)) == {group(REALM, f"/{name}")}
    realm.set_groups([Group("long", "x" * 1100, "/" + "x" * 1100, None)], whole=True)
    assert held_by(catalog, "long") == set()


def test_groups_of_another_realm_or_tenant_are_others(catalog, realm) -> None:
    realm.set_groups([SALES], whole=True)
    CatalogRealm(catalog, TENANT, "other").set_groups([], whole=True)
    assert held_by(catalog, "1") == {group(REALM, "/sales")}
    assert CatalogRealm(catalog, "other", REALM).tree().groups == {}
    assert CatalogDirectory(catalog).containers("other", {group_by_id(REALM, "1")}) == frozenset()


def test_what_is_remembered_of_the_tree_follows_changes_by_another_process(catalog, realm) -> None:
    realm.set_groups([SALES], whole=True)
    assert realm.tree() is realm.tree()
    CatalogRealm(catalog, TENANT, REALM).set_groups([SALES, NORTH], whole=True)
    assert realm.tree().agrees_with(NORTH)
    assert not realm.tree().agrees_with(Group("2", "north", "/extern/north", "4"))


def test_several_that_bring_the_first_groups_at_once_take_turns(catalog) -> None:
    at_once, groups = Barrier(6), [Group(f"g{n}", f"n{n}", f"/n{n}", None) for n in range(50)]

    def bring(_: int) -> None:
        at_once.wait()
        CatalogRealm(catalog, TENANT, "acme").set_groups(groups, whole=True)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(bring, range(6)))
    assert set(CatalogRealm(catalog, TENANT, "acme").tree().groups) == {each.id for each in groups}


def test_the_same_groups_again_change_nothing(catalog, realm) -> None:
    realm.set_groups([SALES, NORTH], whole=True)
    before = CatalogDirectory(catalog).revision(TENANT)
    realm.set_groups([SALES, NORTH], whole=True)
    assert CatalogDirectory(catalog).revision(TENANT) == before


def test_what_people_hold_is_history_and_no_right(catalog, realm) -> None:
    """A person's membership here may be older than Keycloak's: it must not come back through the directory."""
    realm.set_groups([SALES], whole=True)
    assert realm.set_people({ANN: {group_by_id(REALM, "1"), STAFF}}) == 1
    assert realm.set_people({ANN: {group_by_id(REALM, "1"), STAFF}}) == 0
    assert realm.people() == {ANN}
    assert CatalogDirectory(catalog).containers(TENANT, {ANN}) == frozenset()
    assert realm.set_people({ANN: frozenset()}) == 1
    assert realm.people() == set()
    with catalog.reading() as connection:
        rows = connection.execute(text("SELECT until FROM membership_history WHERE member LIKE '%:user:%'")).all()
    assert [bool(row.until) for row in rows] == [True, True]


def test_how_far_a_realm_was_followed_is_kept(realm) -> None:
    assert realm.followed() is None
    moment = datetime(2026, 11, 21, 12, 0, 0, 5, tzinfo=UTC)
    for number in (1, 2):
        told = Followed(f"event-{number}", 1_795_000_000_000 + number, moment, moment)
        realm.set_followed(told)
        assert realm.followed() == told
