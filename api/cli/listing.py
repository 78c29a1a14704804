"""What operators and readers can list: states, refusals, readable documents, explanations."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from api.cli.connection import bearer, checked, connect
from api.identity import caller_of
from rag.bootstrap import open_records
from rag.errors import NotFound
from rag.settings import Settings
from rag.stores.catalog_audit import CatalogAudit

PAGE = 500


def readable(settings: Settings, who: str) -> list[dict[str, Any]]:
    """Every document that a sample account may read, by address."""
    found: list[dict[str, Any]] = []
    headers = bearer(settings, who)
    with connect(settings) as client:
        while True:
            after = found[-1]["source"] if found else ""
            reply = checked(client.get("/v1/documents", params={"after": after, "limit": PAGE}, headers=headers))
            page = reply.json()["documents"]
            found += page
            if len(page) < PAGE:
                return found


def refusals(settings: Settings) -> list[dict[str, Any]]:
    """Every document that could not be read, with its reason."""
    records = open_records(settings)
    return [{**asdict(each), "at": each.at.isoformat()} for each in records.status.refusals()]


def state(settings: Settings) -> dict[str, Any]:
    """Sources and the index's lag, from the catalog alone, so that it can be asked beside a running service."""
    records = open_records(settings)
    sources = [
        {**asdict(each), "synced_at": each.synced_at.isoformat(timespec="seconds") if each.synced_at else None}
        for each in records.status.sources()
    ]
    return {
        "tenant": settings.tenant,
        "sources": sources,
        "passages": records.status.passages(),
        "index_tasks_open": records.status.open_tasks(),
        "stale_index": CatalogAudit(records.catalog).stale_index(settings.tenant),
    }


def explanation(settings: Settings, document: str, who: str) -> dict[str, Any]:
    """Why a sample account may or may not read a document, named by its id or its address.

    Raises:
        NotFound: no such document.
    """
    caller = caller_of(settings, bearer(settings, who)["Authorization"].removeprefix("Bearer "))
    records = open_records(settings)
    identifier = document if "/" not in document else records.status.document_at(document)
    if identifier is None:
        raise NotFound(f"there is no document at {document!r}; list them with: kustos documents --as WHO")
    told = records.explainer.explain(caller, identifier)
    return {
        "document": told.document_id,
        "source": told.uri,
        "allowed": told.decision.allowed,
        "rule": told.decision.rule.value,
        "matched": list(told.decision.matched),
        "chains": [list(chain) for chain in told.chains],
        "allow": sorted(told.acl.allow),
        "deny": sorted(told.acl.deny),
        "origin": told.origin,
        "problem": told.problem,
    }
