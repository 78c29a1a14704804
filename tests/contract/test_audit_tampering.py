"""Whatever somebody changes in the audit who can write in the database and nowhere else is found."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.access.audit_chain import Entry, Mark, Seal
from rag.errors import Misconfigured
from rag.stores.audit_notes import Notes
from rag.stores.catalog import Catalog, sqlite_url
from rag.stores.catalog_audit import CatalogAudit
from rag.stores.catalog_audit_trail import AuditTrail
from rag.stores.catalog_schema import audit
from tests.audits import (
    TENANT,
    decision,
    open_audit,
    open_trail,
    some,
    sql,
)

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
