"""The access rule, pure: no I/O, no vendor, no clock.

1. A document's ACL is two sets of principals, `allow` and `deny`, in the source's own terms.
2. Deny wins: one principal in common with `deny` refuses, whatever `allow` says.
3. Otherwise one principal in common with `allow` permits.
4. Everything else refuses. An empty `allow` is nobody; so is an ACL that could not be read.

Search filter, single read, listing and explain all derive from `permits` (DESIGN section 4).
"""

from __future__ import annotations

import hashlib
from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from rag.access.principals import Principal


class Rule(StrEnum):
    """The rule that made a decision. Goes to audit and explain, never to the caller."""

    ALLOWED = "allow_matches"
    DENIED = "deny_matches"
    NOBODY = "acl_is_empty"
    NO_MATCH = "no_allow_matches"


@dataclass(frozen=True, slots=True)
class Acl:
    """Who may read a document. `Acl.nobody()` is the value for every unknown."""

    allow: frozenset[Principal]
    deny: frozenset[Principal]

    @classmethod
    def nobody(cls) -> Self:
        """The ACL of anything whose rights are missing, empty or unreadable."""
        return cls(frozenset(), frozenset())

    @classmethod
    def of(cls, allow: Set[Principal] = frozenset(), deny: Set[Principal] = frozenset()) -> Self:
        return cls(frozenset(allow), frozenset(deny))

    def fingerprint(self) -> str:
        """sha256 hex over the sorted entries; equal ACLs have equal fingerprints."""
        parts = ["allow", *sorted(self.allow), "deny", *sorted(self.deny)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Decision:
    """Outcome of `permits`: whether, by which rule, and the principals that decided (sorted)."""

    allowed: bool
    rule: Rule
    matched: tuple[Principal, ...] = ()


def permits(principals: Set[Principal], acl: Acl) -> Decision:
    """Whether a caller holding `principals` may read a document with `acl`. Total: never raises."""
    if not acl.allow:
        return Decision(False, Rule.NOBODY)
    if denied := acl.deny & principals:
        return Decision(False, Rule.DENIED, tuple(sorted(denied)))
    if granted := acl.allow & principals:
        return Decision(True, Rule.ALLOWED, tuple(sorted(granted)))
    return Decision(False, Rule.NO_MATCH)
