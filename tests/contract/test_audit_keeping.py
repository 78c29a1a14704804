"""What of the audit may no longer be kept goes, and the chain of what stays still fits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from rag.access.audit import Act, Deed
from rag.access.audit_chain import DAY_MS, Verdict
from rag.errors import BadInput, NotAllowed
from rag.stores.catalog import Catalog
from rag.stores.catalog_audit import KeepText
from rag.stores.catalog_audit_keeping import AuditKeeping, By
from rag.stores.catalog_audit_trail import AuditTrail
from rag.stores.catalog_schema import audit_texts
from tests.audits import (
    ANN,
    BOB,
    FINDING,
    NOW_S,
    SEAL,
    TENANT,
    decision,
    open_audit,
    sql,
)

DAYS_OF_RECORDS = 5


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


@pytest.mark.parametrize("named", ["kc:r:user:auditor", "auditor", "x:user:auditor"])
def test_nobody_has_himself_forgotten(catalog, home, trail, keeping, named) -> None:
    log = open_audit(catalog, home)
    log.record(Deed(TENANT, BY.subject, Act.AUDIT_READ, "request"))
    before = trail.names()
    with pytest.raises(NotAllowed, match="another auditor"):
        keeping.forget(named, BY)
    assert keeping.forget(named.upper(), BY) == 0, "another name"
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
