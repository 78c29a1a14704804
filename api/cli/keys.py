"""API keys for the operator: made, listed and taken back in the catalog of this home, beside a running service."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from api.access_table import Duty
from api.admission import key_issue
from api.admission.local_operator import LOCAL_OPERATOR
from api.admission.subjects import Subjects, open_subjects
from api.keycloak_realm.memberships import open_memberships
from api.tokens.auth import Identity
from api.tokens.demo_issuer import DemoIssuer
from api.tokens.issuers import open_identity
from rag.access.api_keys import PREFIX, KeyScope
from rag.bootstrap import Records, open_records
from rag.errors import BadInput
from rag.settings import Settings

NEEDS = {KeyScope.PUSH: Duty.OPERATOR, KeyScope.EVALUATE: Duty.EVALUATOR}
"""Which duty the account behind a key must have for a scope to open anything."""
_DAYS = re.compile(r"([0-9]{1,9})d?")


def create(
    settings: Settings, who: str, scopes: Collection[str], name: str, expires: str
) -> tuple[dict[str, Any], list[str]]:
    """A new key for an account that exists and is enabled, named as `Subjects.subject` takes it.

    And what its owner should know: which of its scopes open nothing as long as the account lacks a role.

    Raises:
        NotFound, NotAuthenticated: there is no such account, or it is disabled.
        BadInput: the time is not one, or too long.
        Unavailable, Misconfigured: the provider cannot be asked.
    """
    days = _DAYS.fullmatch(expires)
    if days is None:
        raise BadInput(f"{expires!r} is not a number of days up to {key_issue.MOST_DAYS}, as in 90d")
    records = open_records(settings)
    subjects, identity = _people(records)
    caller = subjects.caller(subjects.subject(who))
    wanted = {KeyScope(each) for each in scopes}
    made, kept = key_issue.issue(records, caller.subject, wanted, name=name, days=int(days[1]), by=LOCAL_OPERATOR)
    lacking = [
        f"scope {scope} opens nothing as long as {who} lacks the role {duty!s} of the client {settings.audience}"
        for scope, duty in NEEDS.items()
        if scope in wanted and not identity.has_duty(caller, duty)
    ]
    return {"key": made.text, **key_issue.shown(kept)}, lacking


def listed(settings: Settings, who: str | None) -> list[dict[str, Any]]:
    """The keys of an account, or all.

    Raises:
        NotFound: there is no such account.
    """
    records = open_records(settings)
    subject = _people(records)[0].subject(who) if who else None
    return [key_issue.shown(each) for each in records.keys.listed(subject)]


def revoke(settings: Settings, identifier: str) -> None:
    """Takes a key back.

    Raises:
        BadInput: the whole key was given; by now it stands in the shell's history and in the list of processes.
        NotFound: there is no such key.
    """
    if identifier.startswith(PREFIX):
        raise BadInput("give the key's id, the part between the first and the second underscore, and not the key")
    key_issue.revoke(open_records(settings), identifier, by=LOCAL_OPERATOR)


def _people(records: Records) -> tuple[Subjects, Identity]:
    settings = records.settings
    demo, memberships = DemoIssuer.load(settings.home), open_memberships(settings, records.realm)
    identity = open_identity(settings, demo, memberships)
    return open_subjects(settings, demo, identity, memberships), identity
