"""The schema of access files, as a table of what is accepted and what is refused with which words."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.access_files import MAX_BYTES, AccessFile, choose, governed_by, parse
from connectors.names import component, components, displayed, is_ignored, uri
from connectors.sidecars import distrust
from rag.access.acl import Acl
from rag.access.principals import EVERYONE_IN_TENANT, Principal
from rag.errors import BadAccessFile

HEAD = "kustos_access: 1\nrealm: hansekai\n"


def read(text: str) -> AccessFile:
    return parse(text.encode(), "sales/_access.yaml")


# --- what is accepted ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "principal"),
    [
        ("group: /sales", "kc:hansekai:group:/sales"),
        ("group: /sales/north", "kc:hansekai:group:/sales/north"),
        ("role: management", "kc:hansekai:role:management"),
        ("client_role: {client: kustos, role: audit}", "kc:hansekai:client:kustos:role:audit"),
        ("user: 3f0c-11", "kc:hansekai:user:3f0c-11"),
        ('user: "4711"', "kc:hansekai:user:4711"),
        ('principal: "kc:other:group:/x"', "kc:other:group:/x"),
        ('principal: "ad:S-1-5-21-1"', "ad:S-1-5-21-1"),
        ("everyone", EVERYONE_IN_TENANT),
    ],
)
def test_an_entry_names_one_principal(entry: str, principal: str) -> None:
    access = read(f"{HEAD}allow:\n  - {entry}\ndeny:\n  - {entry}\n")
    assert access == AccessFile(True, frozenset({Principal(principal)}), frozenset({Principal(principal)}))


def test_the_example_of_the_manual_is_accepted_and_shows_every_form() -> None:
    manual = (Path(__file__).parents[2] / "docs/access-files.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", manual, re.DOTALL)
    access = read(example)
    assert (len(access.allow), len(access.deny)) == (6, 1)


def test_without_lists_an_access_file_grants_nothing_of_its_own_and_inherits() -> None:
    assert read("kustos_access: 1") == AccessFile(True, frozenset(), frozenset())


def test_a_byte_order_mark_as_some_editors_write_it_is_accepted() -> None:
    assert parse(b"\xef\xbb\xbfkustos_access: 1\nallow: [everyone]\n", "x").allow == {EVERYONE_IN_TENANT}


@pytest.mark.parametrize(
    "name",
    [
        *("*", "public", "admin", "everyone", "group:x", "user:bob", "sys:everyone-in-tenant", "/*", "a b", " a", "a "),
        *(
            "A",
            "a",
            "line\nbreak",
            "\u202egnp",
            "caf\u00e9",
            "cafe\u0301",
            "p\u0430ypal",
            "%2F",
            "a:role:b",
            "null",
            "~",
        ),
    ],
)
def test_rm_08_strange_names_are_opaque_and_stay_apart_from_every_other_principal(name: str) -> None:
    escaped = "".join(f"\\U{ord(character):08x}" for character in name)
    (principal,) = read(f'{HEAD}allow:\n  - role: "{escaped}"\n').allow
    assert principal == f"kc:hansekai:role:{name}"
    assert principal != EVERYONE_IN_TENANT


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("# only a comment\n", "empty"),
        ("- group: /a", "line 1: expected key: value"),
        ("just text", "line 1: expected key: value"),
        ("allow: [everyone]", "kustos_access is missing"),
        ("kustos_access: 2", "line 1: kustos_access must be 1"),
        ("kustos_access: [1]", "kustos_access must be 1"),
        (HEAD + "alow: []", "line 3: unknown key 'alow'"),
        (HEAD + "Deny: []", "unknown key 'Deny'"),
        (HEAD + "allow: []\nallow: [everyone]", "line 4: the key 'allow' stands twice"),
        (HEAD + "deny:\n  - user: u\n<<: {allow: [everyone]}", "line 5"),
        (HEAD + "allow:", "line 3: allow and deny must be lists"),
        (HEAD + "allow: everyone", "must be lists"),
        (HEAD + "deny: {user: u}", "must be lists"),
        (HEAD + "allow: [public]", "'public' is no entry"),
        (HEAD + "allow: ['']", "'' is no entry"),
        (HEAD + "allow: [null]", "'null' is no entry"),
        (HEAD + "allow: [{everyone: true}]", "unknown key 'everyone'"),
        (HEAD + "allow: [{email: a@b.c}]", "unknown key 'email'"),
        (HEAD + "allow: [{group: /a, role: b}]", "exactly one principal"),
        (HEAD + "allow: [{}]", "exactly one principal"),
        (HEAD + "allow: [{group: /a, group: /b}]", "stands twice"),
        (HEAD + "allow:\n  - group: sales", "line 4: group 'sales' is not a full path"),
        (HEAD + "allow: [{group: ''}]", "neither empty"),
        (HEAD + "allow: [{role: 12}]", "put it in quotes"),
        (HEAD + "allow: [{role: yes}]", "put it in quotes"),
        (HEAD + "allow: [{role: null}]", "put it in quotes"),
        (HEAD + "allow: [{role: [a]}]", "put it in quotes"),
        (HEAD + "allow: [{user: 2026-01-01}]", "put it in quotes"),
        (HEAD + 'allow: [{role: "\\ud800"}]', "surrogate"),
        (HEAD + 'allow: [{role: "\\U00ffffff"}]', "not YAML"),
        (HEAD + 'allow: [{role: "a\\0b"}]', "no NUL"),
        (HEAD + "allow: [{client_role: audit}]", "expected key: value"),
        (HEAD + "allow: [{client_role: {client: kustos}}]", "both client and role"),
        (HEAD + "allow: [{client_role: {client: k, role: r, realm: x}}]", "unknown key 'realm'"),
        (HEAD + "allow: [{principal: everyone}]", "not a principal"),
        (HEAD + "allow: [{principal: 'sys:admin'}]", "not a principal"),
        ("kustos_access: 1\nallow: [{group: /a}]", "line 2: group needs the key realm"),
        ("kustos_access: 1\nrealm:\nallow: []", "put it in quotes"),
        (HEAD + "inherit: no", "must be true or false"),
        (HEAD + "inherit: 0", "must be true or false"),
        (HEAD + "inherit: []", "must be true or false"),
        (HEAD + "allow: &all [everyone]", "line 3: anchors and aliases"),
        (HEAD + "allow: &all [everyone]\ndeny: *all", "anchors and aliases"),
        (HEAD + "allow: !!python/object/apply:os.system [id]", "line 3: tags"),
        (HEAD + "allow: [!!str everyone]", "tags"),
        (HEAD + "allow: [[[[[[everyone]]]]]]", "nested too deeply"),
        (HEAD + "allow: " + "[" * 60_000, "nested too deeply"),
        (HEAD + "allow: [everyone", "line 3"),
        (HEAD + "\tallow: []", "line 3"),
        (HEAD + "---\nkustos_access: 1", "line 3"),
        (HEAD + "\0", "not YAML"),
        (HEAD + "# " + "x" * MAX_BYTES, "larger than 64 KB"),
    ],
)
def test_in_15_what_is_not_understood_refuses_the_whole_file_and_says_where(text: str, says: str) -> None:
    with pytest.raises(BadAccessFile) as refusal:
        read(text)
    assert "sales/_access.yaml" in str(refusal.value)
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\x00", b"kustos_access: 1\nrealm: \xdc", "kustos_access: 1".encode("utf-16")]
)
def test_a_file_that_is_not_utf_8_is_refused(data: bytes) -> None:
    with pytest.raises(BadAccessFile, match="UTF-8"):
        parse(data, "x")


@given(
    st.one_of(
        st.binary(max_size=300), st.text(alphabet="[]{}:-,&*!|>'\"# \nab1kustos_access", max_size=120).map(str.encode)
    )
)
def test_any_bytes_give_rights_or_a_typed_refusal(data: bytes) -> None:
    with suppress(BadAccessFile):
        assert isinstance(parse(data, "x"), AccessFile)


# --- inheritance --------------------------------------------------------------------------------------------------

A, B, C = (Principal(f"kc:r:group:/{name}") for name in "abc")


def test_inheriting_unites_both_lists_with_those_above() -> None:
    own = AccessFile(True, frozenset({A}), frozenset({B}))
    assert own.over(Acl.of({B}, {C})) == Acl.of({A, B}, {B, C})


def test_without_inheritance_nothing_from_above_applies() -> None:
    own = AccessFile(False, frozenset({A}), frozenset())
    assert own.over(Acl.of({B}, {A})) == Acl.of({A})


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("_access.yaml", ""),
        ("_ACCESS.yaml", ""),
        ("_access.yml", ""),
        (".access.yaml", ""),
        ("_access.yaml~", ""),
        ("_access.yaml.bak", ""),
        ("x.pdf.access.yaml", "x.pdf"),
        ("x.pdf.Access.YML", "x.pdf"),
        ("x.pdf.access.yaml.tmp", "x.pdf"),
        ("_access.yaml.access.yaml", "_access.yaml"),
        ("access.yaml", None),
        ("x_access.yaml", None),
        ("_access.yaml.pdf", None),
        ("x.pdf", None),
    ],
)
def test_in_15_access_files_and_what_resembles_them_are_told_from_documents(name: str, target: str | None) -> None:
    assert governed_by(name) == target


@pytest.mark.parametrize(
    ("target", "names", "outcome"),
    [
        ("", ["_access.yaml"], "_access.yaml"),
        ("", ["_access.yaml", "_access.yaml~"], "_access.yaml"),
        ("x.pdf", ["x.pdf.access.yaml"], "x.pdf.access.yaml"),
        ("", ["_access.yml"], None),
        ("", ["_access.yaml", "_access.yml"], None),
        ("", ["_access.yaml.bak"], None),
        ("x.pdf", ["x.pdf.ACCESS.yaml"], None),
    ],
)
def test_one_rightly_spelt_access_file_is_read_and_nothing_in_its_place(
    target: str, names: list[str], outcome: str | None
) -> None:
    if outcome is None:
        with pytest.raises(BadAccessFile):
            choose(target, names, "")
    else:
        assert choose(target, names, "") == outcome


@given(
    st.lists(
        st.binary(min_size=1, max_size=8).filter(
            lambda name: not set(name) & set(b"/\0") and name not in (b".", b"..")
        ),
        min_size=1,
        max_size=4,
    )
)
def test_item_ids_are_utf_8_and_lead_back_to_exactly_the_same_bytes(path: list[bytes]) -> None:
    names = tuple(os.fsdecode(name) for name in path)
    item_id = "/".join(component(name) for name in names)
    item_id.encode()
    assert components(item_id) == names
    assert uri("share", components(item_id)).isascii()
    displayed(names[-1]).encode()


@pytest.mark.parametrize("item_id", ["", "..", "a/../b", "/etc/..", "//", "a/", "/%2E%2E/x", "/a%2Fb", "a\0b", "."])
def test_an_item_id_that_no_listing_wrote_opens_nothing(item_id: str) -> None:
    with pytest.raises(ValueError, match="not the id"):
        components(item_id)


@pytest.mark.parametrize(
    "name", ["~$plan.docx", ".~lock.plan.odt#", "x.TMP", "x.part", ".git", "Thumbs.db", ".DS_Store", "x~"]
)
def test_temporary_hidden_and_system_names_are_ignored(name: str) -> None:
    assert is_ignored(name)


@pytest.mark.parametrize("name", ["plan.docx", "tmp", "part", "Lost and found.txt", "_plan.txt", "$5.txt"])
def test_ordinary_names_are_not_ignored(name: str) -> None:
    assert not is_ignored(name)


# --- trust --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "owner", "names", "reason"),
    [
        (stat.S_IFREG | 0o644, 0, 1, None),
        (stat.S_IFREG | 0o600, 1000, 1, None),
        (stat.S_IFREG | 0o664, 0, 1, "writable by its group"),
        (stat.S_IFREG | 0o646, 0, 1, "or by others"),
        (stat.S_IFREG | 0o644, 1001, 1, "owned by user 1001"),
        (stat.S_IFREG | 0o644, 0, 2, "more than one name"),
        (stat.S_IFDIR | 0o755, 0, 1, "not a regular file"),
        (stat.S_IFIFO | 0o644, 0, 1, "not a regular file"),
        (stat.S_IFLNK | 0o777, 0, 1, "not a regular file"),
    ],
)
def test_in_15_only_a_plain_file_that_nobody_else_can_write_decides_about_rights(
    mode: int, owner: int, names: int, reason: str | None
) -> None:
    found = distrust(os.stat_result((mode, 1, 1, names, owner, 0, 10, 0, 0, 0)), {0, 1000})
    assert found is None if reason is None else found is not None and reason in found
