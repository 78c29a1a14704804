"""What operators and readers can list: states, refusals, readable documents, explanations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import uuid4

from api import reports
from api.admission.local_operator import LOCAL_OPERATOR
from api.admission.subjects import open_subjects
from api.cli.connection import checked, proof, reach
from api.cli.output import plain
from api.explaining import Explaining
from api.keycloak_realm.memberships import open_memberships
from api.tokens.demo_issuer import DemoIssuer
from api.tokens.issuers import open_identity
from rag.access.acl import Rule
from rag.access.audit_chain import Mark, Verdict
from rag.access.scope import Caller
from rag.bootstrap import open_records
from rag.errors import BadInput, NotFound
from rag.settings import Settings

PAGE = 500
RULES = {
    Rule.ALLOWED: "the entry allows this",
    Rule.DENIED: "the entry denies this, and that wins over whatever it allows",
    Rule.NOBODY: "the entry allows nobody, or could not be read",
    Rule.NO_MATCH: "the entry names neither this person nor any of his roles and groups",
}
"""Each rule of an explanation, for people."""


def readable(settings: Settings, who: str | None) -> list[dict[str, Any]]:
    """Every document that a sample account, or who has signed in, may read, by address."""
    found: list[dict[str, Any]] = []
    headers = proof(settings, who)
    with reach(settings) as client:
        while True:
            after = found[-1]["source"] if found else ""
            reply = checked(client.get("/v1/documents", params={"after": after, "limit": PAGE}, headers=headers))
            page = reply.json()["documents"]
            found += page
            if len(page) < PAGE:
                return found


def refusals(settings: Settings, source: str | None) -> list[dict[str, Any]]:
    """Every document that could not be read, of one source or of all, with its reason.

    Raises:
        NotFound: there is no such source.
    """
    records = open_records(settings)
    there = [each.source for each in records.status.sources()]
    if source is not None and source not in there:
        raise NotFound(f"there is no source {source!r}; there are: {', '.join(there) or 'none yet'}")
    return [each for each in reports.refusals(records) if source in (None, each["source"])]


def state(settings: Settings) -> dict[str, Any]:
    """Sources and the index's lag, from the catalog alone, so that it can be asked beside a running service."""
    return reports.state(open_records(settings))


def in_lines(told: Mapping[str, Any], who: str, *, past: bool) -> list[str]:
    """An explanation as people read it."""
    can = "could" if past else "may"
    lines = [
        f"{who} {can}{'' if told['allowed'] else ' not'} read {told['source']}",
        f"  as of   {told['as_of']}",
        f"  rule    {told['rule']}: {RULES[told['rule']]}",
        *(f"  through {' → '.join(steps(chain, told['groups']))}" for chain in told["chains"]),
        f"  entry   {told['origin']}, so since {told['rights_since']}",
    ]
    if told["rule"] == Rule.NO_MATCH:
        lines.append(f"  allows  {', '.join(told['groups'].get(each, each) for each in told['allow'])}")
    lines += [f"  in vain {each} {why}" for each, why in told["in_vain"].items()]
    lines += [f"  grant   {each} of break-glass {'was' if past else 'is'} in force" for each in told["grants"]]
    if told["problem"]:
        lines.append(f"  problem {told['problem']}")
    return [plain(each) for each in lines]


def steps(chain: Sequence[str], groups: Mapping[str, str]) -> list[str]:
    """A chain of principals as people read it: groups by their paths, and each once.

    A group stands in it by its id, and then under the path that an access file names it by.
    """
    named = [groups.get(each, each) for each in chain]
    return [each for each, following in pairwise([*named, ""]) if not following.endswith(f":{each}")]


def audit_verdict(settings: Settings, noted: Sequence[str]) -> Verdict:
    """Whether the audit is whole, against what this home noted and what somebody kept elsewhere as NUMBER:MAC.

    Raises:
        BadInput: one of those cannot be read.
    """
    marks = []
    for each in noted:
        number, _, mac = each.partition(":")
        if not (number.isascii() and number.isdigit() and len(mac) == len(Mark().mac)):
            raise BadInput(f"{each!r} is not as `kustos audit head` prints it, NUMBER:MAC")
        marks.append(Mark(int(number), mac))
    return open_records(settings).trail.verify(*marks)


def explanation(settings: Settings, document: str, who: str, at: datetime | None) -> dict[str, Any]:
    """Why somebody may or may not read a document, or might then; recorded as asked by the operator of this home.

    Raises:
        KustosError: there is, or was, no such document or person, or it cannot be known now.
    """
    records, demo = open_records(settings), DemoIssuer.load(settings.home)
    memberships = open_memberships(settings, records.realm)
    subjects = open_subjects(settings, demo, open_identity(settings, demo, memberships), memberships)
    asking = Caller(settings.tenant, LOCAL_OPERATOR, frozenset())
    return Explaining(records, subjects).explain(asking, uuid4().hex, document, who, at)
