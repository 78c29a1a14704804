"""The audit log's contract, over the fake and over the catalog in SQLite and PostgreSQL; and what its chain withstands."""

from __future__ import annotations

import json
import multiprocessing
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from rag.access.audit import Act, Released
from rag.access.audit_chain import Seal
from rag.errors import Misconfigured, StoreUnavailable
from rag.ports import AuditLog
from rag.stores import catalog_audit_trail
from rag.stores.audit_notes import Notes, load_secret
from rag.stores.catalog import Catalog, sqlite_url
from rag.stores.catalog_audit import KeepText
from rag.stores.catalog_audit_trail import Seen
from rag.stores.catalog_schema import audit_people, audit_texts
from tests.audits import (
    ANN,
    BOB,
    DOCUMENT,
    FINDING,
    NOW_S,
    OTHER,
    TENANT,
    decision,
    deed,
    open_audit,
    open_trail,
    some,
)
from tests.fakes import MemoryAudit


@pytest.fixture(params=["memory", "catalog"])
def any_log(request, home) -> tuple[AuditLog, Callable[[], list[str]]]:
    """A log, and what tells which actions it has kept, sorted."""
    if request.param == "memory":
        memory = MemoryAudit()
        return memory, lambda: sorted(
            [*(each.purpose.action for each in memory.records), *(each.act for each in memory.deeds)]
        )
    catalog = Catalog.open(sqlite_url(home.parent / "c.db"))
    return open_audit(catalog, home), lambda: sorted(each.action for each in open_trail(catalog, home).entries())


# What a port has to do


def test_a_log_takes_decisions_and_deeds_one_after_the_other(any_log) -> None:
    log, kept = any_log
    some(log)
    assert kept() == sorted(["search"] * 4 + [deed().act] * 2)


def test_a_record_is_kept_with_everything_that_was_told_but_names_and_text(log, trail) -> None:
    log.record(decision(ANN, FINDING, Released(OTHER, "v2"), stale_index=3, about=DOCUMENT, grants=("g",)))
    (entry,) = trail.entries()
    assert json.loads(entry.released) == [[DOCUMENT, "v1", ["c1", "c2"]], [OTHER, "v2", []]]
    assert (entry.action, entry.outcome, entry.about, entry.stale_index) == ("search", "released", DOCUMENT, 3)
    assert (entry.at_ms, entry.model, entry.request_id, entry.grants) == (NOW_S * 1000, "model", "request", '["g"]')
    assert trail.names() == {entry.person: ANN}
    told = str(entry)
    assert not [each for each in ("who?", ANN, "rights") if each in told.replace("principals", "")]


def test_a_deed_is_kept_with_who_did_it_to_whom(log, trail) -> None:
    log.record(deed(act=Act.AUDIT_READ, about=None, concerning=ANN))
    (entry,) = trail.entries()
    assert (entry.person, entry.action, json.loads(entry.detail)) == ("sys:local-operator", "audit_read", {"files": 3})
    assert trail.names() == {entry.concerning: ANN}


def test_equal_questions_have_equal_hashes_that_nobody_can_try_out_without_the_key(log, trail, catalog, home) -> None:
    log.record(decision(ANN, question="who?"))
    log.record(decision(BOB, question="who?"))
    log.record(decision(BOB, question="what?"))
    first, second, third = (each.question_hash for each in trail.entries())
    assert first == second != third
    assert first != Seal(b"another key that has 32 letters..").content("who?")


def test_records_of_one_tenant_are_numbered_from_one(log, catalog, home) -> None:
    for tenant in ("main", "other", "main"):
        log.record(replace(decision(), tenant=tenant))
    assert [each.number for each in open_trail(catalog, home).entries()] == [1, 2]
    assert [each.number for each in open_trail(catalog, home, "other").entries()] == [1]
    assert open_trail(catalog, home, "other").verify().intact


def test_entries_of_a_span_of_time(catalog, home, trail) -> None:
    for second in range(5):
        open_audit(catalog, home, clock=lambda at=second: float(at)).record(decision())
    assert [each.at_ms for some in trail.portions(1_000, 3_000) for each in some] == [1_000, 2_000]


def test_what_the_index_proposed_in_vain_is_counted_for_one_tenant_since_a_moment(catalog, home, trail) -> None:
    now = datetime.fromtimestamp(NOW_S, UTC)
    for tenant, stale, hours_ago in ((TENANT, 100, 25), (TENANT, 3, 23), (TENANT, 2, 0), ("other", 10, 0)):
        at = open_audit(catalog, home, clock=lambda ago=hours_ago: NOW_S - 3_600 * ago)
        at.record(replace(decision(stale_index=stale), tenant=tenant))
    assert trail.stale_index(datetime.fromtimestamp(NOW_S - 24 * 3_600, UTC)) == 5
    assert trail.stale_index(datetime.fromtimestamp(now.timestamp() + 1, UTC)) == 0


# Names


def test_the_same_person_has_one_pseudonym_a_day_and_another_one_the_next(catalog, home, trail) -> None:
    for at in (NOW_S, NOW_S, NOW_S + 86_400):
        open_audit(catalog, home, clock=lambda at=at: at).record(decision())
    first, second, third = trail.entries()
    assert first.person == second.person != third.person
    assert first.principals_hash == second.principals_hash != third.principals_hash
    assert set(trail.names().values()) == {ANN}


def test_names_are_forgotten_after_their_days_and_the_chain_still_fits(catalog, home, trail) -> None:
    for day in range(4):
        log = open_audit(catalog, home, names_days=2, clock=lambda day=day: NOW_S + 86_400 * day)
        log.record(decision(ANN, FINDING, request_id=f"of day {day}"))
    named = trail.names()
    assert [each.person in named for each in trail.entries()] == [False, True, True, True]
    assert [(each.who == ANN, each.times) for each in trail.who_saw(DOCUMENT).sights] == [(False, 1), (True, 3)]
    assert trail.verify().intact


def test_a_name_exchanged_for_another_is_found(log, trail, catalog) -> None:
    some(log)
    with catalog.writing() as connection:
        connection.execute(update(audit_people).where(audit_people.c.subject == ANN).values(subject="kc:r:user:eve"))
    verdict = trail.verify()
    assert [each.number for each in verdict.faults] == [2]
    assert "name behind" in verdict.faults[0].what


# Text


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        (KeepText.OFF, []),
        (KeepText.QUESTION, [{"question": "who\0 \ud800?"}]),
        (KeepText.PASSAGES, [{"question": "who\0 \ud800?", "passages": ["a passage"]}]),
    ],
)
def test_text_is_kept_only_where_the_settings_say_so_and_can_go_without_a_trace_in_the_chain(
    catalog, home, trail, keep, kept
) -> None:
    log = open_audit(catalog, home, keep_text=keep)
    log.record(decision(ANN, FINDING, question="who\0 \ud800?", texts=("a passage",)))
    with catalog.writing() as connection:
        assert [json.loads(each) for each in connection.execute(select(audit_texts.c.text)).scalars()] == kept
        everything = str(connection.execute(text("SELECT * FROM audit")).all())
        assert "passage" not in everything
        assert "who" not in everything
    assert trail.verify().intact
    with catalog.writing() as connection:
        connection.execute(audit_texts.delete())
    assert trail.verify().intact


def test_a_kept_text_that_was_changed_is_found(catalog, home, trail) -> None:
    open_audit(catalog, home, keep_text=KeepText.QUESTION).record(decision())
    with catalog.writing() as connection:
        connection.execute(update(audit_texts).values(text='{"question": "whom?"}'))
    assert [(each.number, "text" in each.what) for each in trail.verify().faults] == [(1, True)]


# Who saw what


def test_more_than_is_looked_at_at_once_is_asked_for_by_where_it_begins(catalog, home, trail, monkeypatch) -> None:
    monkeypatch.setattr(catalog_audit_trail, "MOST_RELEASES", 4)
    log = open_audit(catalog, home)
    for each in range(5):
        log.record(decision(ANN, FINDING, Released(OTHER, "v1"), request_id=f"request {each}"))
    for ask, documents in ((trail.who_saw, [DOCUMENT]), (trail.what_saw, [DOCUMENT, OTHER])):
        about, after, seen = (DOCUMENT if ask == trail.who_saw else ANN), 0, []
        while after is not None:
            part = ask(about, after)
            seen.append([(each.document, each.times) for each in part.sights])
            after = part.next
        assert seen == [[(each, times) for each in documents] for times in (2, 2, 1)]


def test_who_saw_a_document_and_what_a_person_saw(catalog, home, trail) -> None:
    for at, subject, released in (
        (1.0, ANN, (FINDING, Released(OTHER, "v1", ("x",)))),
        (2.0, BOB, (Released(DOCUMENT, "v2"),)),
        (3.0, ANN, (Released(DOCUMENT, "v2", ("c2", "c3")),)),
        (4.0, ANN, ()),
    ):
        open_audit(catalog, home, clock=lambda at=at: at).record(
            decision(subject, *released, request_id=f"request {at}")
        )
    ann, bob = trail.who_saw(DOCUMENT).sights
    assert (ann.who, ann.times, ann.first_ms, ann.last_ms) == (ANN, 2, 1_000, 3_000)
    assert (list(ann.versions), ann.passages) == (["v1", "v2"], {"c1", "c2", "c3"})
    assert (bob.who, bob.times, bob.passages) == (BOB, 1, set())
    assert [(each.document, each.times) for each in trail.what_saw(ANN).sights] == [(DOCUMENT, 2), (OTHER, 1)]
    assert [each.times for each in trail.who_saw(DOCUMENT, after=2).sights] == [1]
    assert trail.what_saw(ANN.rpartition(":")[2]) == trail.what_saw(ANN)
    assert trail.what_saw(ANN.rpartition(":")[2].upper()) == trail.what_saw(ANN[1:]) == Seen([])
    assert trail.who_saw("%") == trail.what_saw("kc:r:user:nobody") == Seen([])


def test_a_request_that_leaves_several_records_counts_once(catalog, home, trail) -> None:
    later = Released(DOCUMENT, "v2", ("c3",))
    for at, request_id, released in ((1.0, "one", FINDING), (2.0, "one", later), (3.0, "two", FINDING)):
        log = open_audit(catalog, home, clock=lambda at=at: at)
        log.record(decision(ANN, released, request_id=request_id))
    (seen,) = trail.who_saw(DOCUMENT).sights
    assert (seen.times, seen.first_ms, seen.last_ms) == (2, 1_000, 3_000)
    assert (list(seen.versions), seen.passages) == (["v1", "v2"], {"c1", "c2", "c3"})
    assert trail.what_saw(ANN).sights == [seen]


# Several writers, crashes, faults


def test_threads_and_replicas_write_one_chain(catalog, catalog_url, home, tmp_path, trail) -> None:
    with closing(Catalog.open(catalog_url)) as other:
        logs = [open_audit(catalog, home), open_audit(other, tmp_path / "another home")]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: logs[number % 2].record(decision(f"kc:r:user:{number % 5}")), range(60)))
        verdict = trail.verify()
        assert (verdict.intact, verdict.records) == (True, 60)
        assert open_trail(other, tmp_path / "another home").verify().intact


def write(url: str, home: Path, number: int) -> None:
    with closing(Catalog.open(url)) as catalog:
        for _ in range(number):
            open_audit(catalog, home).record(decision())


def test_processes_write_one_chain(catalog_url, catalog, home, trail) -> None:
    spawning = multiprocessing.get_context("spawn")
    processes = [spawning.Process(target=write, args=(catalog_url, home, 10)) for _ in range(3)]
    for each in processes:
        each.start()
    for each in processes:
        each.join()
    verdict = trail.verify()
    assert (verdict.intact, verdict.records) == (True, 30)


def write_for_ever(url: str, home: Path, written: Connection) -> None:
    with closing(Catalog.open(url)) as catalog:
        log = open_audit(catalog, home)
        while True:
            log.record(decision())
            written.send(1)


def test_ft_06_a_writer_killed_in_the_middle_leaves_a_chain_that_fits(catalog_url, catalog, home, trail) -> None:
    spawning = multiprocessing.get_context("spawn")
    receiving, sending = spawning.Pipe(duplex=False)
    process = spawning.Process(target=write_for_ever, args=(catalog_url, home, sending))
    process.start()
    for _ in range(25):
        receiving.recv()
    process.kill()
    process.join()
    verdict = trail.verify()
    assert verdict.intact
    assert verdict.records >= 25
    some(open_audit(catalog, home), 2)
    assert trail.verify().intact


def test_a_crash_before_the_note_leaves_a_chain_that_fits(catalog, log, trail, home, monkeypatch) -> None:
    some(log, 3)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Notes, "advance", crash)
    with pytest.raises(KeyboardInterrupt):
        log.record(decision())
    monkeypatch.undo()
    assert trail.verify().intact
    some(open_audit(catalog, home), 2)
    assert (trail.verify().intact, trail.verify().records) == (True, 6)


def test_a_transaction_that_fails_leaves_no_record_and_no_note(catalog, log, trail) -> None:
    some(log, 2)

    def fail() -> None:
        with catalog.writing() as connection:
            log.append(connection, decision())
            connection.execute(text("SELECT * FROM nowhere"))

    with pytest.raises(StoreUnavailable):
        fail()
    assert (trail.verify().intact, trail.head().number) == (True, 2)


def test_ft_05_a_locked_catalog_releases_nothing(tmp_path, home) -> None:
    with closing(Catalog.open(sqlite_url(tmp_path / "c.db"))) as catalog:
        log = open_audit(catalog, home)
        log.record(decision())
        with catalog.writing() as connection:
            connection.execute(text("PRAGMA busy_timeout=0"))
        with closing(sqlite3.connect(tmp_path / "c.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable):
                log.record(decision())
        log.record(decision())
        assert open_trail(catalog, home).verify().records == 2


def test_ft_08_a_full_disk_releases_nothing(tmp_path, home) -> None:
    with closing(Catalog.open(sqlite_url(tmp_path / "c.db"))) as catalog:
        log = open_audit(catalog, home)
        log.record(decision())
        with catalog.writing() as connection:
            pages = connection.execute(text("PRAGMA page_count")).scalar_one()
            connection.execute(text(f"PRAGMA max_page_count={pages}"))
        with pytest.raises(StoreUnavailable, match="full"):
            log.record(decision(ANN, *[FINDING] * 5_000))
        assert open_trail(catalog, home).verify().intact


def test_ft_08_a_note_that_cannot_be_written_releases_nothing(log, home) -> None:
    log.record(decision())
    log._notes.close()
    (home / "audit" / "main.head").unlink()
    (home / "audit" / "main.head").mkdir()
    with pytest.raises(StoreUnavailable, match="note"):
        log.record(decision())


@pytest.mark.parametrize("text", [b"1", b"x" * 86, b"\xff" * 86])
def test_a_spoilt_note_is_no_empty_one(log, home, trail, text) -> None:
    log.record(decision())
    (home / "audit" / "main.head").write_bytes(text)
    with pytest.raises(StoreUnavailable, match="note"):
        trail.verify()
    with pytest.raises(StoreUnavailable, match="note"):
        log.record(decision())


# The key


def test_the_key_is_made_once_for_its_owner_alone(tmp_path) -> None:
    secret = load_secret(tmp_path, "")
    assert load_secret(tmp_path, "") == secret
    assert len(secret) >= 32
    assert (tmp_path / "audit" / "key").stat().st_mode & 0o077 == 0


def test_tv_25_a_key_that_can_be_guessed_is_refused(tmp_path) -> None:
    with pytest.raises(Misconfigured, match="KUSTOS_AUDIT_KEY"):
        load_secret(tmp_path, "changeme")
