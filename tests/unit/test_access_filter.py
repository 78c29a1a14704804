"""The access filter as a value: what it says of a scope, and what it can never say."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.access.principals import Principal
from rag.access.scope import AccessScope
from rag.errors import BadFilter, StoreUnavailable
from rag.stores.access_filter import (
    FIELDS,
    NARROWABLE,
    AccessFilter,
    AnyOf,
    access_filter,
    narrowed,
    refuse_unless_guarded,
)

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
SCOPES = st.builds(
    AccessScope,
    tenant=NAMES,
    subject=NAMES,
    principals=st.frozensets(NAMES.map(Principal), min_size=1, max_size=5),
    without_acls=st.frozensets(NAMES, max_size=3),
)
NARROW = st.dictionaries(st.sampled_from(NARROWABLE), st.lists(NAMES, min_size=1, max_size=3).map(tuple), max_size=3)

ANN = AccessScope("acme", "ann", frozenset({Principal("b"), Principal("a")}))


def test_a_scope_reads_its_tenant_what_allows_it_and_nothing_that_denies_it() -> None:
    assert access_filter(ANN) == AccessFilter(
        must=(AnyOf("tenant", ("acme",)), AnyOf("allow", ("a", "b"))), must_not=(AnyOf("deny", ("a", "b")),)
    )


def test_closed_places_are_taken_out() -> None:
    assert access_filter(ANN.excluding({"y", "x"})).must_not == (AnyOf("deny", ("a", "b")), AnyOf("acl", ("x", "y")))


@given(SCOPES, NARROW)
def test_fb_02_no_list_is_ever_empty_and_the_access_conditions_are_always_there(
    scope: AccessScope, narrow: Mapping[str, tuple[str, ...]]
) -> None:
    built = narrowed(access_filter(scope), narrow)
    assert all(each.values for each in (*built.must, *built.must_not))
    must, must_not = ({each.field: each.values for each in part} for part in (built.must, built.must_not))
    refuse_unless_guarded(scope, must, must_not)
    assert len(must) == len(built.must), "two conditions on one field would hide each other from the last check"


@given(SCOPES, NARROW)
def test_fb_03_narrowing_keeps_every_condition_and_adds_only_to_must(
    scope: AccessScope, narrow: Mapping[str, tuple[str, ...]]
) -> None:
    access = access_filter(scope)
    built = narrowed(access, narrow)
    assert built.must[: len(access.must)] == access.must
    assert built.must_not == access.must_not
    assert {each.field: set(each.values) for each in built.must[len(access.must) :]} == {
        field: set(values) for field, values in narrow.items()
    }


@pytest.mark.parametrize("field", sorted(set(FIELDS) - set(NARROWABLE)))
def test_fb_01_fields_of_the_access_rule_are_not_for_callers(field: str) -> None:
    with pytest.raises(BadFilter, match="possible fields: source, language, document"):
        narrowed(access_filter(ANN), {field: ("x",)})


def test_fb_02_a_condition_without_values_cannot_be_written_down() -> None:
    with pytest.raises(ValueError, match="match everything"):
        AnyOf("allow", ())


WRONG: dict[str, Callable[[dict[str, list[str]], dict[str, list[str]]], object]] = {
    "no tenant": lambda must, _: must.pop("tenant"),
    "no allow": lambda must, _: must.pop("allow"),
    "no deny": lambda _, must_not: must_not.pop("deny"),
    "empty allow": lambda must, _: must.update(allow=[]),
    "empty deny": lambda _, must_not: must_not.update(deny=[]),
    "other tenant": lambda must, _: must.update(tenant=["other"]),
    "two tenants": lambda must, _: must.update(tenant=["acme", "other"]),
    "one principal too many": lambda must, _: must.update(allow=["a", "b", "c"]),
    "one denial forgotten": lambda _, must_not: must_not.update(deny=["a"]),
    "closed place forgotten": lambda _, must_not: must_not.pop("acl"),
}


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_fb_02_and_mt_06_the_last_look_stops_a_query_that_lost_a_condition(wrong: str) -> None:
    must, must_not = {"tenant": ["acme"], "allow": ["a", "b"]}, {"deny": ["a", "b"], "acl": ["x"]}
    scope = ANN.excluding({"x"})
    refuse_unless_guarded(scope, must, must_not)
    WRONG[wrong](must, must_not)
    with pytest.raises(StoreUnavailable, match="stopped before it was sent"):
        refuse_unless_guarded(scope, must, must_not)
