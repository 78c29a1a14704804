"""The audit log's contract, over the fake and over the catalog in SQLite and PostgreSQL; and what its chain withstands."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text, update

from rag.access.audit import Act, Action, AuditRecord, Deed, Outcome, Purpose, Released
from rag.access.audit_chain import DAY_MS, Entry, Mark, Seal, Verdict
from rag.errors import BadInput, Misconfigured, NotAllowed, StoreUnavailable
from rag.ports import AuditLog
from rag.stores import catalog_audit_trail
from rag.stores.audit_notes import Notes, load_secret
from rag.stores.catalog import Catalog, sqlite_url
from rag.stores.catalog_audit import CatalogAudit, KeepText
from rag.stores.catalog_audit_keeping import AuditKeeping, By
from rag.stores.catalog_audit_trail import AuditTrail, Seen
from rag.stores.catalog_schema import audit, audit_people, audit_texts
from tests.audits import SEAL, TENANT, open_audit, open_trail
from tests.fakes import MemoryAudit

ANN, BOB = "kc:r:user:ann", "kc:r:user:bob"
DOCUMENT, OTHER = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
NOW_S = 1_790_000_000.0
DAYS_OF_RECORDS = 5
FINDING = Released(DOCUMENT, "v1", ("c1", "c2"))


def decision(subject: str = ANN, *released: Released, question: str | None = "who?", **more: object) -> AuditRecord:
    outcome = Outcome.RELEASED if released else Outcome.NOTHING
    purpose = Purpose(Action.SEARCH, "request", question, "model")
    return replace(AuditRecord(TENANT, subject, "rights", purpose, outcome, released), **more)


def deed(**more: object) -> Deed:
    return replace(Deed(TENANT, "sys:local-operator", Act.INGEST, "request", "share", detail={"files": 3}), **more)


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def log(catalog: Catalog, home: Path) -> CatalogAudit:
    return open_audit(catalog, home, clock=lambda: NOW_S)


@pytest.fixture
def trail(catalog: Catalog, home: Path) -> AuditTrail:
    return open_trail(catalog, home)


@pytest.fixture(params=["memory", "catalog"])
def any_log(request, home) -> AuditLog:
    if request.param == "memory":
        return MemoryAudit()
    return open_audit(Catalog.open(sqlite_url(home.parent / "c.db")), home)


def some(log: AuditLog, number: int = 6) -> None:
    for each in range(number):
        log.record(decision(ANN if each % 2 else BOB, FINDING, question=f"question {each}") if each % 3 else deed())


# What a port has to do


def test_a_log_takes_decisions_and_deeds_one_after_the_other(any_log) -> None:
    some(any_log)


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
    assert [each.at_ms for each in trail.entries(1_000, 3_000)] == [1_000, 2_000]


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
        log.record(decision(ANN, FINDING))
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
    for _ in range(5):
        log.record(decision(ANN, FINDING, Released(OTHER, "v1")))
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
        open_audit(catalog, home, clock=lambda at=at: at).record(decision(subject, *released))
    ann, bob = trail.who_saw(DOCUMENT).sights
    assert (ann.who, ann.times, ann.first_ms, ann.last_ms) == (ANN, 2, 1_000, 3_000)
    assert (list(ann.versions), ann.passages) == (["v1", "v2"], {"c1", "c2", "c3"})
    assert (bob.who, bob.times, bob.passages) == (BOB, 1, set())
    assert [(each.document, each.times) for each in trail.what_saw(ANN).sights] == [(DOCUMENT, 2), (OTHER, 1)]
    assert [each.times for each in trail.who_saw(DOCUMENT, after=2).sights] == [1]
    assert trail.who_saw("%") == trail.what_saw("kc:r:user:nobody") == Seen([])


# Tampering: whatever somebody does who can write in the database and nowhere else


def sql(statement: str) -> Callable[[Catalog], None]:
    def run(catalog: Catalog) -> None:
        with catalog.writing() as connection:
            connection.execute(text(statement))

    return run


COLUMNS = {
    "tenant": "'other'",
    "number": "number + 100",
    "at_ms": "at_ms + 1",
    "person": "'somebody'",
    "action": "'list'",
    "outcome": "'nothing'",
    "about": "'x'",
    "concerning": "'x'",
    "principals_hash": "'0'",
    "question_hash": "NULL",
    "text_hash": "'0'",
    "released": "'[]'",
    "stale_index": "7",
    "model": "NULL",
    "grants": "'[1]'",
    "detail": "'{\"a\": 1}'",
    "request_id": "''",
    "mac": "'" + "0" * 64 + "'",
}
FORGED = "INSERT INTO audit SELECT {columns} FROM audit WHERE number = 5"
SWAP = """
    UPDATE audit SET person = (SELECT person FROM audit AS o WHERE o.number = 11 - audit.number),
        action = (SELECT action FROM audit AS o WHERE o.number = 11 - audit.number),
        mac = (SELECT mac FROM audit AS o WHERE o.number = 11 - audit.number) WHERE number IN (5, 6)"""


def inserted(number: str) -> str:
    return FORGED.format(columns=", ".join(number if name == "number" else name for name in COLUMNS))


TAMPERING = {
    **{f"change {name}": (sql(f"UPDATE audit SET {name} = {value} WHERE number = 5"), 5) for name, value in COLUMNS.items()},
    "delete one": (sql("DELETE FROM audit WHERE number = 5"), 5),
    "delete the first": (sql("DELETE FROM audit WHERE number = 1"), 1),
    "delete and close the gap": (
        lambda catalog: [sql(each)(catalog) for each in (
            "DELETE FROM audit WHERE number = 5", "UPDATE audit SET number = number - 1 WHERE number = 6"
        )],
        5,
    ),
    "cut off the end": (sql("DELETE FROM audit WHERE number > 4"), 5),
    "cut off the last": (sql("DELETE FROM audit WHERE number = 9"), 9),
    "remove everything": (sql("DELETE FROM audit"), 1),
    "append": (sql(inserted("10")), 10),
    "insert before the first": (sql(inserted("0")), 0),
    "swap": (sql(SWAP), 5),
    "say that the beginning was removed": (
        lambda catalog: [sql(each)(catalog) for each in (
            "UPDATE audit_chains SET cut_number = 4, cut_mac = (SELECT mac FROM audit WHERE number = 4), "
            "cut_proof = '" + "0" * 64 + "'",
            "DELETE FROM audit WHERE number <= 4",
        )],
        0,
    ),
    "forget that there is a chain": (
        lambda catalog: [sql(f"DELETE FROM {each}")(catalog) for each in ("audit", "audit_chains", "audit_people")], 1
    ),
}  # fmt: skip


def test_every_column_is_tampered_with() -> None:
    assert tuple(COLUMNS) == Entry.__slots__ == tuple(column.name for column in audit.columns)


@pytest.mark.parametrize("tampering", TAMPERING)
def test_sc_18_whatever_is_changed_in_the_database_is_found_and_the_first_record_named(
    catalog, log, trail, tampering
) -> None:
    some(log, 9)
    untouched = trail.verify()
    assert (untouched.intact, untouched.records, untouched.head.number) == (True, 9, 9)
    change, first = TAMPERING[tampering]
    change(catalog)
    assert min(each.number for each in trail.verify().faults) == first


def test_a_chain_put_back_from_a_backup_and_continued_keeps_its_gap(catalog, home, trail) -> None:
    log = open_audit(catalog, home)
    some(log, 6)
    sql("DELETE FROM audit WHERE number > 3")(catalog)
    assert [each.what for each in trail.verify().faults] == ["records 4 to 6 are missing at the end"]
    some(open_audit(catalog, home), 2)  # as the service does when it is started again
    assert [each.number for each in trail.entries()] == [1, 2, 3, 7, 8]
    assert [each.what for each in trail.verify().faults] == ["records 4 to 6 are missing"]


def test_a_running_service_notices_too_that_the_end_is_gone(catalog, log, trail) -> None:
    some(log, 6)
    sql("DELETE FROM audit WHERE number > 3")(catalog)
    some(log, 1)
    assert [each.what for each in trail.verify().faults] == ["records 4 to 6 are missing"]


def test_who_has_lost_the_note_can_bring_a_mark_that_was_kept_elsewhere(catalog, log, trail, home) -> None:
    some(log, 6)
    kept = trail.head()
    (home / "audit" / "main.head").unlink()
    sql("DELETE FROM audit WHERE number > 3")(catalog)
    fresh = open_trail(catalog, home)
    assert fresh.verify().intact
    assert [each.number for each in fresh.verify(kept).faults] == [4]
    assert [each.number for each in fresh.verify(Mark(2, "0" * 64)).faults] == [2]


def test_another_key_fits_nowhere_and_adds_nothing(catalog, log, home) -> None:
    some(log, 2)
    other = Seal(b"another key that has 32 letters..")
    assert [each.number for each in AuditTrail(catalog, other, Notes(home), TENANT).verify().faults] == [1, 2, 2]
    with pytest.raises(Misconfigured, match="KUSTOS_AUDIT_KEY"):
        CatalogAudit(catalog, other, Notes(home)).record(decision())
    with pytest.raises(Misconfigured, match="KUSTOS_AUDIT_KEY"):
        CatalogAudit(catalog, other, Notes(home)).check_key(TENANT)


VALUES = st.one_of(st.none(), st.integers(-(2**31), 2**31), st.text(max_size=8), st.binary(max_size=8))


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> Path:
    """A catalog without anything, to be copied."""
    folder = tmp_path_factory.mktemp("empty")
    Catalog.open(sqlite_url(folder / "c.db")).close()
    return folder


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_tampering_at_all_is_found(tmp_path_factory, empty, data) -> None:
    """Straight through SQLite, which takes any value in any column."""
    folder = tmp_path_factory.mktemp("tampered")
    shutil.copy(empty / "c.db", folder)
    with closing(Catalog.open(sqlite_url(folder / "c.db"))) as catalog:
        some(open_audit(catalog, folder), data.draw(st.integers(1, 6)))
        with closing(sqlite3.connect(folder / "c.db")) as raw:
            before = raw.execute("SELECT * FROM audit ORDER BY number").fetchall()
            for _ in range(data.draw(st.integers(1, 3))):
                _tamper(raw, data)
            after = raw.execute("SELECT * FROM audit ORDER BY number").fetchall()
            raw.commit()
        assert open_trail(catalog, folder).verify().intact is (_types(before) == _types(after))


def _tamper(raw: sqlite3.Connection, data: st.DataObject) -> None:
    number = data.draw(st.integers(1, 7))
    match data.draw(st.sampled_from(["change", "delete", "copy"])):
        case "change":
            column = data.draw(st.sampled_from(sorted(COLUMNS)))
            raw.execute(f"UPDATE OR IGNORE audit SET {column} = ? WHERE number = ?", (data.draw(VALUES), number))
        case "delete":
            raw.execute("DELETE FROM audit WHERE number = ?", (number,))
        case "copy":
            to = data.draw(st.integers(-1, 9))
            columns = ", ".join(str(to) if name == "number" else name for name in COLUMNS)
            raw.execute(f"INSERT OR IGNORE INTO audit SELECT {columns} FROM audit WHERE number = ?", (number,))


def _types(rows: list[tuple[object, ...]]) -> list[list[tuple[type, object]]]:
    return [[(type(each), each) for each in row] for row in rows]


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


# What may no longer be kept


@pytest.fixture
def keeping(catalog: Catalog, home: Path, trail: AuditTrail) -> AuditKeeping:
    log = open_audit(catalog, home, clock=lambda: NOW_S + 86_400 * 5)
    return AuditKeeping(
        catalog, SEAL, log, trail, TENANT, least_days=30, clock=lambda: NOW_S + 86_400 * (30 + DAYS_OF_RECORDS)
    )


BY = By("kc:r:user:auditor", "request")


def test_nobody_removes_by_hand_what_is_young(catalog, home, trail, keeping) -> None:
    """An auditor could otherwise remove what he has just looked at."""
    days_of_records(catalog, home)
    with pytest.raises(BadInput, match="KUSTOS_AUDIT_PRUNE_DAYS"):
        keeping.prune(day_ms(DAYS_OF_RECORDS) + 1, BY)
    assert [each.number for each in trail.entries()] == [1, 2, 3, 4, 5]
    assert keeping.prune(day_ms(DAYS_OF_RECORDS), BY) == 4
    assert keeping.expire(day_ms(DAYS_OF_RECORDS) + DAY_MS * 30, names_days=0, records_days=1) == 1, "the settings may"


@pytest.mark.parametrize("named", ["kc:r:user:auditor", "auditor", "AUDITOR"])
def test_nobody_has_himself_forgotten(catalog, home, trail, keeping, named) -> None:
    log = open_audit(catalog, home)
    log.record(Deed(TENANT, BY.subject, Act.AUDIT_READ, "request"))
    before = trail.names()
    if catalog.is_sqlite or named != "AUDITOR":  # SQLite takes capitals for small letters here
        with pytest.raises(NotAllowed, match="another auditor"):
            keeping.forget(named, BY)
    else:
        assert keeping.forget(named, BY) == 0
    assert set(before.values()) <= set(trail.names().values())
    assert keeping.forget("auditor", By("kc:r:user:other", "request")) >= 1


def days_of_records(catalog: Catalog, home: Path, number: int = DAYS_OF_RECORDS) -> None:
    for day in range(number):
        open_audit(catalog, home, clock=lambda day=day: NOW_S + 86_400 * day).record(decision(ANN, FINDING))


def day_ms(number: int) -> int:
    return int(NOW_S * 1000) + DAY_MS * number


def test_what_is_pruned_is_gone_and_the_chain_begins_at_a_mark_of_ours(catalog, home, trail, keeping) -> None:
    days_of_records(catalog, home)
    assert keeping.prune(day_ms(3), BY) == 3
    verdict = trail.verify()
    assert (verdict.intact, verdict.begins_after, [each.number for each in trail.entries()]) == (True, 3, [4, 5, 6])
    assert len(trail.names()) == 3
    assert keeping.prune(day_ms(3), BY) == 0


def test_the_last_record_stays_so_that_the_next_can_follow(catalog, home, trail, keeping) -> None:
    days_of_records(catalog, home, 2)
    assert keeping.prune(day_ms(DAYS_OF_RECORDS), BY) == 1
    days_of_records(catalog, home, 1)
    assert (trail.verify().intact, trail.verify().begins_after) == (True, 1)


def test_a_pruning_that_broke_off_is_finished_by_the_next(catalog, home, trail, keeping, monkeypatch) -> None:
    days_of_records(catalog, home)
    monkeypatch.setattr(AuditKeeping, "_remove", lambda *_: 0)
    keeping.prune(day_ms(3), BY)
    monkeypatch.undo()
    assert "are removed" in trail.verify().faults[0].what
    assert keeping.prune(day_ms(3), BY) == 3
    assert trail.verify().intact


@pytest.mark.parametrize(
    "forged",
    [
        "UPDATE audit_chains SET cut_number = 4, cut_mac = (SELECT mac FROM audit WHERE number = 4)",
        "UPDATE audit_chains SET cut_number = 0, cut_proof = ''",
        "DELETE FROM audit_chains",
    ],
)
def test_a_mark_of_what_was_removed_cannot_be_moved(catalog, home, trail, keeping, forged) -> None:
    days_of_records(catalog, home)
    keeping.prune(day_ms(3), BY)
    sql(forged)(catalog)
    sql("DELETE FROM audit WHERE number <= 4")(catalog)
    assert not trail.verify().intact


def test_of_two_prunings_at_once_the_later_mark_stays(catalog, home, trail, keeping, monkeypatch) -> None:
    days_of_records(catalog, home)
    verify = AuditTrail.verify

    def meanwhile(self: AuditTrail) -> Verdict:
        monkeypatch.undo()
        keeping.prune(day_ms(4), BY)  # another replica, a day's records ahead
        return verify(self)

    monkeypatch.setattr(AuditTrail, "verify", meanwhile)
    keeping.prune(day_ms(3), BY)
    verdict = trail.verify()
    assert (verdict.intact, verdict.begins_after) == (True, 4)


def test_pruning_does_not_hide_what_was_tampered_with(catalog, home, trail, keeping) -> None:
    days_of_records(catalog, home)
    sql("UPDATE audit SET person = 'somebody' WHERE number = 2")(catalog)
    keeping.prune(day_ms(3), BY)
    pruned = next(each for each in trail.entries() if each.action == Act.AUDIT_PRUNED)
    assert json.loads(pruned.detail) == {"before_ms": day_ms(3), "faults": 1, "through": 3}


def test_who_is_forgotten_has_no_name_and_no_text_any_more(catalog, home, trail, keeping) -> None:
    log = open_audit(catalog, home, keep_text=KeepText.QUESTION)
    for subject in (ANN, BOB):
        log.record(decision(subject, FINDING))
    assert keeping.forget("ann", BY) == 1
    assert set(trail.names().values()) == {BOB, BY.subject}
    with catalog.reading() as connection:
        assert connection.execute(select(audit_texts.c.number)).scalars().all() == [2]
    assert trail.verify().intact
    log.record(decision(ANN, FINDING))
    assert [each.times for each in trail.what_saw("ann").sights] == [1]


def test_what_the_settings_promise_is_done_each_day(catalog, home, trail, keeping) -> None:
    days_of_records(catalog, home)
    assert keeping.expire(day_ms(5), names_days=2, records_days=0) == 0
    assert len(trail.names()) == 2
    assert keeping.expire(day_ms(5), names_days=2, records_days=3) == 2
    assert (trail.verify().intact, trail.verify().begins_after) == (True, 2)
