"""A sync takes a listing for applied only where comparing it document by document would find nothing to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.base import ItemChanged
from ingest.pipeline import SyncReport
from rag.access.acl import Acl
from rag.access.principals import user
from rag.errors import DocumentRefused, RefusalReason
from rag.stores.catalog import Catalog, sqlite_url
from tests.effort import times
from tests.memory_source import SOURCE, UNREADABLE, attached
from tests.writing_world import World

NAMES = ("a", "b", "f/c", "f/d")
PLACES = ("p", "q")
PEOPLE = ("ann", "bob")
FAILURES = (
    ItemChanged("x"),
    DocumentRefused(RefusalReason.TIME_LIMIT, "x"),
    DocumentRefused(RefusalReason.TOO_LARGE, "x"),
)
TEXTS = (
    "eins",
    "zwei\n-left out",
    UNREADABLE,
    f"drei\n{attached('in', UNREADABLE)}",
    f"vier\n{attached('in', 'fünf')}",
)

names, places = st.sampled_from(NAMES), st.sampled_from(PLACES)
changes = st.one_of(
    st.tuples(st.just("write"), names, st.sampled_from(TEXTS), places),
    st.tuples(st.just("move"), names, places),
    st.tuples(st.just("delete"), names),
    st.tuples(st.just("permit"), places, st.sets(st.sampled_from(PEOPLE))),
    st.tuples(st.just("fail"), names, st.sampled_from(FAILURES)),
    st.tuples(st.just("mend"), names),
    st.tuples(st.just("close"), st.booleans()),
    st.tuples(st.just("read_by"), st.sampled_from(("one", "two"))),
    st.tuples(st.just("decided_by"), st.sampled_from(("one", "two"))),
)


def change(world: World, what: str, *how: object) -> None:
    source = world.source
    there = {item.item_id for item in source.list().items}
    match what, *how:
        case "write", str(name), str(text), str(place):
            source.write(name, text, place)
        case "move", str(name), str(place) if name in there:
            source.move(name, place)
        case "delete", str(name) if name in there:
            source.delete(name)
        case "permit", str(place), set(people):
            source.rights[place] = Acl.of({user("acme", each) for each in people})
        case "fail", str(name), Exception() as error:
            source.failures[name] = error
        case "mend", str(name):
            source.failures.pop(name, None)
        case "close", bool(closed):
            source.unavailable = ["f/"] if closed else []
        case "read_by" | "decided_by", str(value):
            setattr(world, what, value)


@pytest.fixture
def new_catalog(tmp_path: Path) -> Callable[[], Catalog]:
    """Opens an empty catalog as often as it is called: the schema is made once, then copied."""
    empty, numbers = tmp_path / "empty.db", count()
    Catalog.open(sqlite_url(empty)).close()

    def opened() -> Catalog:
        return Catalog.open(sqlite_url(shutil.copy(empty, tmp_path / f"{next(numbers)}.db")))

    return opened


@settings(max_examples=times(50), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories=st.lists(st.lists(changes, max_size=4), min_size=1, max_size=5))
def test_what_counts_as_applied_is(
    new_catalog: Callable[[], Catalog], histories: list[list[tuple[object, ...]]]
) -> None:
    with closing(new_catalog()) as catalog:
        world = World(catalog)
        for history in histories:
            for what, *how in history:
                change(world, str(what), *how)
            world.sync()
            short = world.sync()
            if world.writer.applied(SOURCE):
                world.writer.begin(SOURCE, "MemorySource", "")
                whole = world.sync()
                assert (whole.written, whole.moved, whole.deleted, whole.rights_changed) == (0, 0, 0, 0)
                assert (whole.refused, world.source.fetched) == ([], [])
                assert counted(short) == counted(whole)


def counted(report: SyncReport) -> tuple[int, int, int]:
    return report.listed, report.unchanged, report.still_refused
