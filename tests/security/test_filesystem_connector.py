"""The file-system connector against hostile and broken trees, on a real file system."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest
from watchfiles._rust_notify import RustNotify

from connectors import filesystem
from connectors.base import Item, ItemChanged, ItemGone, Listing
from connectors.filesystem import MARKER, MAX_DEPTH, FilesystemConnector
from ingest.bootstrap import filesystem_source
from rag.access.acl import Acl
from rag.access.principals import EVERYONE_IN_TENANT, Principal
from rag.errors import DocumentRefused, KustosError, RefusalReason, SourceUnavailable
from rag.settings import Settings
from tests.memory_source import fetched

T = TypeVar("T")

LIMIT = 10_000
NOBODY_UID = 65534
SECRET = b"secret of the outside"
RACES = 3000
SALES = Principal("kc:r:group:/sales")
EVERYONE = "kustos_access: 1\nallow: [everyone]\n"
ONLY_SALES = 'kustos_access: 1\ninherit: false\nallow: [{principal: "kc:r:group:/sales"}]\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    write(folder / "_access.yaml", EVERYONE)
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    write(folder / "x.txt", SECRET.decode())
    return folder


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def connector(root: Path, *, cross_mounts: bool = False) -> FilesystemConnector:
    return FilesystemConnector("share", root, max_bytes=LIMIT, cross_mounts=cross_mounts)


def listed(root: Path) -> Listing:
    return connector(root).list()


def ids(listing: Listing) -> list[str]:
    return [item.item_id for item in listing.items]


def acls(listing: Listing) -> dict[str, Acl]:
    return {item.item_id: listing.acl(item.acl_reference) for item in listing.items}


def problem(listing: Listing, where: str) -> str:
    (detail,) = [each.detail for each in listing.problems if each.where == where]
    return detail


def only(listing: Listing) -> Item:
    (item,) = listing.items
    return item


# --- IN-11: nothing from outside the root -------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["../outside/x.txt", "../outside", "/etc/shadow", "/proc/self/root", ".", "missing"])
def test_in_11_symlink_out_of_the_root_is_not_followed(root: Path, outside: Path, target: str) -> None:
    (root / "link").symlink_to(target)
    listing = listed(root)
    assert ids(listing) == []
    assert "never followed" in problem(listing, "link")


def test_in_11_symlink_inside_the_root_is_not_followed_either(root: Path) -> None:
    write(root / "secret/x.txt", "x")
    write(root / "secret/_access.yaml", ONLY_SALES)
    (root / "open").symlink_to("secret")
    assert ids(listed(root)) == ["secret/x.txt"]


def test_in_11_directory_symlink_loop_ends(root: Path) -> None:
    (root / "a").mkdir()
    (root / "a/loop").symlink_to("..")
    write(root / "a/x.txt", "x")
    assert ids(listed(root)) == ["a/x.txt"]


def test_in_11_file_replaced_by_a_symlink_after_the_listing_is_gone(root: Path, outside: Path) -> None:
    write(root / "x.txt", "x")
    item = only(listed(root))
    (root / "x.txt").unlink()
    (root / "x.txt").symlink_to(outside / "x.txt")
    with pytest.raises(ItemGone):
        fetched(connector(root), item)


def test_in_11_folder_replaced_by_a_symlink_after_the_listing_is_gone(root: Path, outside: Path) -> None:
    write(root / "a/x.txt", "x")
    item = only(listed(root))
    shutil.rmtree(root / "a")
    (root / "a").symlink_to(outside)
    with pytest.raises(ItemGone):
        fetched(connector(root), item)


def test_in_11_folder_of_other_rights_moved_into_the_place_of_a_listed_one_is_not_read(root: Path) -> None:
    write(root / "open/x.txt", "public")
    write(root / "closed/_access.yaml", ONLY_SALES)
    write(root / "closed/x.txt", "secret")
    item = next(each for each in listed(root).items if each.item_id == "open/x.txt")
    (root / "open").rename(root / "old")
    (root / "closed").rename(root / "open")
    with pytest.raises(ItemChanged):
        fetched(connector(root), item)


def test_in_11_symlink_swap_race_never_yields_a_byte_from_outside(root: Path, outside: Path, tmp_path: Path) -> None:
    """One thread swaps a file and a folder for links to the outside as fast as it can, the other lists and reads."""
    write(root / "x.txt", "inside")
    write(root / "a/x.txt", "inside")
    (tmp_path / "file-link").symlink_to(outside / "x.txt")
    (tmp_path / "folder-link").symlink_to(outside)
    done = threading.Event()
    swaps = count()

    def swap() -> None:
        while not done.is_set():
            for real, link in ((root / "x.txt", tmp_path / "file-link"), (root / "a", tmp_path / "folder-link")):
                real.rename(tmp_path / "aside")
                link.rename(real)
                real.rename(link)
                (tmp_path / "aside").rename(real)
                next(swaps)

    source = connector(root)
    read: set[bytes] = set()
    listings: set[str] = set()
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(RACES):
            for item in source.list().items:
                listings.add(item.item_id)
                try:
                    read.add(fetched(source, item))
                except (ItemChanged, ItemGone):
                    continue
    finally:
        done.set()
        thread.join()
    assert read == {b"inside"}
    assert listings == {"x.txt", "a/x.txt"}
    assert next(swaps) > RACES


def test_in_11_hard_link_to_a_file_outside_is_shown_to_nobody(root: Path, outside: Path) -> None:
    os.link(outside / "x.txt", root / "x.txt")
    listing = listed(root)
    assert acls(listing) == {"x.txt": Acl.nobody()}
    assert "hard links" in problem(listing, "x.txt")


def test_in_11_hard_link_from_an_open_folder_into_a_closed_one_opens_neither(root: Path) -> None:
    write(root / "closed/_access.yaml", ONLY_SALES)
    write(root / "closed/x.txt", "secret")
    os.link(root / "closed/x.txt", root / "y.txt")
    assert set(acls(listed(root)).values()) == {Acl.nobody()}


def test_in_11_hard_link_made_after_the_listing_stops_the_reading(root: Path) -> None:
    write(root / "x.txt", "x")
    item = only(listed(root))
    os.link(root / "x.txt", root / "y.txt")
    with pytest.raises(ItemChanged):
        fetched(connector(root), item)


def test_in_11_prefix_twin_of_the_root_is_another_source(root: Path) -> None:
    twin = root.with_name("share2")
    write(twin / "x.txt", "other")
    write(root / "x.txt", "mine")
    (root / "twin").symlink_to("../share2")
    assert ids(listed(root)) == ["x.txt"]
    assert fetched(connector(root), only(listed(root))) == b"mine"


def test_in_11_another_file_system_mounted_below_the_root_is_walked_only_if_configured(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from rag.settings import Settings\n"
        "from ingest.bootstrap import filesystem_source\n"
        "for cross in (False, True):\n"
        "    listing = filesystem_source(Settings(), 's', Path(sys.argv[1]), cross_mounts=cross).list()\n"
        "    print([item.item_id for item in listing.items], dict(listing.unavailable))\n"
    )
    mount = (
        f'mount -t tmpfs none {tmp_path}/m && echo x > {tmp_path}/m/x.txt && exec {sys.executable} -c "$0" {tmp_path}'
    )
    (tmp_path / "m").mkdir()
    run = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, script]
    if shutil.which("unshare") is None or subprocess.run([*run[:3], "true"], check=False).returncode:
        pytest.skip("needs user namespaces: sysctl -w kernel.unprivileged_userns_clone=1")
    out = subprocess.run(run, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2]).stdout
    assert out.splitlines() == ["[] {'m/': 'folder:m'}", "['m/x.txt'] {}"]


def test_uris_never_show_where_the_server_keeps_the_files(root: Path) -> None:
    write(root / "a b/ü#?%.txt", "x")
    item = only(listed(root))
    assert item.uri == "file://share/a%20b/%C3%BC%23%3F%25.txt"
    assert str(root) not in repr(item)


# --- IN-12: odd files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pipe", "pipe.pdf"])
def test_in_12_fifo_is_left_out_and_blocks_nothing(root: Path, name: str) -> None:
    os.mkfifo(root / name)
    listing = listed(root)
    assert ids(listing) == []
    assert "not a regular file" in problem(listing, name)


def test_in_12_fifo_in_the_place_of_a_listed_file_does_not_block_the_reading(root: Path) -> None:
    write(root / "x.txt", "x")
    item = only(listed(root))
    (root / "x.txt").unlink()
    os.mkfifo(root / "x.txt")
    with pytest.raises(ItemChanged):
        fetched(connector(root), item)


def test_in_12_sparse_terabyte_file_is_refused_without_reading(root: Path) -> None:
    with (root / "x.bin").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(DocumentRefused) as refusal:
        fetched(connector(root), only(listed(root)))
    assert refusal.value.reason is RefusalReason.TOO_LARGE


def test_in_12_empty_file_is_an_item_of_no_bytes(root: Path) -> None:
    write(root / "x.txt", "")
    assert fetched(connector(root), only(listed(root))) == b""


@pytest.mark.parametrize(
    "meddle",
    [
        pytest.param(lambda path: path.open("ab").write(b"more"), id="grows"),
        pytest.param(lambda path: path.write_bytes(b"b" * 9), id="rewritten"),
        pytest.param(lambda path: os.truncate(path, 3), id="cut"),
        pytest.param(lambda path: path.rename(path.with_name("y.txt")), id="renamed"),
        pytest.param(lambda path: path.chmod(0o600), id="chmod"),
    ],
)
def test_in_12_file_that_changes_while_it_is_read_gives_no_torn_content(
    root: Path, monkeypatch: pytest.MonkeyPatch, meddle: Callable[[Path], object]
) -> None:
    write(root / "x.txt", "a" * 9)
    item = only(listed(root))
    really_read = os.read

    def read(descriptor: int, length: int) -> bytes:
        data = really_read(descriptor, length)
        if not data:
            meddle(root / "x.txt")
            monkeypatch.undo()
        return data

    monkeypatch.setattr(os, "read", read)
    with pytest.raises(ItemChanged):
        fetched(connector(root), item)


def test_in_12_file_that_grows_without_end_is_cut_off_at_the_limit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root / "x.txt", "a")
    item = only(listed(root))
    monkeypatch.setattr(os, "read", lambda descriptor, length: b"a" * length)
    with pytest.raises(DocumentRefused) as refusal:
        fetched(connector(root), item)
    assert refusal.value.reason is RefusalReason.TOO_LARGE


def test_in_12_times_beyond_the_calendar_do_not_stop_the_listing(root: Path) -> None:
    write(root / "x.txt", "x")
    os.utime(root / "x.txt", ns=(0, -(10**18)))
    assert only(listed(root)).modified_at.year < 1970


# --- names and depth ----------------------------------------------------------------------------------------------


def test_names_that_are_not_utf_8_are_listed_read_and_encodable(root: Path) -> None:
    folder = os.fsencode(root) + b"/alt\xdc"
    os.mkdir(folder)
    for name in (b"\xdcbersicht.txt", b"\xff\xfe.txt"):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(name)
    listing = listed(root)
    assert [item.uri for item in listing.items] == [
        "file://share/alt%DC/%DCbersicht.txt",
        "file://share/alt%DC/%FF%FE.txt",
    ]
    assert [fetched(connector(root), item) for item in listing.items] == [b"\xdcbersicht.txt", b"\xff\xfe.txt"]
    for item in listing.items:
        f"{item.item_id}{item.uri}{item.name}{item.acl_reference}".encode()


def test_access_files_with_names_that_are_not_utf_8_govern_and_report_in_encodable_words(root: Path) -> None:
    with open(os.fsencode(root) + b"/\xdc.txt", "wb"), open(os.fsencode(root) + b"/\xdc.txt.access.yaml", "wb"):
        listing = listed(root)
    assert set(acls(listing).values()) == {Acl.nobody()}
    for each in listing.problems:
        f"{each.where}{each.detail}".encode()


def test_names_that_only_look_alike_are_different_documents(root: Path) -> None:
    names = ["caf\u00e9.txt", "cafe\u0301.txt", "A.txt", "a.txt", "a\n.txt", "%61.txt", "a\u202etxt.exe"]
    for name in names:
        write(root / name, name)
    listing = listed(root)
    assert {fetched(connector(root), item).decode() for item in listing.items} == set(names)
    assert len({item.uri for item in listing.items}) == len(names)


def test_deep_nesting_is_cut_at_a_limit_and_does_not_exhaust_descriptors_or_the_stack(root: Path) -> None:
    descriptor = os.open(root, os.O_RDONLY)
    for _ in range(MAX_DEPTH * 4):
        os.mkdir("d", dir_fd=descriptor)
        os.close(os.open("x.txt", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
        deeper = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = deeper
    os.close(descriptor)
    listing = listed(root)
    assert len(listing.items) == MAX_DEPTH + 1
    assert list(listing.unavailable) == ["d/" * (MAX_DEPTH + 1)]
    shutil.rmtree(root)


def test_no_descriptor_is_left_open(root: Path) -> None:
    write(root / "a/b/x.txt", "x")
    write(root / "a/_access.yaml", "broken", 0o666)
    os.mkfifo(root / "a/b/_access.yaml")
    before = os.listdir("/proc/self/fd")
    item = only(listed(root))
    fetched(connector(root), item)
    (root / "a/b/x.txt").unlink()
    with pytest.raises(ItemGone):
        fetched(connector(root), item)
    assert os.listdir("/proc/self/fd") == before


def into_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


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


# --- unavailable is not empty -------------------------------------------------------------------------------------


def test_ft_14_root_that_is_a_file_or_missing_is_unavailable(root: Path) -> None:
    write(root / "x.txt", "x")
    for path in (root / "x.txt", root / "missing"):
        with pytest.raises(SourceUnavailable):
            listed(path)


def test_ft_14_empty_mount_point_where_documents_were_is_unavailable(root: Path) -> None:
    write(root / "x.txt", "x")
    cursor = listed(root).cursor
    shutil.rmtree(root)
    root.mkdir()
    with pytest.raises(SourceUnavailable, match=MARKER):
        connector(root).list(cursor)
    assert connector(root).list().items == ()


def test_ft_14_source_that_is_really_empty_says_so_with_its_marker(root: Path) -> None:
    write(root / "x.txt", "x")
    write(root / MARKER, "share of sales")
    cursor = listed(root).cursor
    (root / "x.txt").unlink()
    assert connector(root).list(cursor).items == ()


@pytest.mark.parametrize("marker", [None, "share of another department"])
def test_ft_14_source_whose_marker_is_missing_or_another_is_unavailable(root: Path, marker: str | None) -> None:
    write(root / "x.txt", "x")
    write(root / MARKER, "share of sales")
    cursor = listed(root).cursor
    (root / MARKER).unlink()
    if marker is not None:
        write(root / MARKER, marker)
    with pytest.raises(SourceUnavailable, match="is it mounted"):
        connector(root).list(cursor)


@pytest.fixture
def public_root() -> Iterator[Path]:
    """A source in a folder that other users can reach, unlike pytest's own temporary folders."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    write(folder / "_access.yaml", EVERYONE)
    yield folder
    folder.chmod(0o755)
    for path in folder.iterdir():
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


def as_nobody(action: Callable[[], T]) -> T | str:
    """What `action` returns, or the name of the error it raises, in a process without root's power to read everything."""
    if os.geteuid() != 0:
        return outcome_of(action)
    fork = multiprocessing.get_context("fork")
    receiving, sending = fork.Pipe(duplex=False)

    def run() -> None:
        os.setgroups([])
        os.setresgid(NOBODY_UID, NOBODY_UID, NOBODY_UID)
        os.setresuid(NOBODY_UID, NOBODY_UID, NOBODY_UID)
        sending.send(outcome_of(action))

    process = fork.Process(target=run)
    process.start()
    sending.close()  # so that a child that dies is an EOFError here, and not a test that waits for ever
    outcome: T | str = receiving.recv()
    process.join()
    return outcome


def outcome_of(action: Callable[[], T]) -> T | str:
    try:
        return action()
    except KustosError as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111], ids=["nothing", "names only", "search only"])
def test_in_11_and_ft_17_folder_that_may_not_be_read_keeps_its_documents_and_shows_them_to_nobody(
    public_root: Path, mode: int
) -> None:
    write(public_root / "a/x.txt", "x")
    write(public_root / "b/y.txt", "y")
    (public_root / "a").chmod(mode)
    listing = as_nobody(lambda: listed(public_root))
    assert isinstance(listing, Listing)
    assert ids(listing) == ["b/y.txt"]
    assert listing.unavailable == {"a/": "folder:a"}
    assert listing.acl("folder:a") == Acl.nobody()
    assert "cannot be" in problem(listing, "a")


def test_file_that_may_not_be_read_is_refused_and_its_folder_goes_on(public_root: Path) -> None:
    write(public_root / "x.txt", "x", 0o000)
    outcome = as_nobody(lambda: fetched(connector(public_root), only(listed(public_root))))
    assert outcome == "DocumentRefused: unreadable: x.txt: Permission denied"


def test_access_file_that_may_not_be_read_gives_its_folder_to_nobody(public_root: Path) -> None:
    write(public_root / "a/x.txt", "x")
    write(public_root / "a/_access.yaml", EVERYONE, 0o200)
    listing = as_nobody(lambda: listed(public_root))
    assert isinstance(listing, Listing)
    assert acls(listing) == {"a/x.txt": Acl.nobody()}


def test_ft_14_root_that_may_not_be_read_is_unavailable(public_root: Path) -> None:
    public_root.chmod(0o311)
    outcome = as_nobody(lambda: listed(public_root))
    assert isinstance(outcome, str)
    assert outcome.startswith("SourceUnavailable")


# --- watching -----------------------------------------------------------------------------------------------------


def test_watch_hints_at_a_change_in_a_subfolder_and_looks_into_no_link(root: Path, outside: Path) -> None:
    write(root / "a/x.txt", "x")
    (root / "out").symlink_to(outside)
    stop = threading.Event()
    hints: list[None] = []

    def change(path: Path, until: threading.Event) -> None:
        for number in count():
            write(path / "note.txt", str(number))
            if until.wait(0.1):
                return

    thread = threading.Thread(target=change, args=(root / "a", stop))
    thread.start()
    try:
        for hint in connector(root).watch(stop, 60):
            hints.append(hint)
            if len(hints) == 2:  # the first one comes before anything has changed
                stop.set()
    finally:
        stop.set()
        thread.join()
    assert len(hints) == 2
    assert str(outside) not in str(connector(root)._folders())


def test_a_share_that_tells_of_no_changes_is_watched_by_polling(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def watches(folders: list[str], **options: Any) -> RustNotify:
        asked.append(options["force_polling"])
        return RustNotify(folders, **options)

    monkeypatch.setattr(filesystem, "RustNotify", watches)
    for poll in (False, True):
        next(filesystem_source(Settings(), "share", root, poll=poll).watch(threading.Event(), 60))
    assert asked == [False, True]


@pytest.mark.parametrize(
    "error",
    [
        *(
            FileNotFoundError(2, "no such folder"),
            PermissionError(13, "no"),
            OSError(28, "inotify watch limit reached"),
        ),
        *(
            RuntimeError("thread"),
            UnicodeEncodeError("x", "", 0, 1, "x"),
        ),
    ],
    ids=lambda error: type(error).__name__,
)
def test_ft_14_whatever_stops_a_watch_is_the_unavailable_source_and_not_an_error_of_the_watcher(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Broken:
        """Watches that break as soon as they are asked."""

        def __init__(self, *_: object, **options: object) -> None: ...
        def __enter__(self) -> Broken:
            return self

        def __exit__(self, *_: object) -> None: ...
        def watch(self, *_: object) -> None:
            raise error

    monkeypatch.setattr(filesystem, "RustNotify", Broken)
    hints = connector(root).watch(threading.Event(), 60)
    next(hints)
    with pytest.raises(SourceUnavailable, match="cannot be watched"):
        next(hints)


def test_watch_goes_on_when_a_subfolder_vanished_before_it_was_watched(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a").mkdir()

    def watches(folders: list[str], **options: Any) -> RustNotify:
        if (root / "a").exists():
            (root / "a").rmdir()
        return RustNotify(folders, **options)

    monkeypatch.setattr(filesystem, "RustNotify", watches)
    assert next(connector(root).watch(threading.Event(), 0.1)) is None
    assert not (root / "a").exists()


def test_change_token_survives_a_remount_that_gives_the_device_another_number(root: Path) -> None:
    write(root / "x.txt", "x")
    status = (root / "x.txt").stat()
    parts = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    assert only(listed(root)).change_token == ":".join(map(str, parts))
