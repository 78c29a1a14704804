"""What operators are told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import update

from api import reports
from rag.access.audit import Action, AuditRecord, Outcome, Purpose
from rag.bootstrap import open_records
from rag.settings import Settings
from rag.stores.catalog_audit import CatalogAudit
from rag.stores.catalog_schema import audit


def test_what_the_index_proposed_in_vain_is_told_of_the_last_24_hours(tmp_path: Path) -> None:
    records = open_records(replace(Settings(), home=tmp_path))
    log = CatalogAudit(records.catalog)
    for stale, hours_ago in ((100, 25), (3, 23), (2, 0)):
        purpose = Purpose(Action.SEARCH, f"{hours_ago} hours ago")
        log.record(AuditRecord(records.settings.tenant, "ann", "0", purpose, Outcome.NOTHING, (), stale))
        with records.catalog.writing() as connection:
            at = datetime.now(UTC) - timedelta(hours=hours_ago)
            connection.execute(update(audit).where(audit.c.request_id == purpose.request_id).values(at=at))
    assert reports.state(records)["stale_index_last_24_hours"] == 5
