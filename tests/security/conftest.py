"""A share, and what lies outside of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shares import EVERYONE, SECRET, write


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
