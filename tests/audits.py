"""An audit over a catalog with a key that tests know, and what they write into it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import text

from rag.access.audit import Act, Action, AuditRecord, Deed, Outcome, Purpose, Released
from rag.access.audit_chain import Seal
from rag.ports import AuditLog
from rag.stores.audit_notes import Notes
from rag.stores.catalog import Catalog
from rag.stores.catalog_audit import CatalogAudit
from rag.stores.catalog_audit_trail import AuditTrail

SEAL = Seal(b"the key of these tests, 32 bytes")
TENANT = "main"
ANN, BOB = "kc:r:user:ann", "kc:r:user:bob"
DOCUMENT, OTHER = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
NOW_S = 1_790_000_000.0
FINDING = Released(DOCUMENT, "v1", ("c1", "c2"))


def open_audit(catalog: Catalog, home: Path, **options: Any) -> CatalogAudit:
    return CatalogAudit(catalog, SEAL, Notes(home), **options)


def open_trail(catalog: Catalog, home: Path, tenant: str = TENANT) -> AuditTrail:
    return AuditTrail(catalog, SEAL, Notes(home), tenant)


def decision(
    subject: str = ANN,
    *released: Released,
    question: str | None = "who?",
    request_id: str = "request",
    **more: object,
) -> AuditRecord:
    outcome = Outcome.RELEASED if released else Outcome.NOTHING
    purpose = Purpose(Action.SEARCH, request_id, question, "model")
    return replace(AuditRecord(TENANT, subject, "rights", purpose, outcome, released), **more)


def deed(**more: object) -> Deed:
    return replace(Deed(TENANT, "sys:local-operator", Act.INGEST, "request", "share", detail={"files": 3}), **more)


def some(log: AuditLog, number: int = 6) -> None:
    for each in range(number):
        log.record(decision(ANN if each % 2 else BOB, FINDING, question=f"question {each}") if each % 3 else deed())


def sql(statement: str) -> Callable[[Catalog], None]:
    """Runs a statement on a catalog, behind the back of its audit."""

    def run(catalog: Catalog) -> None:
        with catalog.writing() as connection:
            connection.execute(text(statement))

    return run
