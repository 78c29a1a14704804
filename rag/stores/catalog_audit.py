"""The audit log in the catalog."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from sqlalchemy import func, insert, select

from rag.access.audit import AuditRecord
from rag.stores.catalog import Catalog
from rag.stores.catalog_schema import audit


class CatalogAudit:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def record(self, record: AuditRecord) -> None:
        """Writes one record before anything is released.

        Raises:
            StoreUnavailable: it could not be written; the release must not happen.
        """
        row = {
            "at": datetime.now(UTC),
            "tenant": record.tenant,
            "subject": record.subject,
            "principals_hash": record.principals_hash,
            "action": record.purpose.action.value,
            "question_hash": record.question_hash,
            "outcome": record.outcome.value,
            "released": json.dumps(record.released),
            "stale_index": record.stale_index,
            "model": record.purpose.model,
            "request_id": record.purpose.request_id,
        }
        with self._catalog.writing(durable=False) as connection:
            connection.execute(insert(audit), row)

    def stale_index(self, tenant: str, since: datetime) -> int:
        """How many candidates the index has proposed since then that the catalog refused; for operators."""
        statement = select(func.coalesce(func.sum(audit.c.stale_index), 0)).where(
            audit.c.tenant == tenant, audit.c.at >= since
        )
        with self._catalog.reading() as connection:
            return int(connection.execute(statement).scalar_one())
