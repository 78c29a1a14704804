"""What a running service does by itself each day."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from api import upkeep
from rag.access.audit import Act, Deed
from rag.access.principals import realm_role, user
from rag.bootstrap import open_records
from rag.errors import StoreUnavailable
from rag.settings import Settings


@pytest.fixture
def records(tmp_path):
    opened = open_records(Settings(home=tmp_path / "home", audit_days=1))
    yield opened
    opened.close()


def test_old_records_are_removed_as_the_settings_say(records) -> None:
    records.audit._clock = lambda: 1_000_000.0
    for _ in range(3):
        records.audit.record(Deed("main", "sys:local-operator", Act.INGEST, "request"))
    upkeep.keep_audit(replace(records, settings=replace(records.settings, audit_days=0)))
    assert records.trail.verify().records == 3
    upkeep.keep_audit(records)
    assert [each.action for each in records.trail.entries()] == ["ingest", "audit_pruned"]
    assert records.trail.verify().intact


def test_a_catalog_that_does_not_answer_is_told_in_the_log_and_nothing_else_happens(
    records, monkeypatch, caplog
) -> None:
    def fail(*_: object) -> int:
        raise StoreUnavailable("the catalog does not answer")

    monkeypatch.setattr(type(records.keeping), "expire", fail)
    upkeep.keep_audit(records)
    assert "does not answer" in caplog.text


def test_it_is_done_at_once_and_ends_with_the_service() -> None:
    done = threading.Event()
    with upkeep.every_day(done.set):
        assert done.wait(10)
    assert "upkeep" not in {each.name for each in threading.enumerate()}


def test_it_is_done_again_the_next_day(monkeypatch) -> None:
    monkeypatch.setattr(upkeep, "DAY_S", 0.001)
    again, times = threading.Event(), []

    def work() -> None:
        times.append(1)
        if len(times) == 3:
            again.set()

    with upkeep.every_day(work):
        assert again.wait(10)


def test_a_fault_of_our_own_does_not_end_the_days_to_come(monkeypatch, caplog) -> None:
    monkeypatch.setattr(upkeep, "DAY_S", 0.001)
    again, times = threading.Event(), []

    def work() -> None:
        times.append(1)
        if len(times) == 3:
            again.set()
        raise ZeroDivisionError("ours")

    with upkeep.every_day(work):
        assert again.wait(10)
    assert "ZeroDivisionError: ours" in caplog.text


def test_history_that_ended_long_ago_is_forgotten_as_the_settings_say(records) -> None:
    ann, staff = user("acme", "ann"), realm_role("acme", "staff")
    records.realm.set_people({ann: {staff}})
    held = records.history.now()
    records.realm.set_people({ann: frozenset()})
    upkeep.keep_history(records)
    assert records.history.memberships({ann}, held) == {(ann, staff)}
    upkeep.keep_history(replace(records, settings=replace(records.settings, history_days=0)))
    assert records.history.memberships({ann}, held) == set()
