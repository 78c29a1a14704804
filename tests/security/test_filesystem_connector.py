"""The file-system connector against hostile and broken trees, on a real file system."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from connectors.base import ItemChanged, ItemGone
from connectors.filesystem import MAX_DEPTH
from rag.access.acl import Acl
from rag.errors import DocumentRefused, RefusalReason
from tests.memory_source import fetched
from tests.shares import ONLY_SALES, acls, connector, ids, listed, only, problem, write

RACES = 3000


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
