"""Audit records as events of the Open Cybersecurity Schema Framework, class API Activity (6003), OCSF 1.3.

Kustos records no network address, so `src_endpoint`, which the class requires, names the service itself. `raw_data`
holds the sealed fields in their order: with them, `unmapped.mac` and the key, an export can be verified without the
catalog.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from rag.access.audit import Act, Outcome
from rag.access.audit_chain import SEALED, Entry

VERSION = "1.3.0"
CLASS, CATEGORY = 6003, 6
CREATE, READ, UPDATE, DELETE, OTHER = 1, 2, 3, 4, 99
INFORMATIONAL, MEDIUM = 1, 3
_ACTIVITIES: Mapping[str, int] = {
    Act.KEY_MADE: CREATE,
    Act.INGEST: UPDATE,
    Act.SOURCE_FORGOTTEN: DELETE,
    Act.DIRECTORY_CHANGED: UPDATE,
    Act.GRANT_PROPOSED: CREATE,
    Act.GRANT_CONFIRMED: UPDATE,
    Act.GRANT_REVOKED: DELETE,
    Act.KEY_REVOKED: DELETE,
    Act.AUDIT_PRUNED: DELETE,
    Act.PERSON_FORGOTTEN: DELETE,
    Act.TENANT_REMOVED: DELETE,
}
"""What is not reading."""
_SERIOUS: frozenset[str] = frozenset(
    {Act.GRANT_PROPOSED, Act.GRANT_CONFIRMED, Act.AUDIT_PRUNED, Act.PERSON_FORGOTTEN, Act.TENANT_REMOVED}
)
_STATUS: Mapping[str, int] = {Outcome.RELEASED: 1, Outcome.DONE: 1}
_fields = attrgetter(*SEALED)


def event(entry: Entry, names: Mapping[str, str], *, raw: bool = True) -> dict[str, Any]:
    """The record as an OCSF event.

    Args:
        names: subjects by pseudonym; who is not in it stays under the pseudonym.
        raw: with `raw_data`.
    """
    activity = _ACTIVITIES.get(entry.action, READ)
    serious = entry.grants != "[]" or entry.action in _SERIOUS
    told: dict[str, Any] = {
        "activity_id": activity,
        "category_uid": CATEGORY,
        "class_uid": CLASS,
        "type_uid": CLASS * 100 + activity,
        "severity_id": MEDIUM if serious else INFORMATIONAL,
        "time": entry.at_ms,
        "status_id": _STATUS.get(entry.outcome, OTHER),
        "status": entry.outcome,
        "metadata": {
            "version": VERSION,
            "product": {"name": "Kustos", "vendor_name": "Kustos"},
            "uid": f"{entry.tenant}:{entry.number}",
            "sequence": entry.number,
            "tenant_uid": entry.tenant,
        },
        "actor": {"user": {"uid": names.get(entry.person, entry.person)}},
        "api": {"operation": entry.action, "service": {"name": "kustos"}, "request": {"uid": entry.request_id}},
        "src_endpoint": {"svc_name": "kustos"},
        "resources": _resources(entry, names),
        "unmapped": _unmapped(entry),
    }
    return {**told, "raw_data": json.dumps(_fields(entry))} if raw else told


def _resources(entry: Entry, names: Mapping[str, str]) -> list[dict[str, Any]]:
    released = [
        {"uid": document, "type": "document", "version": version, "data": {"passages": chunks}}
        for document, version, chunks in json.loads(entry.released)
    ]
    if entry.about and not released:
        released.append({"uid": entry.about, "type": "asked for"})
    if entry.concerning:
        released.append({"uid": names.get(entry.concerning, entry.concerning), "type": "person"})
    return released


def _unmapped(entry: Entry) -> dict[str, Any]:
    found = {
        "mac": entry.mac,
        "principals_hash": entry.principals_hash,
        "question_hash": entry.question_hash,
        "stale_index": entry.stale_index,
        "model": entry.model,
        "grants": json.loads(entry.grants),
        "detail": json.loads(entry.detail),
    }
    return {name: value for name, value in found.items() if value}
