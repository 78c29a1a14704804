"""What operators are told, as JSON, by a command or by a route. Counts and reasons, no titles and no texts."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from rag.access.explain import Explanation
from rag.bootstrap import Records
from rag.stores.catalog_audit import CatalogAudit


def state(records: Records) -> dict[str, Any]:
    """Sources and the index's lag, from the catalog alone, so that it can be asked beside a running service."""
    tenant, a_day_ago = records.settings.tenant, datetime.now(UTC) - timedelta(hours=24)
    return {
        "tenant": tenant,
        "sources": [{**asdict(each), "synced_at": _iso(each.synced_at)} for each in records.status.sources()],
        "passages": records.status.passages(),
        "index_tasks_open": records.status.open_tasks(),
        "stale_index_last_24_hours": CatalogAudit(records.catalog).stale_index(tenant, a_day_ago),
    }


def refusals(records: Records) -> list[dict[str, Any]]:
    """Every document that could not be read, with its reason."""
    return [{**asdict(each), "at": _iso(each.at)} for each in records.status.refusals()]


def explanation(told: Explanation) -> dict[str, Any]:
    """Why somebody may or may not read a document."""
    return {
        "document": told.document_id,
        "source": told.uri,
        "allowed": told.decision.allowed,
        "rule": told.decision.rule.value,
        "matched": list(told.decision.matched),
        "chains": [list(each) for each in told.chains],
        "allow": sorted(told.acl.allow),
        "deny": sorted(told.acl.deny),
        "origin": told.origin,
        "problem": told.problem,
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
