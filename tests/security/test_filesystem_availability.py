"""A share that cannot be read is not empty, whoever reads it; and what tells of its changes."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest
from watchfiles._rust_notify import RustNotify

from connectors import filesystem
from connectors.base import Listing
from connectors.filesystem import MARKER
from ingest.bootstrap import filesystem_source
from rag.access.acl import Acl
from rag.errors import KustosError, SourceUnavailable
from rag.settings import Settings
from tests.memory_source import fetched
from tests.shares import EVERYONE, acls, connector, ids, listed, only, problem, write

T = TypeVar("T")
NOBODY_UID = 65534


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
