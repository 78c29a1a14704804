"""Break-glass: principals that somebody holds besides his own, for a reason and for minutes or hours.

An operator proposes, an auditor who is neither he nor the person himself confirms, and from then on the gate adds the
principals to the person's own until the time is over or somebody revokes. It is no way round the rule: what is granted
are principals, so deny wins as ever, tenants stay walls, and who has no rights at all is granted none. Every record of
what was released meanwhile names the grant. `KUSTOS_BREAK_GLASS_HOURS=0`, the default, switches all of it off at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rag.access import principals
from rag.access.principals import Principal
from rag.access.scope import Caller
from rag.errors import BadInput, NotAllowed

PROPOSAL_MS = 24 * 3_600_000
"""A proposal that nobody has confirmed by then is none any more."""
SHORTEST_REASON = 10
MOST_PRINCIPALS = 20


@dataclass(frozen=True, slots=True)
class Grant:
    """One grant, whatever became of it.

    Attributes:
        subject: who gets the principals.
        until_ms: end of its time; None before it is confirmed.
        ended_by: who revoked it, or withdrew the proposal.
    """

    id: str
    tenant: str
    subject: str
    principals: tuple[Principal, ...]
    reason: str
    minutes: int
    proposed_by: str
    proposed_ms: int
    confirmed_by: str | None = None
    until_ms: int | None = None
    ended_by: str | None = None

    def state(self, now_ms: int) -> str:
        """`proposed`, `in force`, `revoked` or `over`."""
        if self.ended_by is not None:
            return "revoked"
        if self.until_ms is not None:
            return "in force" if now_ms < self.until_ms else "over"
        return "proposed" if now_ms < self.proposed_ms + PROPOSAL_MS else "over"


class NoGrants:
    """Break-glass is off."""

    def in_force(self, tenant: str, subject: str) -> Sequence[Grant]:
        return ()


NO_GRANTS = NoGrants()


def extended(caller: Caller, grants: Iterable[Grant]) -> Caller:
    """The caller with what is granted to him. One without principals stays without."""
    if not caller.principals:
        return caller
    return replace(caller, principals=caller.principals.union(*(each.principals for each in grants)))


def check_proposal(subject: str, wanted: Sequence[str], reason: str, minutes: int, most_hours: int) -> None:
    """Whether this may be proposed.

    Raises:
        BadInput: it is too long, without a reason, or not about a person and principals of a source or provider.
    """
    if not 0 < minutes <= most_hours * 60:
        raise BadInput(f"a grant lasts 1 to {most_hours * 60} minutes here (KUSTOS_BREAK_GLASS_HOURS)")
    if len(reason.strip()) < SHORTEST_REASON:
        raise BadInput(f"a grant needs a reason of at least {SHORTEST_REASON} characters")
    if not 0 < len(wanted) <= MOST_PRINCIPALS:
        raise BadInput(f"a grant is of 1 to {MOST_PRINCIPALS} principals")
    if ":user:" not in principals.parse(subject):
        raise BadInput(f"{subject!r} is not a person; write it as in kc:REALM:user:ID")
    if ours := [each for each in wanted if principals.parse(each).startswith("sys:")]:
        raise BadInput(f"{ours[0]!r} is not granted to anybody")


def check_confirmation(grant: Grant, by: str, now_ms: int) -> None:
    """Whether `by` may confirm the grant now.

    Raises:
        NotAllowed: he proposed it, or it is for him.
        BadInput: it waits for nobody's confirmation.
    """
    if by in (grant.proposed_by, grant.subject):
        raise NotAllowed("a grant is confirmed by somebody who neither proposed it nor gets it")
    if grant.confirmed_by is not None or grant.state(now_ms) != "proposed":
        raise BadInput(f"grant {grant.id} is {grant.state(now_ms)}, so there is nothing to confirm")
