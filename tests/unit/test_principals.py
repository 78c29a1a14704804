"""Principals are opaque, typed and qualified; nothing collides and nothing is folded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.access import principals
from rag.errors import BadPrincipal

names = st.text(min_size=1, max_size=40).filter(lambda name: "\0" not in name)


@pytest.mark.parametrize(
    ("made", "written"),
    [
        (principals.user("hansekai", "3f0c"), "kc:hansekai:user:3f0c"),
        (principals.realm_role("hansekai", "leitung"), "kc:hansekai:role:leitung"),
        (principals.client_role("hansekai", "kustos", "revision"), "kc:hansekai:client:kustos:role:revision"),
        (principals.group("hansekai", "/vertrieb/nord"), "kc:hansekai:group:/vertrieb/nord"),
    ],
)
def test_a_principal_is_qualified_by_where_it_comes_from(made, written) -> None:
    assert made == written
    assert principals.parse(written) == made


TWINS = [
    ("rm_01 leaf names of different groups", principals.group("r", "/hr/leads"), principals.group("r", "/it/leads")),
    ("rm_06 roles of realm and client", principals.realm_role("r", "reader"), principals.client_role("r", "c", "reader")),
    ("rm_06 roles of two clients", principals.client_role("r", "a", "reader"), principals.client_role("r", "b", "reader")),
    ("rm_08 case", principals.realm_role("r", "Leitung"), principals.realm_role("r", "leitung")),
    ("rm_08 composed and decomposed", principals.realm_role("r", "\u00e4"), principals.realm_role("r", "a\u0308")),
    ("rm_08 trailing space", principals.realm_role("r", "x"), principals.realm_role("r", "x ")),
    ("rm_08 a role named like a user", principals.realm_role("r", "user:bob"), principals.user("r", "bob")),
    ("rm_08 a realm that holds a separator", principals.realm_role("a:role", "x"), principals.realm_role("a", "role:x")),
    ("rm_08 a client that holds a separator", principals.client_role("r", "c:role:x", "y"), principals.client_role("r", "c", "x:role:y")),
    ("mt_01 two realms", principals.group("a", "/x"), principals.group("b", "/x")),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), [pair[1:] for pair in TWINS], ids=[pair[0] for pair in TWINS])
def test_names_that_look_alike_are_different_principals(one, other) -> None:
    assert one != other


@given(names)
def test_rm_08_no_name_from_a_token_becomes_a_system_principal(name) -> None:
    made = [principals.user("r", name), principals.realm_role("r", name), principals.group("r", f"/{name}")]
    assert principals.EVERYONE_IN_TENANT not in made
    assert all(each.startswith("kc:r:") for each in made)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "everyone",
        "alice@example.org",
        "sys:root",
        "sys:everyone-in-tenant ",
        "group:/x",
        "kc",
        "kc:",
        "KC:r:user:x",
        "kc:r:user:\0",
        "kc:r:user:\ud800",
    ],
)
def test_a_text_that_is_not_a_qualified_principal_is_refused(text) -> None:
    with pytest.raises(BadPrincipal):
        principals.parse(text)


def test_rm_01_a_group_needs_its_full_path() -> None:
    with pytest.raises(BadPrincipal, match="full path"):
        principals.group("r", "leads")


def test_a_principal_has_a_bounded_length() -> None:
    with pytest.raises(BadPrincipal):
        principals.realm_role("r", "x" * 2_000)
