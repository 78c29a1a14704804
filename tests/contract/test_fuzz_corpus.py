"""Files that a parser could not cope with once, kept by `python -m tests.fuzz`: each is read or refused now, in time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.__main__ import fault

FOUND = sorted(Path(__file__).parents[1].joinpath("fuzz", "found").iterdir())


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_ft_11_what_once_broke_a_parser_is_read_or_refused(path: Path) -> None:
    _, name = path.name.split("-", 1)
    assert fault(path.read_bytes(), name) is None


def test_there_are_such_files() -> None:
    assert FOUND
