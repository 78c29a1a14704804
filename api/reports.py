"""What operators are told, as JSON, by a command or by a route. Counts and reasons, no titles and no texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from rag.access.audit_chain import Verdict
from rag.access.break_glass import Grant
from rag.access.explain import Explanation
from rag.access.principals import Principal
from rag.bootstrap import Records
from rag.errors import RefusalReason
from rag.stores.catalog_audit_trail import Sight
from rag.stores.catalog_status import PARTLY_READ


def state(records: Records) -> dict[str, Any]:
    """Sources and the index's lag, from the catalog alone, so that it can be asked beside a running service."""
    tenant, a_day_ago = records.settings.tenant, datetime.now(UTC) - timedelta(hours=24)
    return {
        "tenant": tenant,
        "sources": [{**asdict(each), "synced_at": _iso(each.synced_at)} for each in records.status.sources()],
        "passages": records.status.passages(),
        "index_tasks_open": records.status.open_tasks(),
        "audit_records_that_syslog_missed": records.syslog.lost if records.syslog else None,
        "stale_index_last_24_hours": records.trail.stale_index(a_day_ago),
    }


ADVICE = {
    RefusalReason.ENCRYPTED: "save it without a password",
    RefusalReason.DAMAGED: "get it again from where it came from, or save it anew; beware of what you did not expect",
    RefusalReason.TOO_LARGE: "split it; files above KUSTOS_MAX_DOCUMENT_BYTES are not read, and bombs never are",
    RefusalReason.UNSUPPORTED: "save it as PDF or in another format that is read, under a name that fits",
    RefusalReason.NO_TEXT: "it holds nothing to search; scans need KUSTOS_OCR, dynamic forms a print to PDF",
    RefusalReason.TIME_LIMIT: "it is tried once more; then split it, or raise KUSTOS_PARSE_TIMEOUT_S",
    RefusalReason.MEMORY_LIMIT: "it is tried once more; then split it",
    RefusalReason.UNREADABLE: "let the service read the file, then run the sync again",
    RefusalReason.PARSER_FAILED: "it is tried once more; then save it in another format, and report it",
    RefusalReason.NOT_EMBEDDED: "the next sync tries again; see kustos doctor for the embedding model",
    PARTLY_READ: "the rest can be found; what is missing is named",
}
"""What an operator can do, by reason."""


def refusals(records: Records) -> list[dict[str, Any]]:
    """Every document that could not be read, or not whole, with its reason and what can be done."""
    return [{**asdict(each), "at": _iso(each.at), "advice": ADVICE[each.reason]} for each in records.status.refusals()]


def directory(records: Records) -> dict[str, Any]:
    """How far the directory has followed its realm, and the paths whose group is called something else now."""
    followed, tree = records.realm.followed(), records.realm.tree()
    return {
        "groups": len(tree.groups),
        "accounts": len(records.realm.people()),
        "full_at": _iso(followed.full_at) if followed else None,
        "followed_at": _iso(followed.followed_at) if followed else None,
        "drifts": [asdict(each) for each in tree.drifts()],
    }


def explanation(
    told: Explanation,
    as_of: datetime,
    since: datetime | None,
    groups: Mapping[Principal, str],
    in_vain: Mapping[Principal, str],
) -> dict[str, Any]:
    """Why somebody may or may not read a document.

    Args:
        groups: today's paths of groups that are named by id.
        in_vain: what the entry names and nobody can hold, and why.
    """
    named = {each for chain in told.chains for each in chain} | told.acl.allow | told.acl.deny
    return {
        "document": told.document_id,
        "source": told.uri,
        "allowed": told.decision.allowed,
        "rule": told.decision.rule.value,
        "matched": list(told.decision.matched),
        "chains": [list(each) for each in told.chains],
        "allow": sorted(told.acl.allow),
        "deny": sorted(told.acl.deny),
        "in_vain": dict(in_vain),
        "origin": told.origin,
        "problem": told.problem,
        "grants": list(told.grants),
        "as_of": _iso(as_of),
        "rights_since": _iso(since),
        "groups": {each: groups[each] for each in sorted(named & groups.keys())},
    }


def verdict(found: Verdict) -> dict[str, Any]:
    """What verifying the audit came to."""
    return {
        "intact": found.intact,
        "records": found.records,
        "removed_through": found.begins_after,
        "head": str(found.head),
        "faults_in_all": found.faults_in_all,
        "faults": [asdict(each) for each in found.faults],
    }


def sight(seen: Sight) -> dict[str, Any]:
    """How often somebody was shown something of a document, and when."""
    return {
        "who": seen.who,
        "document": seen.document,
        "times": seen.times,
        "first": _iso(datetime.fromtimestamp(seen.first_ms / 1000, UTC)),
        "last": _iso(datetime.fromtimestamp(seen.last_ms / 1000, UTC)),
        "versions": list(seen.versions),
        "passages": len(seen.passages),
        "grants": sorted(seen.grants),
    }


def grant(found: Grant, now_ms: int) -> dict[str, Any]:
    """A break-glass grant, and what became of it."""
    until = None if found.until_ms is None else datetime.fromtimestamp(found.until_ms / 1000, UTC)
    return {
        "id": found.id,
        "state": found.state(now_ms),
        "person": found.subject,
        "principals": list(found.principals),
        "reason": found.reason,
        "minutes": found.minutes,
        "proposed_by": found.proposed_by,
        "confirmed_by": found.confirmed_by,
        "until": _iso(until),
        "revoked_by": found.ended_by,
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
