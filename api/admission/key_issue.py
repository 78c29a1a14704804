"""Making API keys and taking them back, for the command line and for people's own keys over HTTP."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from rag.access.api_keys import ApiKey, KeyScope, NewKey, check_room, digest, mint
from rag.access.audit import Act, Deed
from rag.bootstrap import Records
from rag.errors import BadInput, NotFound

LIFETIME_DAYS, MOST_DAYS = 90, 366


def issue(
    records: Records, subject: str, scopes: Collection[KeyScope], *, name: str, days: int, by: str, request_id: str = ""
) -> tuple[NewKey, ApiKey]:
    """A new key of `subject`, and what was kept of it. Only now can the key itself be shown.

    Raises:
        BadInput: it is for nothing, lives too long, or the subject has enough of them.
        StoreUnavailable: the catalog does not answer.
    """
    if not 1 <= days <= MOST_DAYS:
        raise BadInput(f"a key lives 1 to {MOST_DAYS} days, and not {days}")
    if not scopes:
        raise BadInput("a key has at least one scope")
    now = datetime.now(UTC)
    check_room(records.keys.valid_count(subject, now))  # before a record says that there is one
    made = mint()
    kept = ApiKey(
        id=made.id,
        tenant=records.settings.tenant,
        subject=subject,
        name=name,
        scopes=frozenset(scopes),
        digest=digest(made.text),
        created_at=now,
        created_by=by,
        expires_at=now + timedelta(days=days),
    )
    told: dict[str, str | int] = {"scopes": " ".join(sorted(scopes)), "days": days}
    records.audit.record(Deed(kept.tenant, by, Act.KEY_MADE, request_id, made.id, _other(subject, by), told))
    records.keys.add(kept)
    return made, kept


def revoke(records: Records, identifier: str, *, by: str, of: str | None = None, request_id: str = "") -> None:
    """Takes a key back for good; one that was taken back before stays so.

    Args:
        of: the subject whose key it has to be; None for anybody's.

    Raises:
        NotFound: there is no such key, or it is another's; the two are not told apart (SA-09).
        StoreUnavailable: the catalog does not answer, so nothing is taken back.
    """
    key = records.keys.find(identifier)
    if key is None or of not in {None, key.subject}:
        raise NotFound(f"there is no API key {identifier!r}")
    deed = Deed(key.tenant, by, Act.KEY_REVOKED, request_id, identifier, _other(key.subject, by))
    records.audit.record(deed)
    records.keys.revoke(identifier, datetime.now(UTC))


def shown(key: ApiKey) -> dict[str, Any]:
    """What a list says of a key. Its digest is nobody's business."""
    told = {name: value for name, value in asdict(key).items() if name not in {"digest", "tenant"}}
    times = {name: value.isoformat(timespec="seconds") for name, value in told.items() if isinstance(value, datetime)}
    return {**told, **times, "scopes": sorted(key.scopes), "state": state(key, datetime.now(UTC))}


def _other(subject: str, by: str) -> str | None:
    """Whom a deed concerns beside who did it."""
    return None if subject == by else subject


def state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "valid" if key.is_valid(now) else "expired"
