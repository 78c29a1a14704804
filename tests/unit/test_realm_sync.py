"""When the directory is read as a whole, when it follows events, and what it makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest

from api.keycloak_realm.administration import Account, AdminEvent
from api.keycloak_realm.sync import FULL_EVERY, FULL_WITHOUT_EVENTS, Names, RealmSync, work_of
from api.keycloak_realm.watch import RealmWatch
from rag.access.principals import Principal, client_role, group, group_by_id, realm_role, user
from rag.errors import Unavailable
from rag.stores.catalog import Catalog, sqlite_url
from rag.stores.catalog_directory import CatalogDirectory
from rag.stores.catalog_history import CatalogHistory
from rag.stores.catalog_realm import CatalogRealm
from tests.memory_realm import MemoryRealm

TENANT, NAMES = "main", Names("acme", "kustos")


@dataclass
class Directory:
    """A catalog that follows a realm in memory."""

    catalog: Catalog
    realm: MemoryRealm = field(default_factory=MemoryRealm)
    forgotten: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kept = CatalogRealm(self.catalog, TENANT, "acme")
        self.now = datetime.fromtimestamp(self.realm.now_ms / 1000, UTC)
        self.sync = self.anew()

    def anew(self) -> RealmSync:
        """Another process."""
        return RealmSync(self.realm, self.kept, NAMES, self.forgotten.append, lambda: self.now)

    def holds(self, subject: str) -> set[Principal]:
        """What the history has a person hold now."""
        history = CatalogHistory(self.catalog, TENANT)
        edges = history.memberships({user("acme", subject)}, datetime.now(UTC))
        return {held for _, held in edges}

    def paths(self, identifier: str) -> set[Principal]:
        found = CatalogDirectory(self.catalog).containers(TENANT, {group_by_id("acme", identifier)})
        return {each for each in found if ":group:" in each}

    def run(self) -> list[str]:
        """What one more sync asks of Keycloak."""
        self.realm.asked.clear()
        self.sync.run()
        return self.realm.asked


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    catalog = Catalog.open(sqlite_url(tmp_path / "catalog.db"))
    yield Directory(catalog)
    catalog.close()


def test_the_first_time_everything_is_read(directory: Directory) -> None:
    sales = directory.realm.group("sales")
    for number in range(5):
        directory.realm.person(str(number), sales, roles=("staff",))
    done = directory.sync.run()
    assert (done.full_because, done.groups, done.people, done.changed) == ("it was never read", 1, 5, 5)
    assert directory.holds("4") == {group_by_id("acme", sales), realm_role("acme", "staff")}
    assert directory.paths(sales) == {group("acme", "/sales")}


def test_afterwards_only_what_events_name_is_read(directory: Directory) -> None:
    sales, hr = directory.realm.group("sales"), directory.realm.group("hr")
    directory.realm.person("ann", sales)
    directory.realm.person("bob", sales)
    directory.sync.run()
    assert directory.run() == ["events are kept", "events"]
    directory.realm.leave("ann", sales)
    directory.realm.join("ann", hr)
    assert directory.run() == ["events are kept", "events", "account ann"]
    assert directory.holds("ann") == {group_by_id("acme", hr)}
    assert directory.run() == ["events are kept", "events"], "an event is followed once"


def test_who_is_disabled_or_gone_holds_nothing(directory: Directory) -> None:
    sales = directory.realm.group("sales")
    for each in ("ann", "bob", "eve"):
        directory.realm.person(each, sales)
    directory.sync.run()
    directory.realm.disable("ann")
    directory.realm.dismiss("bob")
    directory.sync.run()
    assert (directory.holds("ann"), directory.holds("bob")) == (set(), set())
    assert directory.holds("eve") == {group_by_id("acme", sales)}


def test_a_group_that_is_renamed_moved_or_dropped_is_so_in_the_directory(directory: Directory) -> None:
    top, other = directory.realm.group("top"), directory.realm.group("other")
    below = directory.realm.group("below", top)
    directory.sync.run()
    directory.realm.move(below, other)
    assert "groups" in directory.run()
    assert group("acme", "/top") not in directory.paths(below)
    assert group("acme", "/other") in directory.paths(below)
    directory.realm.drop(below)
    directory.sync.run()
    assert directory.paths(below) == set()


def test_roles_of_a_group_or_within_a_role_concern_everybody(directory: Directory) -> None:
    sales = directory.realm.group("sales")
    directory.realm.person("ann", sales)
    directory.sync.run()
    directory.realm.give_to_group("seller", sales)
    assert "people" in directory.run()
    assert realm_role("acme", "seller") in directory.holds("ann")
    assert directory.forgotten[-1] is None
    directory.realm.happened("REALM_ROLE", "CREATE", "roles/new")
    assert "people" not in directory.run(), "a role that has just been made is nobody's"
    directory.realm.happened("REALM_ROLE", "CREATE", "roles/new/composites")
    assert "people" in directory.run()


@pytest.mark.parametrize("kind", ["REALM", "CLIENT", "COMPONENT"])
def test_a_change_of_the_realm_itself_means_reading_everything(directory: Directory, kind: str) -> None:
    directory.sync.run()
    directory.realm.happened(kind)
    assert directory.sync.run().full_because == "the realm itself was changed"
    assert directory.sync.run().full_because == ""


def test_events_that_were_cleared_mean_reading_everything(directory: Directory) -> None:
    directory.realm.person("ann")
    directory.sync.run()
    directory.realm.person("bob")
    directory.realm.recorded.clear()
    assert directory.sync.run().full_because == "the last event that was followed is no longer kept"
    assert directory.kept.followed() is not None


def test_without_events_everything_is_read_now_and_then(directory: Directory) -> None:
    directory.realm.keeps_events = False
    directory.sync.run()
    directory.realm.person("ann", directory.realm.group("sales"))
    assert directory.run() == ["events are kept"]
    directory.now += FULL_WITHOUT_EVENTS
    assert directory.sync.run().full_because == "the realm keeps no events of its administrators"
    assert directory.holds("ann")


def test_once_a_day_everything_is_read(directory: Directory) -> None:
    directory.sync.run()
    directory.now += FULL_EVERY
    assert directory.sync.run().full_because == "a day has passed"
    assert directory.sync.run().full_because == ""


def test_what_a_shifted_page_leaves_out_is_asked_about(directory: Directory) -> None:
    directory.realm.person("ann", directory.realm.group("sales"))
    directory.sync.run()
    directory.realm.hidden = {"ann"}
    directory.sync.run(full=True)
    assert directory.holds("ann")


def test_a_process_that_starts_goes_on_where_the_last_one_ended(directory: Directory) -> None:
    sales = directory.realm.group("sales")
    directory.realm.person("ann", sales)
    directory.realm.person("bob", sales)
    directory.sync.run()
    directory.realm.leave("bob", sales)
    directory.sync = directory.anew()
    assert directory.run() == ["events are kept", "events", "account bob"]


def test_each_process_forgets_what_another_has_followed(directory: Directory) -> None:
    """Beside each other, each with answers of its own that an event ends early."""
    sales = directory.realm.group("sales")
    directory.realm.person("ann", sales)
    directory.sync.run()
    other_forgets: list[str | None] = []
    other = RealmSync(directory.realm, directory.kept, NAMES, other_forgets.append, lambda: directory.now)
    other.run()
    directory.realm.leave("ann", sales)
    for _ in range(3):
        directory.sync.run()
    other.run()
    assert directory.forgotten[-1] == other_forgets[-1] == user("acme", "ann")


def test_an_event_that_is_recorded_late_is_followed_all_the_same(directory: Directory) -> None:
    sales = directory.realm.group("sales")
    for each in ("ann", "bob"):
        directory.realm.person(each, sales)
    directory.sync.run()
    directory.realm.leave("ann", sales)
    late = directory.realm.recorded.pop()
    directory.realm.leave("bob", sales)
    directory.sync.run()
    directory.realm.recorded.insert(-1, late)
    assert directory.run()[-1] == "account ann"


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(hours=-1)])
@pytest.mark.parametrize("before", [0, 1])
def test_no_event_is_lost_or_read_twice_however_wrong_our_clock_is(
    directory: Directory, ahead: timedelta, before: int
) -> None:
    directory.realm.keeps_events = bool(before)
    sales = directory.realm.group("sales")
    directory.realm.person("ann", sales)
    directory.realm.keeps_events = True
    directory.now += ahead
    directory.sync.run()
    directory.realm.leave("ann", sales)
    assert directory.run() == ["events are kept", "events", "account ann"]
    assert directory.run() == ["events are kept", "events"]


def test_what_happens_while_events_are_worked_off_is_not_said_to_be_followed(directory: Directory) -> None:
    """People are read for minutes; the groups were read before."""
    began = directory.now
    directory.realm.person("ann")
    directory.sync.run()
    directory.realm.person("bob")
    account = directory.realm.account

    def slowly(subject: str) -> Account | None:
        directory.now += timedelta(minutes=5)
        return account(subject)

    directory.realm.account = slowly  # type: ignore[method-assign]
    directory.sync.run()
    followed = directory.kept.followed()
    assert directory.now > began
    assert followed is not None
    assert followed.followed_at == began


def test_a_sync_that_breaks_off_is_done_again(directory: Directory) -> None:
    sales = directory.realm.group("sales")
    directory.realm.person("ann", sales)
    directory.sync.run()
    directory.realm.leave("ann", sales)
    directory.realm.down = True
    with pytest.raises(Unavailable):
        directory.sync.run()
    directory.realm.down = False
    directory.sync.run()
    assert directory.holds("ann") == set()


def test_rm_08_a_right_that_cannot_be_written_leaves_its_holder_without_any(directory: Directory) -> None:
    directory.realm.person("ann", roles=("a\0b", "staff"))
    directory.sync.run()
    assert directory.holds("ann") == set()


def test_an_event_says_where_to_look_and_nothing_else() -> None:
    def work(*events: tuple[str, str, str]) -> tuple[bool, bool, bool, set[str]]:
        made = work_of([AdminEvent(str(n), n, *each) for n, each in enumerate(events)])
        return made.everything, made.groups, made.everybody, set(made.subjects)

    assert work() == (False, False, False, set())
    assert work(("USER_SESSION", "DELETE", "sessions/1")) == (False, False, False, set())
    assert work(("GROUP_MEMBERSHIP", "DELETE", "users/1/groups/2")) == (False, False, False, {"1"})
    assert work(("CLIENT_ROLE_MAPPING", "CREATE", "groups/2/role-mappings/clients/3")) == (False, False, True, set())
    assert work(("GROUP", "UPDATE", "groups")) == (False, True, False, set())
    assert work(("USER", "CREATE", "users")) == (False, False, False, set())


def test_a_watch_outlives_failures_and_tells_of_each_once(directory: Directory, caplog) -> None:  # type: ignore[no-untyped-def]
    watch = RealmWatch(directory.sync, 3600)
    directory.realm.down = True
    caplog.set_level("INFO")
    for _ in range(3):
        watch.once()
    directory.realm.down = False
    watch.once()
    told = [each.message for each in caplog.records]
    assert [each[:22] for each in told] == [
        "the directory does not",
        "the directory follows ",
        "directory: 0 groups, 0",
    ]


def test_a_watch_outlives_a_fault_of_our_own_and_tells_of_it(directory: Directory, caplog) -> None:  # type: ignore[no-untyped-def]
    followed = Event()
    directory.realm.broken = ZeroDivisionError("ours")
    watch = RealmWatch(directory.sync, 0.001)
    caplog.set_level("INFO")
    watch.once()
    assert "ZeroDivisionError: ours" in caplog.text
    ask = directory.realm.events_are_kept

    def heal() -> bool:
        followed.set()
        return ask()

    directory.realm.broken, directory.realm.events_are_kept = None, heal  # type: ignore[method-assign]
    watch.start()
    assert followed.wait(10)
    watch.stop()
    assert "follows the realm again" in caplog.text


def test_a_day_is_longer_than_the_time_without_events() -> None:
    assert FULL_EVERY > FULL_WITHOUT_EVENTS > timedelta()
    assert NAMES.subject(NAMES.user("f:1:ann")) == "f:1:ann"
    assert client_role("acme", "kustos", "x") != realm_role("acme", "x")
