"""The writing path over a real catalog, with source, parser, models and index in memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from connectors.base import ItemChanged, ItemGone
from ingest.pipeline import CHUNKS_A_BATCH
from rag.access.acl import Acl
from rag.documents import document_id
from rag.errors import (
    BadInput,
    DocumentRefused,
    KustosError,
    ModelUnavailable,
    NotFound,
    RefusalReason,
    SourceUnavailable,
)
from rag.stores.catalog import Catalog, sqlite_url
from rag.stores.catalog_status import CatalogStatus
from rag.stores.catalog_writing import Place
from tests.memory_source import SOURCE, UNREADABLE, MemorySource, attached
from tests.writing_world import ANN, BOB, FOR_ANN, FOR_BOB, FOR_BOTH, TENANT, Crash, World, texts


def test_a_first_sync_takes_everything_in_with_its_rights(world: World) -> None:
    world.source.write("a.txt", "one\ntwo")
    world.source.rights["p"] = FOR_ANN
    report = world.sync()
    assert (report.listed, report.written, report.chunks, report.embedded, report.deleted) == (1, 1, 2, 2, 0)
    stored = world.stored("a.txt")
    assert stored
    assert (stored.acl, stored.document.passages, stored.document.uri) == (FOR_ANN, 2, "file://share/a.txt")
    assert world.texts("a.txt") == ["one", "two"]
    assert world.rights_in_the_index("a.txt") == texts(ANN)


def test_a_second_sync_reads_nothing_embeds_nothing_and_writes_no_point(world: World) -> None:
    for name in ("a.txt", "b.txt"):
        world.source.write(name, "one\ntwo")
    world.sync()
    before = world.points()
    report = world.sync()
    assert (report.unchanged, report.written, report.embedded) == (2, 0, 0)
    assert (world.source.fetched, world.embedder.texts) == ([], [])
    assert not {"upsert", "delete", "set_acl", "move"} & {name for name, _ in world.calls}
    assert world.points() == before


def test_a_listing_that_left_no_work_is_not_compared_document_by_document_again(world: World) -> None:
    world.source.write("a", "eins")
    world.source.write("b", UNREADABLE)
    assert [world.sync().unchanged for _ in range(3)] == [0, 1, 1]
    assert "known" not in [name for name, _ in world.calls]
    assert (world.sync().listed, world.sync().still_refused) == (2, 1)
    world.source.rights["p"] = FOR_ANN
    assert world.sync().rights_changed == 1
    world.read_by = "a better parser"
    assert world.sync().written == 1


def test_rc_01_rights_that_were_changed_between_two_syncs_are_the_sources_again_after_the_next(world: World) -> None:
    world.source.write("a", "eins")
    world.source.rights["p"] = FOR_ANN
    world.sync()
    world.writer.set_places(SOURCE, [Place("p", FOR_BOB, "changed by hand")])
    assert world.sync().rights_changed == 1
    assert world.writer.places(SOURCE)["p"] == FOR_ANN


def test_after_an_edit_only_chunks_that_are_new_are_embedded(world: World) -> None:
    world.source.write("a.txt", "one\ntwo\nthree\ntwo")
    world.sync()
    world.source.write("a.txt", "zero\none\ntwo\nthree\ntwo")
    report = world.sync()
    assert world.embedder.texts == ["zero"]
    assert (report.embedded, report.chunks) == (1, 5)
    assert world.texts("a.txt") == ["zero", "one", "two", "three", "two"]
    assert len(world.points()) == 5


def test_chunks_that_an_edit_took_out_leave_catalog_and_index(world: World) -> None:
    world.source.write("a.txt", "one\ntwo\none")
    world.sync()
    world.source.write("a.txt", "one")
    world.sync()
    assert world.texts("a.txt") == ["one"]
    assert len(world.points()) == world.passages() == 1


def test_in_14_the_same_text_in_two_documents_keeps_separate_points_with_separate_rights(world: World) -> None:
    world.source.write("a.txt", "the same", "for ann")
    world.source.write("b.txt", "the same", "for bob")
    world.source.rights |= {"for ann": FOR_ANN, "for bob": FOR_BOB}
    world.sync()
    assert len(world.points()) == 2
    assert world.rights_in_the_index("a.txt") == texts(ANN)
    assert world.rights_in_the_index("b.txt") == texts(BOB)


# Order


def test_rights_shrink_first_then_what_is_gone_leaves_then_rights_grow_then_content_is_read(world: World) -> None:
    source = world.source
    for name, place in (("t", "tightened"), ("l", "loosened"), ("g", "kept"), ("m", "kept"), ("c", "kept")):
        source.write(name, "one", place)
    source.rights |= {"tightened": FOR_BOTH, "loosened": FOR_ANN, "kept": FOR_BOTH}
    world.sync()
    source.rights |= {"tightened": FOR_ANN, "loosened": FOR_BOTH}
    source.delete("g")
    source.move("m", "tightened")
    source.write("c", "two", "kept")
    source.write("n", "new", "kept")
    world.sync()
    steps = [_step(name, arguments) for name, arguments in world.calls]
    names = ["tightened", "moved", "gone", "loosened", "index follows", "content", "complete"]
    assert [each for at, each in enumerate(steps) if each in names and each not in steps[:at]] == names
    follows = len(steps) - 1 - steps[::-1].index("index follows")
    assert steps.index("content") < follows < steps.index("complete")


def _step(name: str, arguments: Any) -> str:
    match name:
        case "set_places":
            (place, *more) = arguments[1]
            return place.reference if not more else "origins"
        case "regovern":
            return "moved"
        case "remove":
            return "gone"
        case "embed_documents" | "upsert" | "commit" | "intend":
            return "content"
        case "set_acl" | "move" | "delete":
            return "index follows"
    return name


def test_the_index_follows_after_every_batch_and_not_only_at_the_end(world: World) -> None:
    for number in range(3 * CHUNKS_A_BATCH):
        world.source.write(f"{number:03}", "one")
    world.sync()
    named = [name for name, _ in world.calls if name in ("commit", "done")]
    batches = len(named) // 2  # more where the reader is slower than the embedder
    assert batches >= 3
    assert named == ["commit", "done"] * batches


def test_rc_08_rights_hold_in_the_catalog_before_any_document_is_read(world: World) -> None:
    world.source.write("a", "one")
    world.source.rights["p"] = FOR_BOTH
    world.sync()
    world.source.rights["p"] = FOR_ANN
    world.source.write("a", "two")
    world.source.failures["a"] = SourceUnavailable("the share is gone")
    with pytest.raises(SourceUnavailable):
        world.sync()
    stored = world.stored("a")
    assert stored
    assert stored.acl == FOR_ANN
    assert world.rights_in_the_index("a") == texts(ANN)


def test_rc_13_where_rights_and_content_change_the_old_content_is_not_shown_to_new_readers(world: World) -> None:
    world.source.write("a", "the secret draft")
    world.source.rights["p"] = FOR_ANN
    world.sync()
    world.source.rights["p"] = FOR_BOTH
    world.source.write("a", "the public version")
    world.source.failures["a"] = SourceUnavailable("the share is gone")
    with pytest.raises(SourceUnavailable):
        world.sync()
    assert world.stored("a") is None
    assert world.points() == {}


# What cannot be read


def test_ft_11_a_document_that_cannot_be_read_keeps_its_old_version_under_the_rights_of_today(world: World) -> None:
    world.source.write("a", "one")
    world.source.rights["p"] = FOR_BOTH
    world.sync()
    world.source.write("a", UNREADABLE)
    world.source.rights["p"] = FOR_ANN
    report = world.sync()
    assert [(uri, reason.split(":")[0]) for uri, reason in report.refused] == [("file://share/a", "damaged")]
    assert world.texts("a") == ["one"]
    stored = world.stored("a")
    assert stored
    assert stored.acl == FOR_ANN
    assert world.rights_in_the_index("a") == texts(ANN)


def test_a_refused_document_is_not_read_again_until_it_changes_and_then_is_no_longer_refused(world: World) -> None:
    world.source.write("a", UNREADABLE)
    assert world.sync().refused
    assert [each.reason for each in CatalogStatus(world.catalog, TENANT).refusals()] == ["damaged"]
    world.sync()
    assert world.source.fetched == []
    world.source.write("a", "one")
    world.sync()
    assert world.texts("a") == ["one"]
    assert CatalogStatus(world.catalog, TENANT).refusals() == []


def test_ft_11_what_other_limits_or_parsers_refused_is_read_again_once(world: World) -> None:
    world.source.write("a", UNREADABLE)
    world.sync()
    world.decided_by = "a newer parser"
    assert len(world.sync().refused) == 1
    assert world.source.fetched == ["a"]
    world.sync()
    assert world.source.fetched == []


def test_what_other_parsers_read_is_read_again_once_and_keeps_the_vectors_of_what_is_the_same(world: World) -> None:
    world.source.write("a", "one\ntwo")
    world.sync()
    before = world.points()
    world.read_by = "a better parser"
    report = world.sync()
    assert (world.source.fetched, report.written, report.embedded) == (["a"], 1, 0)
    assert world.points() == before
    world.sync()
    assert world.source.fetched == []


@pytest.mark.parametrize("text", ["", "\n  \n", "\u200b\n\u202e"])
def test_a_document_without_text_is_refused_and_says_so(world: World, text: str) -> None:
    world.source.write("a", text)
    ((_, reason),) = world.sync().refused
    assert reason.startswith("no_text")


def test_a_refusal_by_the_source_is_one_too(world: World) -> None:
    world.source.write("a", "one")
    world.source.write("b", "one")
    world.source.failures["a"] = DocumentRefused(RefusalReason.TOO_LARGE, "a is too large")
    report = world.sync()
    assert report.refused == [("file://share/a", "too_large: a is too large")]
    assert report.written == 1


@pytest.mark.parametrize("failure", [ItemChanged("it changed"), ItemGone("it is gone")], ids=lambda each: each.code)
def test_a_document_that_changes_under_the_reader_is_put_off_and_read_by_the_next_sync(
    world: World, failure: Exception
) -> None:
    world.source.write("a", "one")
    world.sync()
    world.source.write("a", "two")
    world.source.write("b", "new")
    world.source.failures = {"a": failure, "b": failure}
    report = world.sync()
    assert sorted(report.deferred) == ["file://share/a", "file://share/b"]
    assert (report.written, report.refused) == (0, [])
    assert world.texts("a") == ["one"]
    world.source.failures = {}
    assert world.sync().written == 2
    assert (world.texts("a"), world.texts("b")) == (["two"], ["new"])


@pytest.mark.parametrize(
    "failure",
    [ModelUnavailable("a vector without a direction"), BadInput("a number that is not finite")],
    ids=lambda each: each.code,
)
def test_ft_04_a_text_that_the_model_refuses_costs_its_document_and_no_other(
    world: World, failure: KustosError
) -> None:
    for each in range(CHUNKS_A_BATCH):
        world.source.write(f"{each:03}", f"text {each}")
    world.source.write("100", "as it was")
    world.sync()
    world.embedder.cannot, world.embedder.failure = "poison", failure
    world.source.write("100", "fine\npoison")
    world.source.write("new", "another text")
    report = world.sync()
    assert report.refused == [("file://share/100", f"not_embedded: {failure}")]
    assert (report.written, world.texts("new"), world.texts("100")) == (1, ["another text"], ["as it was"])
    assert world.writer.cursor(SOURCE) is not None
    assert len(world.points()) == world.passages() == CHUNKS_A_BATCH + 1


def test_ft_11_what_the_model_refused_is_tried_again_by_the_next_sync(world: World) -> None:
    world.source.write("a", "poison")
    world.embedder.cannot = "poison"
    world.sync()
    world.embedder.cannot = None
    report = world.sync()
    assert (report.written, report.refused, world.texts("a")) == (1, [], ["poison"])


def test_ft_04_a_model_that_goes_down_between_two_documents_is_down_and_no_document_is_to_blame(
    world: World,
) -> None:
    world.source.write("a", "poison")
    world.source.write("b", "one\ntwo")
    world.readers = 1  # so that "a" comes first
    world.embedder.cannot, world.embedder.fails_after = "poison", 2  # the probe after the batch, and the one after "a"
    with pytest.raises(ModelUnavailable, match="does not answer"):
        world.sync()
    assert [each.uri for each in CatalogStatus(world.catalog, TENANT).refusals()] == ["file://share/a"]


# What is missing


def test_ft_14_a_source_that_cannot_be_listed_deletes_nothing_and_changes_no_right(world: World) -> None:
    world.source.write("a", "one")
    world.source.rights["p"] = FOR_ANN
    world.sync()
    before, stored = world.points(), world.stored("a")
    world.source.down = SourceUnavailable("not mounted")
    with pytest.raises(SourceUnavailable):
        world.sync()
    assert world.calls == [("root", (SOURCE,)), ("cursor", (SOURCE,))]
    assert (world.points(), world.stored("a")) == (before, stored)


def test_ft_14_a_folder_that_cannot_be_listed_is_hidden_and_comes_back_without_being_read(world: World) -> None:
    world.source.write("d/a", "one")
    world.source.write("e", "one")
    world.source.rights["p"] = FOR_ANN
    world.sync()
    world.source.unavailable = ["d/"]
    report = world.sync()
    assert (report.unavailable, report.deleted) == (1, 0)
    hidden = world.stored("d/a")
    assert hidden
    assert hidden.acl == Acl.nobody()
    assert world.rights_in_the_index("d/a") == texts()
    world.source.unavailable = []
    world.sync()
    assert world.source.fetched == []
    back = world.stored("d/a")
    assert back
    assert back.acl == FOR_ANN
    assert world.rights_in_the_index("d/a") == texts(ANN)


def test_ft_14_most_documents_missing_at_once_are_hidden_until_somebody_confirms(world: World) -> None:
    for number in range(20):
        world.source.write(f"{number:02}", "one")
    world.source.rights["p"] = FOR_ANN
    world.sync()
    for number in range(15):
        world.source.delete(f"{number:02}")
    report = world.sync()
    assert (report.unconfirmed, report.deleted) == (15, 0)
    hidden = world.stored("00")
    assert hidden
    assert hidden.acl == Acl.nobody()
    assert world.sync(confirm_deletions=True).deleted == 15
    assert len(world.points()) == world.passages() == 5


def test_rc_12_a_document_deleted_in_the_source_leaves_catalog_and_index(world: World) -> None:
    world.source.write("a", "one\ntwo")
    world.source.write("b", "one")
    world.sync()
    world.source.delete("a")
    assert world.sync().deleted == 1
    assert world.stored("a") is None
    assert {each.document_id for each in world.points().values()} == {document_id(TENANT, SOURCE, "b")}


def test_a_source_that_is_forgotten_leaves_nothing_and_can_come_back(world: World) -> None:
    world.source.write("a", "eins", inside=[attached("in", "zwei")])
    world.source.write("b", UNREADABLE)
    world.sync()
    assert world.ingestion().forget(SOURCE) == 2
    assert (world.passages(), world.points()) == (0, {})
    assert (world.writer.known(SOURCE), world.writer.places(SOURCE), world.writer.cursor(SOURCE)) == ([], {}, None)
    with pytest.raises(NotFound, match="kustos status"):
        world.ingestion().forget(SOURCE)
    assert world.sync().written == 2


def test_ft_06_forgetting_a_source_goes_on_where_a_crash_ended_it(worlds: Callable[[], World]) -> None:
    step = 0
    while True:
        world, step = worlds(), step + 1
        world.source.write("a", "eins")
        world.sync()
        world.crash_at = step
        try:
            world.ingestion().forget(SOURCE)
        except Crash:
            world.crash_at = 0
            with suppress(NotFound):  # everything was done but the last word
                world.ingestion().forget(SOURCE)
            world.ingestion().follow()
            assert (world.passages(), world.points()) == (0, {})
        else:
            break
    assert step > 5


def test_ft_14_a_known_source_at_another_root_is_refused_before_it_is_listed(world: World) -> None:
    world.source.write("a", "one")
    world.ingestion().sync(world.source, root="/srv/share")
    world.source.delete("a")
    with pytest.raises(BadInput, match="--moved"):
        world.ingestion().sync(world.source, root="/srv/other")
    assert world.stored("a") is not None
    assert world.ingestion().sync(world.source, root="/srv/other", moved=True).deleted == 1
    assert world.ingestion().sync(world.source, root="/srv/other").deleted == 0


def test_a_place_that_is_neither_listed_nor_named_by_anything_is_forgotten_with_its_problem(world: World) -> None:
    world.source.write("d/a", "one", "gone")
    world.source.write("e", "one", "kept")
    world.source.unavailable = ["f/"]
    world.sync()
    world.source.unavailable = []
    world.source.delete("d/a")
    del world.source.rights["gone"]
    world.sync()
    assert set(world.writer.places(SOURCE)) == {"kept"}
    (state,) = CatalogStatus(world.catalog, TENANT).sources()
    assert state.access_problems == ()


def test_a_place_stays_as_long_as_documents_wait_in_it_for_their_folder(world: World) -> None:
    world.source.write("d/a", "one")
    world.source.write("e", UNREADABLE)
    world.sync()
    world.source.unavailable = ["d/"]
    world.sync()
    assert set(world.writer.places(SOURCE)) == {"p", "d/"}


# Failures and crashes


def test_ft_04_what_was_committed_before_the_model_failed_stays_and_the_next_sync_goes_on(world: World) -> None:
    number = 3 * CHUNKS_A_BATCH
    for each in range(number):
        world.source.write(f"{each:03}", f"text {each}")
    world.embedder.fails_after = 2 * CHUNKS_A_BATCH
    with pytest.raises(ModelUnavailable):
        world.sync()
    committed = world.passages()
    assert CHUNKS_A_BATCH < committed <= 2 * CHUNKS_A_BATCH, "whole batches, however large the reader let them become"
    assert world.writer.cursor(SOURCE) is None
    world.embedder.fails_after = 10**9
    report = world.sync()
    assert (report.written, report.embedded) == (number - committed, number - committed)
    assert len(world.points()) == world.passages() == number
    assert world.writer.cursor(SOURCE) is not None


def _before(source: MemorySource) -> None:
    for name, place in (
        ("t", "tightened"),
        ("l", "loosened"),
        ("g", "kept"),
        ("m", "kept"),
        ("c", "kept"),
        ("r", "kept"),
    ):
        source.write(name, f"one of {name}\ntwo of {name}", place)
    source.write("c", "one of c", "kept", inside=[attached("x", "in c"), attached("y", "gone from c")])
    source.write("m", "one of m", "kept", inside=[attached("x", "in m")])
    source.write("g", attached("x", attached("y", "in g")), "kept")
    source.rights |= {"tightened": FOR_BOTH, "loosened": FOR_ANN, "kept": FOR_BOTH}


def _after(source: MemorySource) -> None:
    source.rights |= {"tightened": FOR_ANN, "loosened": FOR_BOTH}
    source.delete("g")
    source.move("m", "tightened")
    source.write("c", "two of c", "kept", inside=[attached("x", "in c"), attached("z", UNREADABLE)])
    source.write("n", "new", "loosened")
    source.write("r", UNREADABLE, "kept")


def _later(source: MemorySource) -> None:
    source.write("c", "four of c", "kept")
    source.delete("n")
    source.rights["loosened"] = FOR_BOB


@pytest.mark.parametrize("meanwhile", [lambda _: None, _later], ids=["nothing changes meanwhile", "it changes again"])
def test_ft_06_a_sync_that_crashes_at_any_step_is_made_good_by_the_next_one(
    tmp_path: Path, meanwhile: Callable[[MemorySource], None]
) -> None:
    straight = World(Catalog.open(sqlite_url(tmp_path / "straight.db")))
    for happens in (_before, _after, meanwhile):
        happens(straight.source)
        straight.sync()
    before = World(Catalog.open(sqlite_url(tmp_path / "before.db")))
    _before(before.source)
    before.sync()
    before.catalog.close()
    crashes = 0
    while True:
        world = before.twin(Catalog.open(sqlite_url(shutil.copy(tmp_path / "before.db", tmp_path / f"{crashes}.db"))))
        _after(world.source)
        world.crash_at = crashes + 1
        try:
            world.sync()
        except Crash:
            crashes += 1
        else:
            break
        meanwhile(world.source)
        world.sync()
        assert world.points() == straight.points(), f"after a crash at step {crashes}, {world.calls[-1:]}"
        assert world.passages() == len(world.points())
        assert world.writer.tasks() == []
        assert world.sync().embedded == 0
        world.catalog.close()
    assert crashes > 40


def test_ft_09_the_same_sync_again_and_again_changes_nothing(world: World) -> None:
    _before(world.source)
    world.sync()
    _after(world.source)
    world.sync()
    before = world.points()
    for _ in range(3):
        report = world.sync()
        assert (report.written, report.rights_changed, report.moved, report.deleted) == (0, 0, 0, 0)
    assert world.points() == before


def test_an_index_built_anew_from_the_catalog_equals_the_one_that_followed_a_history(world: World) -> None:
    _before(world.source)
    world.sync()
    _after(world.source)
    world.sync()
    followed = world.points()
    world.source.down = SourceUnavailable("a rebuild does not need the sources")
    world.index.stored.clear()
    assert world.ingestion().rebuild() == len(followed) == len(world.points())
    assert world.points() == followed


# Progress


@dataclass
class Told:
    items: int = 0
    read_: list[str] = field(default_factory=list)
    chunks: int = 0
    done: int = 0

    def listed(self, items: int) -> None:
        self.items = items

    def read(self, name: str) -> None:
        self.read_.append(name)

    def chunked(self, chunks: int) -> None:
        self.chunks += chunks

    def embedded(self, chunks: int) -> None:
        self.done += chunks


def test_progress_tells_of_every_item_and_every_chunk(world: World) -> None:
    world.source.write("a", "one\ntwo")
    world.source.write("b", UNREADABLE)
    world.source.write("c", "three")
    told = Told()
    world.ingestion().sync(world.source, progress=told)
    assert (told.items, sorted(told.read_), told.chunks, told.done) == (3, ["a", "b", "c"], 3, 3)
