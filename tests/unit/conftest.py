"""Homes for tests of the writing path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rag.stores.catalog import Catalog, sqlite_url
from tests.writing_world import World


@pytest.fixture
def worlds(tmp_path: Path) -> Iterator[Callable[[], World]]:
    opened: list[Catalog] = []

    def open_world() -> World:
        opened.append(Catalog.open(sqlite_url(tmp_path / f"{len(opened)}.db")))
        return World(opened[-1])

    yield open_world
    for each in opened:
        each.close()


@pytest.fixture
def world(worlds: Callable[[], World]) -> World:
    return worlds()
