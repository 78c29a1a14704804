"""The access rule, as a table that reads like DESIGN section 4, and its laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.access.acl import Acl, Rule, permits
from rag.access.principals import Principal

A, B, C = (Principal(f"kc:r:group:/{name}") for name in "abc")

RULES = [
    # the caller holds, the document allows, denies,   allowed, by rule
    ({A}, {A}, set(), True, Rule.ALLOWED),
    ({A, B}, {B, C}, set(), True, Rule.ALLOWED),
    ({A}, {B}, set(), False, Rule.NO_MATCH),
    (set(), {A}, set(), False, Rule.NO_MATCH),
    ({A}, {A}, {A}, False, Rule.DENIED),
    ({A, B}, {A}, {B}, False, Rule.DENIED),
    ({A}, {A}, {B}, True, Rule.ALLOWED),
    ({A}, set(), set(), False, Rule.NOBODY),
    (set(), set(), set(), False, Rule.NOBODY),
    ({A}, set(), {A}, False, Rule.NOBODY),
    ({A}, set(), {B}, False, Rule.NOBODY),
]

principals = st.frozensets(st.sampled_from([A, B, C]))


@pytest.mark.parametrize(("holds", "allow", "deny", "allowed", "rule"), RULES)
def test_fb_02_deny_wins_and_an_empty_allow_is_nobody(holds, allow, deny, allowed, rule) -> None:
    decision = permits(holds, Acl.of(allow, deny))
    assert (decision.allowed, decision.rule) == (allowed, rule)


@given(principals, principals, principals, principals)
def test_a_further_deny_entry_never_gives_access(holds, allow, deny, more) -> None:
    if not permits(holds, Acl(allow, deny)).allowed:
        assert not permits(holds, Acl(allow, deny | more)).allowed


@given(principals, principals, principals)
def test_a_decision_names_the_entries_that_made_it(holds, allow, deny) -> None:
    decision = permits(holds, Acl(allow, deny))
    assert set(decision.matched) <= holds
    assert bool(decision.matched) == (decision.rule in (Rule.ALLOWED, Rule.DENIED))


def test_i2_the_acl_of_the_unknown_lets_nobody_in() -> None:
    assert not permits({A, B, C}, Acl.nobody()).allowed


@given(principals, principals, principals, principals)
def test_equal_acls_and_only_they_have_equal_fingerprints(allow, deny, other_allow, other_deny) -> None:
    one, other = Acl(allow, deny), Acl(other_allow, other_deny)
    assert (one == other) == (one.fingerprint() == other.fingerprint())
