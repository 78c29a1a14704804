"""The writing path of files inside files: documents of their own, under the rights of what they are in."""

from __future__ import annotations

from ingest.reading import MAX_INSIDE, MAX_NESTING
from rag.access.acl import Acl
from rag.documents import attachment_id, document_id
from rag.stores.catalog_reading import CatalogReader
from rag.stores.catalog_status import CatalogStatus
from tests.memory_source import SOURCE, UNREADABLE, attached
from tests.writing_world import ANN, BOB, FOR_ANN, FOR_BOB, FOR_BOTH, TENANT, World, texts


def inside(name: str, *path: str) -> str:
    """Id of a file inside the document `name`."""
    identifier = document_id(TENANT, SOURCE, name)
    for each in path:
        identifier = attachment_id(identifier, each, 1)
    return identifier


def rights_of(world: World, identifier: str) -> tuple[Acl | None, set[tuple[str, ...]]]:
    """Of one document: in the catalog, and in the index."""
    stored = CatalogReader(world.catalog).document(TENANT, identifier)
    points = world.index.stored.values()
    return stored.acl if stored else None, {each.allow for each in points if each.document_id == identifier}


def test_a_file_inside_a_document_is_a_document_of_its_own_under_the_same_rights(world: World) -> None:
    world.source.write("mail", "dear all", inside=[attached("plan.xlsx", "rows")])
    world.source.rights["p"] = FOR_ANN
    report = world.sync()
    assert (report.listed, report.written, report.chunks) == (1, 2, 2)
    stored = CatalogReader(world.catalog).document(TENANT, inside("mail", "plan.xlsx"))
    assert stored
    assert stored.document.parent_id == document_id(TENANT, SOURCE, "mail")
    assert stored.document.uri == "file://share/mail!/plan.xlsx"
    assert stored.document.title == "plan.xlsx"
    assert rights_of(world, inside("mail", "plan.xlsx")) == (FOR_ANN, texts(ANN))
    assert world.sync().embedded == 0
    assert [each.item_id for each in world.writer.known(SOURCE)] == ["mail"]


def test_an_archive_without_a_text_of_its_own_is_a_document_with_what_is_in_it(world: World) -> None:
    world.source.write("zip", attached("mail", "one", attached("table", "two")))
    assert world.sync().written == 3
    assert world.texts("zip") == []
    deep = CatalogReader(world.catalog).document(TENANT, inside("zip", "mail", "table"))
    assert deep
    assert deep.document.uri == "file://share/zip!/mail!/table"
    assert deep.document.parent_id == document_id(TENANT, SOURCE, "zip")


def test_what_an_edit_took_out_of_a_document_leaves_and_what_it_left_alone_is_not_embedded_again(world: World) -> None:
    world.source.write("mail", "one", inside=[attached("a", "kept"), attached("b", "dropped")])
    world.sync()
    world.source.write("mail", "two", inside=[attached("c", "new"), attached("a", "kept")])
    world.sync()
    assert sorted(world.embedder.texts) == ["new", "two"]
    assert CatalogReader(world.catalog).document(TENANT, inside("mail", "b")) is None
    assert {each.document_id for each in world.points().values()} == {
        inside("mail"), inside("mail", "a"), inside("mail", "c")
    }  # fmt: skip


def test_rc_01_rights_of_a_document_are_those_of_what_is_inside_it_however_they_change(world: World) -> None:
    world.source.write("mail", "one", inside=[attached("a", "two", attached("b", "three"))])
    world.source.rights |= {"p": FOR_BOTH, "q": FOR_BOB}
    world.sync()
    world.source.rights["p"] = FOR_ANN
    world.sync()
    assert {str(rights_of(world, inside("mail", *path))) for path in ((), ("a",), ("a", "b"))} == {
        str((FOR_ANN, texts(ANN)))
    }
    world.source.move("mail", "q")
    report = world.sync()
    assert (report.moved, report.written) == (1, 0)
    assert rights_of(world, inside("mail", "a", "b")) == (FOR_BOB, texts(BOB))
    world.source.move("mail", "nobody's")
    world.sync()
    assert rights_of(world, inside("mail", "a", "b")) == (Acl.nobody(), texts())


def test_rc_12_what_is_inside_a_deleted_document_leaves_with_it(world: World) -> None:
    world.source.write("mail", "one", inside=[attached("a", "two"), attached("b", UNREADABLE)])
    world.sync()
    world.source.delete("mail")
    assert world.sync().deleted == 1
    assert (world.points(), world.passages()) == ({}, 0)
    assert CatalogStatus(world.catalog, TENANT).refusals() == []


def test_ft_11_a_file_inside_that_cannot_be_read_costs_only_itself_and_is_tried_again_by_other_parsers(
    world: World,
) -> None:
    world.source.write("mail", "one", inside=[attached("a", UNREADABLE), attached("b", "two")])
    report = world.sync()
    assert (report.written, report.refused) == (2, [("file://share/mail!/a", "damaged: a")])
    world.sync()
    assert world.source.fetched == []
    world.decided_by = "a better parser"
    world.sync()
    assert world.source.fetched == ["mail"]
    world.sync()
    assert world.source.fetched == []


def test_ft_04_a_text_inside_that_the_model_refuses_costs_only_the_file_that_it_is_in(world: World) -> None:
    world.embedder.cannot = "poison"
    world.source.write("mail", "one", inside=[attached("a", "poison"), attached("b", "two")])
    report = world.sync()
    assert [uri for uri, _ in report.refused] == ["file://share/mail!/a"]
    assert report.written == 2
    assert world.texts("mail") == ["one"]
    assert CatalogReader(world.catalog).document(TENANT, inside("mail", "b"))


def test_ft_11_what_is_left_unread_is_told_until_it_is_read(world: World) -> None:
    world.source.write("scan", "one\n-pages 3 to 9")
    world.source.write("whole", "four")
    world.source.write("mail", "two", inside=[attached("table", "three", "-a formula")])
    told = [("file://share/mail!/table", "a formula"), ("file://share/scan", "pages 3 to 9")]
    assert sorted(world.sync().partly_read) == told
    status = CatalogStatus(world.catalog, TENANT)
    assert [(each.uri, each.detail) for each in status.refusals()] == told
    assert {each.reason for each in status.refusals()} == {"partly_read"}
    assert [each.partly_read for each in status.sources()] == [2]
    world.sync()
    assert world.source.fetched == []
    world.decided_by = "more pages"
    world.sync()
    assert world.source.fetched == ["mail", "scan"], "and not what was read whole"
    world.source.write("scan", "one")
    world.source.delete("mail")
    world.sync()
    assert status.refusals() == []


def test_in_04_one_item_with_all_that_is_inside_it_has_a_limit_of_time(world: World) -> None:
    hours = iter(range(0, 9_999, 600))  # seconds that the clock shows, one file each
    world.clock, world.readers = lambda: float(next(hours)), 1  # which one alone looks at
    world.source.write("zip", "\n".join(attached(f"{number}", "text") for number in range(9)))
    world.source.write("zip2", "small")
    report = world.sync()
    late = [f"file://share/zip!/{number}" for number in range(3, 9)]
    assert [uri for uri, reason in report.refused if reason.startswith("time_limit")] == late
    assert world.texts("zip2") == ["small"]


def test_in_16_a_file_name_that_would_disguise_itself_is_shown_as_it_is(world: World) -> None:
    world.source.write("a\u202efdp.exe\x1b[2J\nx", "text")
    world.sync()
    stored = world.stored("a\u202efdp.exe\x1b[2J\nx")
    assert stored
    assert stored.document.title == "afdp.exe[2J x"


def test_in_14_no_item_of_a_source_can_take_the_place_of_a_file_inside_another(world: World) -> None:
    world.source.write("mail", attached("a", "inside"), "p")
    world.source.write("mail!/a", "beside", "q")
    world.source.rights |= {"p": FOR_ANN, "q": FOR_BOB}
    world.sync()
    assert rights_of(world, inside("mail", "a")) == (FOR_ANN, texts(ANN))
    assert world.texts("mail!/a") == ["beside"]
    stored = world.stored("mail!/a")
    assert stored
    assert stored.acl == FOR_BOB


def test_in_02_nesting_and_number_of_files_inside_one_are_bounded(world: World) -> None:
    deep = "end"
    for level in range(MAX_NESTING + 2):
        deep = attached(str(level), "level", deep)
    world.source.write("deep", deep)
    world.source.write("wide", "\n".join(attached("same name", str(number)) for number in range(MAX_INSIDE + 1)))
    report = world.sync()
    assert sorted(reason.split(":")[0] for _, reason in report.refused) == ["too_large", "too_large"]
    assert report.written == 1 + MAX_NESTING + 1 + MAX_INSIDE
