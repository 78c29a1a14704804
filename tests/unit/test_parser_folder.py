"""The folder of a parser process: bounded, removed whatever was made in it, swept only where nobody is left."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.parser_folder import MAX_LEVELS, ParserFolder, sweep
from ingest.parsers.confinement import empty_folder
from ingest.parsers.namespaces import MAX_FILES
from tests.hostile import nest

LIMIT = 1_000_000


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def folder() -> Iterator[ParserFolder]:
    folder = ParserFolder()
    yield folder
    folder.remove()
    assert not Path(folder.path).exists()
    folder.remove()


def test_bytes_files_and_levels_are_bounded(folder: ParserFolder) -> None:
    assert not folder.overflows(LIMIT)
    Path(folder.path, "small").write_bytes(bytes(LIMIT // 2))
    assert not folder.overflows(LIMIT)
    Path(folder.path, "a").mkdir()
    Path(folder.path, "a", "more").write_bytes(bytes(LIMIT))
    assert folder.overflows(LIMIT)


def test_many_files_without_content_overflow_it(folder: ParserFolder) -> None:
    for number in range(MAX_FILES + 1):
        os.close(os.open(f"{folder.path}/{number}", os.O_CREAT | os.O_WRONLY))
    assert folder.overflows(LIMIT)


@pytest.mark.parametrize("levels", [MAX_LEVELS + 2, 1200, 5000])
def test_folders_that_no_path_reaches_overflow_it_and_are_removed(folder: ParserFolder, levels: int) -> None:
    nest(Path(folder.path), levels)
    assert folder.overflows(LIMIT)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser can look into everything")
def test_a_folder_that_cannot_be_listed_overflows_it(folder: ParserFolder) -> None:
    Path(folder.path, "hidden").mkdir(mode=0o300)
    assert folder.overflows(LIMIT)


def test_folders_without_rights_and_links_are_removed_and_links_are_not_followed(
    folder: ParserFolder, place: Path
) -> None:
    kept = place / "kept"
    kept.mkdir()
    (kept / "file").write_text("stays")
    inner = Path(folder.path, "a", "b")
    inner.mkdir(parents=True)
    (inner / "file").write_text("goes")
    Path(folder.path, "link").symlink_to(kept)
    (inner / "link").symlink_to(kept)
    for each in (inner, inner.parent):
        each.chmod(0)
    folder.remove()
    assert not Path(folder.path).exists()
    assert (kept / "file").read_text() == "stays"


def test_only_what_nobody_holds_is_swept(folder: ParserFolder, place: Path) -> None:
    left = place / "kustos-parser-1-abc_123"
    (left / "a").mkdir(parents=True)
    (left / "a" / "file").write_text("left")
    others = [place / "kustos-parser-abc", place / "kustos-else", place / "file"]
    for each in others:
        each.mkdir()
    elsewhere = place / "elsewhere"
    (elsewhere / "a").mkdir(parents=True)
    link = place / "kustos-parser-2-abc_123"
    link.symlink_to(elsewhere)
    sweep()
    assert not left.exists()
    assert all(each.exists() for each in (*others, elsewhere / "a", link, Path(folder.path)))


@pytest.mark.skipif(os.geteuid() != 0, reason="takes the right to give a folder away")
def test_what_belongs_to_others_is_not_swept(place: Path) -> None:
    theirs = place / "kustos-parser-3-abc_123"
    theirs.mkdir()
    os.chown(theirs, 12345, 12345)
    sweep()
    assert theirs.exists()


def test_a_folder_is_locked_as_long_as_its_maker_has_it(folder: ParserFolder) -> None:
    descriptor = os.open(folder.path, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


def test_a_child_that_cannot_empty_its_folder_says_so(folder: ParserFolder) -> None:
    Path(folder.path, "file").write_text("goes")
    Path(folder.path, "a").mkdir()
    assert empty_folder(folder.path)
    assert not os.listdir(folder.path)
    nest(Path(folder.path), 5000)
    assert empty_folder(folder.path) == (not os.listdir(folder.path))
