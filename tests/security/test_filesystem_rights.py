"""Who may write rights, and that rights and contents of a folder are of one moment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rag.access.acl import Acl
from rag.access.principals import EVERYONE_IN_TENANT
from tests.shares import EVERYONE, ONLY_SALES, SALES, acls, ids, into_fifo, listed, problem, write

# --- IN-15: who may write rights ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        pytest.param(lambda path: path.chmod(0o664), "writable by its group", id="group-writable"),
        pytest.param(lambda path: path.chmod(0o646), "writable by its group or by others", id="world-writable"),
        pytest.param(lambda path: os.chown(path, 4242, 0), "owned by user 4242", id="foreign-owner"),
        pytest.param(lambda path: os.link(path, path.with_name("other")), "more than one name", id="hard-linked"),
        pytest.param(lambda path: (path.rename(path.parent / "r"), path.symlink_to("r")), "plain file", id="link"),
        pytest.param(into_fifo, "not a regular file", id="fifo"),
        pytest.param(lambda path: (path.unlink(), path.mkdir()), "not a regular file", id="folder"),
        pytest.param(lambda path: path.rename(path.with_name("_Access.yaml")), "exactly these letters", id="case"),
        pytest.param(lambda path: path.rename(path.with_name("_access.yml")), "exactly these letters", id="yml"),
        pytest.param(lambda path: path.rename(path.with_name("_access.yaml~")), "which is missing", id="backup"),
        pytest.param(lambda path: write(path.with_name("_access.yml"), EVERYONE), "exactly these letters", id="two"),
        pytest.param(lambda path: path.write_text(""), "empty", id="empty"),
        pytest.param(
            lambda path: path.write_text("kustos_access: 1\nallow: [everyone]\nx: 1"), "line 3", id="unknown-key"
        ),
        pytest.param(lambda path: path.write_text("kustos_access: 1\nallow: &a [everyone]"), "anchors", id="anchor"),
        pytest.param(lambda path: path.write_text("#" * 70_000), "64 KB", id="huge"),
        pytest.param(lambda path: os.truncate(path, 10**12), "64 KB", id="sparse"),
    ],
)
def test_in_15_access_file_that_cannot_be_trusted_or_read_gives_the_folder_to_nobody(
    root: Path, spoil: Callable[[Path], object], says: str
) -> None:
    write(root / "pay/x.txt", "secret")
    write(root / "pay/deep/y.txt", "secret")
    write(root / "pay/_access.yaml", EVERYONE)
    assert acls(listed(root))["pay/x.txt"] == Acl.of({EVERYONE_IN_TENANT})
    try:
        spoil(root / "pay/_access.yaml")
    except PermissionError:
        pytest.skip("needs root, to give a file to somebody else")
    listing = listed(root)
    rights = acls(listing)
    assert rights["pay/x.txt"] == rights["pay/deep/y.txt"] == Acl.nobody()
    assert not any("access" in each.casefold() for each in rights)
    assert any(says in each.detail for each in listing.problems)


def test_in_15_owner_of_the_root_may_write_rights(root: Path) -> None:
    write(root / "x.txt", "x")
    try:
        os.chown(root, 4242, -1)
        os.chown(root / "_access.yaml", 4242, -1)
    except PermissionError:
        pytest.skip("needs root, to give a file to somebody else")
    assert acls(listed(root))["x.txt"] == Acl.of({EVERYONE_IN_TENANT})


def test_in_15_access_file_beside_a_document_governs_it_alone_and_must_be_trusted_too(root: Path) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        write(root / name, name)
    write(root / "a.txt.access.yaml", ONLY_SALES)
    write(root / "b.txt.access.yaml", ONLY_SALES, 0o666)
    rights = acls(listed(root))
    assert rights == {"a.txt": Acl.of({SALES}), "b.txt": Acl.nobody(), "c.txt": Acl.of({EVERYONE_IN_TENANT})}


@pytest.mark.parametrize("name", ["x.txt.access.yaml", "folder.access.yaml", "_access.yaml.access.yaml"])
def test_in_15_document_that_is_named_like_an_access_file_is_reported_and_not_indexed(root: Path, name: str) -> None:
    (root / "folder").mkdir()
    write(root / name, EVERYONE)
    listing = listed(root)
    assert ids(listing) == []
    assert "governs no file" in problem(listing, name)


@pytest.mark.parametrize(
    ("document", "target"),
    [
        pytest.param("Geha\u0308lter.txt", "Geh\u00e4lter.txt", id="composed beside decomposed"),
        pytest.param("Geh\u00e4lter.txt", "Geha\u0308lter.txt", id="decomposed beside composed"),
        pytest.param("Lohn.txt", "lohn.txt", id="case"),
        pytest.param("GEHA\u0308LTER.TXT", "geh\u00e4lter.txt", id="both"),
        pytest.param("Stra\u00dfe.txt", "STRASSE.txt", id="sharp s"),
    ],
)
def test_in_15_access_file_that_names_its_document_in_other_letters_gives_it_to_nobody(
    root: Path, document: str, target: str
) -> None:
    write(root / document, "secret")
    write(root / "other.txt", "for all")
    write(root / f"{target}.access.yaml", ONLY_SALES)
    listing = listed(root)
    assert acls(listing) == {document: Acl.nobody(), "other.txt": Acl.of({EVERYONE_IN_TENANT})}
    assert f"call it {document}.access.yaml" in problem(listing, document)
    assert "governs no file" in problem(listing, f"{target}.access.yaml")
    write(root / f"{document}.access.yaml", ONLY_SALES)
    assert acls(listed(root))[document] == Acl.nobody()


def test_in_15_document_renamed_away_from_its_access_file_is_not_opened_to_the_readers_of_the_folder(
    root: Path,
) -> None:
    for name in ("pay/wages.txt", "pay/other.txt", "pay/governed.txt", "pay/deep/x.txt", "y.txt"):
        write(root / name, name)
    for name in ("pay/wages.txt", "pay/governed.txt"):
        write(root / f"{name}.access.yaml", ONLY_SALES)
    (root / "pay/wages.txt").rename(root / "pay/wages 2025.txt")
    listing = listed(root)
    everyone, nobody = Acl.of({EVERYONE_IN_TENANT}), Acl.nobody()
    assert acls(listing) == {
        "pay/wages 2025.txt": nobody,
        "pay/other.txt": nobody,
        "pay/governed.txt": Acl.of({SALES}),
        "pay/deep/x.txt": everyone,
        "y.txt": everyone,
    }
    assert "pay/wages.txt.access.yaml governs no file" in problem(listing, "pay")
    (root / "pay/wages.txt.access.yaml").rename(root / "pay/wages 2025.txt.access.yaml")
    assert acls(listed(root))["pay/wages 2025.txt"] == Acl.of({SALES})
    assert acls(listed(root))["pay/other.txt"] == everyone


def test_in_15_access_file_that_changes_while_it_is_read_gives_the_folder_to_nobody(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root / "x.txt", "x")
    os.utime(root / "_access.yaml", (0, 0))
    really_read = os.read

    def read(descriptor: int, length: int) -> bytes:
        data = really_read(descriptor, length)
        monkeypatch.undo()
        (root / "_access.yaml").write_text(EVERYONE.replace("everyone", " " * 8))
        return data

    monkeypatch.setattr(os, "read", read)
    assert acls(listed(root)) == {"x.txt": Acl.nobody()}


# --- rights and contents of one moment ----------------------------------------------------------------------------


def in_the_middle(monkeypatch: pytest.MonkeyPatch, call: str, name: str, change: Callable[[], object]) -> None:
    """The next `call` of the os module for the entry `name` is followed by `change`, once."""
    really = getattr(os, call)

    def hooked(path: object, *args: object, **options: object) -> object:
        outcome = really(path, *args, **options)
        if path == name:
            monkeypatch.undo()
            change()
        return outcome

    monkeypatch.setattr(os, call, hooked)


def replace_file(path: Path, text: str) -> None:
    write(path.with_name(".draft"), text)
    path.with_name(".draft").replace(path)


@pytest.mark.parametrize(
    "bring",
    [
        pytest.param(lambda root: write(root / "sub/x.txt", "a secret"), id="rc_08 written"),
        pytest.param(lambda root: (root.parent / "x.txt").replace(root / "sub/x.txt"), id="rc_07 moved in"),
    ],
)
@pytest.mark.parametrize("rewrite", [replace_file, write], ids=["replaced", "rewritten"])
def test_rc_08_content_that_came_after_a_tightening_in_mid_listing_is_not_listed_under_the_rights_before_it(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    bring: Callable[[Path], object],
    rewrite: Callable[[Path, str], None],
) -> None:
    write(root / "sub/deep/y.txt", "y")
    write(root.parent / "x.txt", "a secret")

    def tighten_then_bring() -> None:
        rewrite(root / "_access.yaml", ONLY_SALES)
        bring(root)

    in_the_middle(monkeypatch, "open", "sub", tighten_then_bring)
    listing = listed(root)
    assert acls(listing) == {"sub/deep/y.txt": Acl.nobody(), "sub/x.txt": Acl.nobody()}
    assert "changed during the listing" in problem(listing, ".")
    assert set(acls(listed(root)).values()) == {Acl.of({SALES})}


def test_rc_07_what_lies_beside_a_folder_that_was_tightened_in_mid_listing_keeps_its_rights(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root / "a/deep/x.txt", "x")
    write(root / "b/y.txt", "y")
    in_the_middle(monkeypatch, "open", "deep", lambda: write(root / "a/_access.yaml", ONLY_SALES))
    assert acls(listed(root)) == {"a/deep/x.txt": Acl.nobody(), "b/y.txt": Acl.of({EVERYONE_IN_TENANT})}
    assert acls(listed(root))["a/deep/x.txt"] == Acl.of({SALES})


def test_rc_07_folder_that_vanishes_in_mid_listing_with_its_access_file_goes_to_nobody(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root / "a/_access.yaml", EVERYONE)
    write(root / "a/x.txt", "x")
    in_the_middle(monkeypatch, "stat", "x.txt", lambda: shutil.rmtree(root / "a"))
    assert acls(listed(root)) == {"a/x.txt": Acl.nobody()}


@pytest.mark.parametrize(
    ("before", "after", "moment"),
    [
        pytest.param(ONLY_SALES, EVERYONE, "x.txt", id="loosened after the document was looked at"),
        pytest.param(ONLY_SALES, EVERYONE, "x.txt.access.yaml", id="loosened before"),
        pytest.param(EVERYONE, ONLY_SALES, "x.txt", id="tightened after the document was looked at"),
        pytest.param(EVERYONE, ONLY_SALES, "x.txt.access.yaml", id="tightened before"),
        pytest.param(None, ONLY_SALES, "x.txt", id="the first of its own, after"),
        pytest.param(None, ONLY_SALES, "_access.yaml", id="the first of its own, before"),
    ],
)
def test_rc_13_document_and_access_file_exchanged_in_mid_listing_are_never_paired_across_the_change(
    root: Path, monkeypatch: pytest.MonkeyPatch, before: str | None, after: str, moment: str
) -> None:
    write(root / "x.txt", "old")
    if before is not None:
        write(root / "x.txt.access.yaml", before)

    def exchange() -> None:
        replace_file(root / "x.txt", "new")
        replace_file(root / "x.txt.access.yaml", after)

    in_the_middle(monkeypatch, "stat", moment, exchange)
    assert acls(listed(root)) == {"x.txt": Acl.nobody()}
    assert acls(listed(root)) == {"x.txt": Acl.of({EVERYONE_IN_TENANT if after == EVERYONE else SALES})}


def test_ignored_names_are_neither_documents_nor_walked(root: Path) -> None:
    for name in ("~$plan.docx", ".~lock.plan.odt#", "x.tmp", "x.part", ".git/config", "Thumbs.db", ".hidden/x.txt"):
        write(root / name, "x")
    listing = listed(root)
    assert ids(listing) == []
    assert listing.problems == ()
