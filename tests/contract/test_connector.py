"""What every connector keeps to, whatever its source. A new connector adds a world to `WORLDS` and inherits the suite."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from connectors.base import Connector, Item, ItemChanged, ItemGone, Listing
from connectors.filesystem import FilesystemConnector
from rag.access.acl import Acl, permits
from rag.access.principals import Principal
from rag.documents import addresses
from rag.errors import DocumentRefused, RefusalReason, SourceUnavailable
from tests.memory_source import fetched

SALES, NORTH, BOB = (Principal(f"kc:hansekai:{each}") for each in ("group:/sales", "group:/sales/north", "user:bob"))
LIMIT = 1000


class World(Protocol):
    """A source that a test can change. Folders and names are given as `a/b`."""

    connector: Connector

    def put(self, path: str, data: bytes) -> None: ...
    def remove(self, path: str) -> None: ...
    def rename(self, path: str, new: str) -> None: ...
    def grant(self, folder: str, allow: list[Principal], deny: list[Principal], *, inherit: bool = True) -> None: ...
    def grant_file(self, path: str, allow: list[Principal], *, inherit: bool = True) -> None: ...
    def garble_rights(self, folder: str) -> None: ...
    def ungovern(self, folder: str) -> None: ...
    def disconnect(self) -> None: ...


class FilesystemWorld:
    def __init__(self, folder: Path) -> None:
        self.root = folder / "share"
        self.root.mkdir()
        self.connector: Connector = FilesystemConnector("share", self.root, max_bytes=LIMIT)

    def put(self, path: str, data: bytes) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(data)

    def remove(self, path: str) -> None:
        (self.root / path).unlink()

    def rename(self, path: str, new: str) -> None:
        (self.root / path).rename(self.root / new)

    def grant(self, folder: str, allow: list[Principal], deny: list[Principal], *, inherit: bool = True) -> None:
        self._sidecar(f"{folder}/_access.yaml", allow, deny, inherit=inherit)

    def grant_file(self, path: str, allow: list[Principal], *, inherit: bool = True) -> None:
        self._sidecar(f"{path}.access.yaml", allow, [], inherit=inherit)

    def garble_rights(self, folder: str) -> None:
        self._write(f"{folder}/_access.yaml", "kustos_access: 1\nallow: everyone\n")

    def ungovern(self, folder: str) -> None:
        (self.root / folder / "_access.yaml").unlink()

    def disconnect(self) -> None:
        shutil.rmtree(self.root)

    def _sidecar(self, path: str, allow: list[Principal], deny: list[Principal], *, inherit: bool) -> None:
        allowed, denied = ([{"principal": each} for each in entries] for entries in (allow, deny))
        self._write(path, f"{{kustos_access: 1, inherit: {str(inherit).lower()}, allow: {allowed}, deny: {denied}}}")

    def _write(self, path: str, text: str) -> None:
        self.put(path, text.encode())
        (self.root / path).chmod(0o644)


WORLDS: dict[str, Callable[[Path], World]] = {"filesystem": FilesystemWorld}


@pytest.fixture(params=sorted(WORLDS))
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return WORLDS[request.param](tmp_path)


def only(listing: Listing) -> Item:
    (item,) = listing.items
    return item


def acl_of(world: World) -> Acl:
    listing = world.connector.list()
    return listing.acl(only(listing).acl_reference)


# --- listing and reading ------------------------------------------------------------------------------------------


def test_a_listed_item_gives_its_bytes(world: World) -> None:
    world.put("sales/plan.txt", b"plan")
    item = only(world.connector.list())
    assert fetched(world.connector, item) == b"plan"
    assert item.name == "plan.txt"


@pytest.mark.parametrize(
    "path", ["plan.txt", "Müller & Söhne/Größen (neu), 100 %: A+B!.md", "a~b_c-d/u\u0308ber#1?.txt"]
)
def test_an_address_means_the_item_that_people_write_so(world: World, path: str) -> None:
    world.put(path, b"plan")
    assert only(world.connector.list()).uri in addresses(f"file://share/{path}")


def test_an_empty_source_is_listed_as_empty(world: World) -> None:
    assert world.connector.list().items == ()


def test_item_ids_are_stable_and_distinct(world: World) -> None:
    for path in ("a/x.txt", "b/x.txt", "x.txt"):
        world.put(path, b"same")
    first, second = world.connector.list(), world.connector.list()
    assert first == second
    assert len({each.item_id for each in first.items}) == 3
    assert len({each.uri for each in first.items}) == 3


def test_a_change_of_content_changes_the_token_and_nothing_else_does(world: World) -> None:
    world.put("x.txt", b"one")
    world.put("y.txt", b"one")
    before = {each.name: each.change_token for each in world.connector.list().items}
    world.put("x.txt", b"another")
    world.put("z.txt", b"two")
    after = {each.name: each.change_token for each in world.connector.list().items}
    assert before["x.txt"] != after["x.txt"]
    assert before["y.txt"] == after["y.txt"]


def test_an_item_that_changed_since_the_listing_is_not_served_under_its_rights(world: World) -> None:
    world.put("x.txt", b"public")
    item = only(world.connector.list())
    world.put("x.txt", b"a secret")
    with pytest.raises(ItemChanged):
        fetched(world.connector, item)


def test_rc_13_an_item_created_anew_at_the_same_place_is_not_the_item_that_was_listed(world: World) -> None:
    world.put("x.txt", b"one")
    item = only(world.connector.list())
    world.remove("x.txt")
    world.put("new.txt", b"one")
    world.rename("new.txt", "x.txt")
    with pytest.raises((ItemChanged, ItemGone)):
        fetched(world.connector, item)


def test_an_item_that_vanished_is_gone(world: World) -> None:
    world.put("x.txt", b"one")
    item = only(world.connector.list())
    world.remove("x.txt")
    with pytest.raises(ItemGone):
        fetched(world.connector, item)


def test_in_12_an_item_over_the_limit_is_refused(world: World) -> None:
    world.put("x.txt", b"x" * (LIMIT + 1))
    with pytest.raises(DocumentRefused) as refusal:
        fetched(world.connector, only(world.connector.list()))
    assert refusal.value.reason is RefusalReason.TOO_LARGE


def test_an_item_exactly_at_the_limit_is_read(world: World) -> None:
    world.put("x.txt", b"x" * LIMIT)
    assert len(fetched(world.connector, only(world.connector.list()))) == LIMIT


@pytest.mark.parametrize("item_id", ["../x.txt", "/etc/passwd", "..", "", "a/../../x.txt", "x.txt/.."])
def test_an_item_id_that_was_never_listed_reads_nothing(world: World, item_id: str) -> None:
    world.put("x.txt", b"one")
    with pytest.raises((ItemGone, ItemChanged)):
        fetched(world.connector, replace(only(world.connector.list()), item_id=item_id))


# --- rights -------------------------------------------------------------------------------------------------------


def test_without_any_rights_nobody_may_read(world: World) -> None:
    world.put("sales/plan.txt", b"plan")
    assert acl_of(world) == Acl.nobody()


def test_rights_of_a_folder_hold_for_everything_below(world: World) -> None:
    world.grant("sales", [SALES], [BOB])
    world.put("sales/2026/may/plan.txt", b"plan")
    assert acl_of(world) == Acl.of({SALES}, {BOB})


def test_rights_are_inherited_in_union_and_a_denial_wins(world: World) -> None:
    world.grant("sales", [SALES], [BOB])
    world.grant("sales/north", [NORTH, BOB], [])
    world.put("sales/north/plan.txt", b"plan")
    acl = acl_of(world)
    assert acl == Acl.of({SALES, NORTH, BOB}, {BOB})
    assert not permits({SALES, BOB}, acl).allowed


def test_broken_inheritance_leaves_only_the_own_rights(world: World) -> None:
    world.grant("sales", [SALES], [])
    world.grant("sales/north", [NORTH], [], inherit=False)
    world.put("sales/north/plan.txt", b"plan")
    assert acl_of(world) == Acl.of({NORTH})


def test_rights_of_a_single_item_hold_for_that_item_alone(world: World) -> None:
    world.grant("sales", [SALES], [])
    world.put("sales/a.txt", b"a")
    world.put("sales/b.txt", b"b")
    world.grant_file("sales/b.txt", [BOB], inherit=False)
    listing = world.connector.list()
    acls = {each.name: listing.acl(each.acl_reference) for each in listing.items}
    assert acls == {"a.txt": Acl.of({SALES}), "b.txt": Acl.of({BOB})}


def test_items_under_the_same_rights_share_one_governing_place(world: World) -> None:
    world.grant("sales", [SALES], [])
    world.put("sales/a.txt", b"a")
    world.put("sales/deep/b.txt", b"b")
    assert len({each.acl_reference for each in world.connector.list().items}) == 1


def test_every_place_that_an_item_names_is_in_the_listing(world: World) -> None:
    world.put("a.txt", b"a")
    world.grant("sales", [SALES], [])
    world.put("sales/b.txt", b"b")
    listing = world.connector.list()
    assert {each.acl_reference for each in listing.items} <= set(listing.access)


def test_in_15_rights_that_are_not_understood_are_nobodys_and_reported(world: World) -> None:
    world.grant("sales", [SALES], [])
    world.garble_rights("sales/north")
    world.put("sales/north/plan.txt", b"plan")
    listing = world.connector.list()
    assert listing.acl(only(listing).acl_reference) == Acl.nobody()
    assert any("north" in each.where for each in listing.problems)


def test_in_15_rights_below_what_is_not_understood_are_nobodys_unless_they_inherit_nothing(world: World) -> None:
    world.garble_rights("sales")
    world.grant("sales/north", [NORTH], [])
    world.grant("sales/south", [SALES], [], inherit=False)
    world.put("sales/north/n.txt", b"n")
    world.put("sales/south/s.txt", b"s")
    listing = world.connector.list()
    acls = {each.name: listing.acl(each.acl_reference) for each in listing.items}
    assert acls == {"n.txt": Acl.nobody(), "s.txt": Acl.of({SALES})}


def test_a_change_of_rights_leaves_the_content_alone(world: World) -> None:
    world.put("sales/plan.txt", b"plan")
    world.grant("sales", [SALES], [])
    before = only(world.connector.list())
    world.grant("sales", [BOB], [])
    after = only(world.connector.list())
    assert before == after
    world.ungovern("sales")
    ungoverned = only(world.connector.list())
    assert ungoverned.change_token == before.change_token
    assert ungoverned.acl_reference != before.acl_reference


# --- unavailable is not empty -------------------------------------------------------------------------------------


def test_ft_14_a_source_that_does_not_answer_is_unavailable_and_not_empty(world: World) -> None:
    world.put("x.txt", b"one")
    listing = world.connector.list()
    world.disconnect()
    with pytest.raises(SourceUnavailable):
        world.connector.list(listing.cursor)
    with pytest.raises(SourceUnavailable):
        fetched(world.connector, only(listing))


def test_a_watch_on_a_source_that_does_not_answer_is_unavailable(world: World) -> None:
    world.disconnect()
    with pytest.raises(SourceUnavailable):
        next(iter(world.connector.watch(threading.Event(), 0.1)))


def test_ft_14_a_watch_ends_as_unavailable_when_its_source_goes_and_can_begin_anew_when_it_is_back(
    world: World,
) -> None:
    world.put("sales/plan.txt", b"plan")
    stop = threading.Event()
    hints = iter(world.connector.watch(stop, 0.1))
    next(hints)
    world.disconnect()
    with pytest.raises(SourceUnavailable):
        list(hints)
    world.put("sales/plan.txt", b"plan")
    next(iter(world.connector.watch(stop, 0.1)))


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    """Set after a minute, far below the interval of a test, so that a hint that does not come fails and does not hang."""
    event = threading.Event()
    timer = threading.Timer(60, event.set)
    timer.start()
    yield event
    timer.cancel()


def test_a_change_between_the_first_sync_and_the_watch_is_not_waited_for(world: World, stop: threading.Event) -> None:
    world.put("sales/plan.txt", b"plan")
    hints = iter(world.connector.watch(stop, 3600))
    next(hints)
    world.grant("sales", [], [])
    assert next(hints) is None, "and not the end, which `stop` would bring"


def test_a_right_taken_away_while_a_new_folder_is_taken_in_is_not_waited_for(
    world: World, stop: threading.Event
) -> None:
    world.put("sales/plan.txt", b"plan")
    hints = iter(world.connector.watch(stop, 3600))
    next(hints)
    world.put("new/plan.txt", b"plan")
    next(hints)
    world.grant("sales", [], [])  # while the sync of the new folder runs
    assert next(hints) is None, "and not the end, which `stop` would bring"


def test_a_watch_hints_again_and_again_even_if_nothing_happens_and_ends_when_told(world: World) -> None:
    stop = threading.Event()
    hints = iter(world.connector.watch(stop, 0.1))
    next(hints)
    next(hints)
    stop.set()
    assert list(hints) == []
