"""What one caller may read, as conditions for an index query. Pure: both adapters translate from here alone.

Qdrant reads an empty list as "no condition" in three of four places: `should: []`, `must_not any: []` and `except: []`
match every point (FB-02, FB-03). So no list here is ever empty, and no `should` exists at all: every condition stands
in `must` or `must_not`. A point that lacks a field matches none of them and is invisible (FB-05).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rag.access.scope import AccessScope
from rag.errors import BadFilter, StoreUnavailable

TENANT, SOURCE, DOCUMENT, ACL = "tenant", "source", "document", "acl"
ALLOW, DENY, LANGUAGE = "allow", "deny", "language"
FIELDS = (TENANT, SOURCE, DOCUMENT, ACL, ALLOW, DENY, LANGUAGE)
"""Every field of a stored point; each has a keyword index."""

NARROWABLE = (SOURCE, LANGUAGE, DOCUMENT)
"""The fields by which a caller may narrow."""


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The field holds at least one of `values`, which are sorted, distinct and never none."""

    field: str
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"a condition on {self.field} without values would match everything")


@dataclass(frozen=True, slots=True)
class AccessFilter:
    """All of `must` and none of `must_not`."""

    must: tuple[AnyOf, ...]
    must_not: tuple[AnyOf, ...]


def access_filter(scope: AccessScope) -> AccessFilter:
    """What `scope` may read: its tenant, allowed to one of its principals, denied to none, under no closed place."""
    principals = tuple(sorted(scope.principals))
    closed = (AnyOf(ACL, tuple(sorted(scope.without_acls))),) if scope.without_acls else ()
    return AccessFilter(
        must=(AnyOf(TENANT, (scope.tenant,)), AnyOf(ALLOW, principals)),
        must_not=(AnyOf(DENY, principals), *closed),
    )


def narrowed(access: AccessFilter, narrow: Mapping[str, Sequence[str]]) -> AccessFilter:
    """`access` with the caller's own conditions added to `must`, so that they can only take away.

    Raises:
        BadFilter: a field that callers may not use, no values, or a value that is not valid text.
    """
    return replace(access, must=(*access.must, *(_condition(field, narrow[field]) for field in sorted(narrow))))


def _condition(field: str, values: Sequence[str]) -> AnyOf:
    if field not in NARROWABLE:
        raise BadFilter(f"results cannot be narrowed by {field!r}; possible fields: {', '.join(NARROWABLE)}")
    if not values:
        raise BadFilter(f"the filter on {field!r} lists no value; name at least one, or leave the filter out")
    if any("\ud800" <= character <= "\udfff" for value in values for character in value):
        raise BadFilter(f"the filter on {field!r} holds a value that is not valid text")
    return AnyOf(field, tuple(sorted(set(values))))


def refuse_unless_guarded(
    scope: AccessScope, must: Mapping[str, Sequence[str]], must_not: Mapping[str, Sequence[str]]
) -> None:
    """The last look at a query before it is sent. `must` and `must_not` are read back from the vendor's own filter.

    Redundant while the code above and the translation are right. It is here for the day when they are not: a query
    without this caller's conditions is answered with 503, never with everything.

    Raises:
        StoreUnavailable: the query does not carry exactly the conditions of `scope`.
    """
    principals = scope.principals
    guarded = (
        list(must.get(TENANT, ())) == [scope.tenant]
        and set(must.get(ALLOW, ())) == principals
        and set(must_not.get(DENY, ())) == principals
        and set(must_not.get(ACL, ())) == scope.without_acls
    )
    if not guarded or not principals:
        raise StoreUnavailable("an index query without its access conditions was stopped before it was sent")
