"""Pictures of pages: of the version that was released and of no other, from inside files too, drawn once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ingest.content import Content
from ingest.extraction import Extraction
from ingest.pages import PageImages
from ingest.pipeline import Ingestion
from ingest.reading import DocumentReader
from rag.access.acl import Acl
from rag.documents import Box, Document, attachment_id, document_id
from rag.errors import DocumentRefused, NotFound, RefusalReason, SourceUnavailable
from rag.stores.catalog import Catalog, sqlite_url
from rag.stores.catalog_reading import CatalogReader
from rag.stores.catalog_writing import CatalogWriter
from tests.fakes import GermanOrEnglish, MemoryIndex, WordEmbedder, WordEncoder
from tests.memory_source import SOURCE, MemorySource, attached, chunker_by_line, parse_lines

TENANT = "main"
PAGES = 3
ANN, BOB = "kc:acme:user:ann", "kc:acme:user:bob"


@dataclass
class Drawing:
    """A source with paged documents, and a pen that writes down what it draws."""

    catalog: Catalog
    source: MemorySource = field(default_factory=lambda: MemorySource(rights={"p": Acl.nobody()}))
    drawn: list[tuple[bytes, int, int, int]] = field(default_factory=list)
    opened: list[tuple[str, Path]] = field(default_factory=list)

    parsed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pages = PageImages(CatalogWriter(self.catalog, TENANT), self._open, parse=self._parse, render=self._render)

    def sync(self) -> None:
        reader = DocumentReader(TENANT, parse_lines, chunker_by_line(), GermanOrEnglish())
        writer = CatalogWriter(self.catalog, TENANT)
        Ingestion(
            TENANT, writer, MemoryIndex().writer, embedder=WordEmbedder(), lexical=WordEncoder(), reader=reader
        ).sync(self.source, root="/srv/share")

    def document(self, identifier: str) -> Document:
        stored = CatalogReader(self.catalog).document(TENANT, identifier)
        assert stored
        return replace(stored.document, media_type="application/pdf")

    def _parse(self, content: Content, name: str) -> Extraction:
        self.parsed.append(name)
        return parse_lines(content, name)

    def _open(self, source: str, root: Path) -> MemorySource:
        self.opened.append((source, root))
        return self.source

    def _render(self, content: Content, page: int, width: int, marked: Sequence[Box]) -> bytes:
        if page > PAGES:
            raise DocumentRefused(RefusalReason.NO_TEXT, f"it has {PAGES} pages")
        self.drawn.append((content.read(), page, width, len(marked)))
        return f"picture {len(self.drawn)}".encode()


@pytest.fixture
def drawing(tmp_path: Path) -> Iterator[Drawing]:
    catalog = Catalog.open(sqlite_url(tmp_path / "c.db"))
    yield Drawing(catalog)
    catalog.close()


def test_a_page_is_drawn_from_the_source_once(drawing: Drawing) -> None:
    drawing.source.write("plan", "one")
    drawing.sync()
    plan = drawing.document(document_id(TENANT, SOURCE, "plan"))
    boxes = [Box(0.1, 0.1, 0.5, 0.2)]
    assert drawing.pages.png(ANN, plan, 2, 800, boxes) == drawing.pages.png(ANN, plan, 2, 800, boxes) == b"picture 1"
    assert drawing.pages.png(ANN, plan, 2, 800) == b"picture 2"
    assert drawing.drawn == [(b"one", 2, 800, 1), (b"one", 2, 800, 0)]
    assert drawing.opened[0] == (SOURCE, Path("/srv/share"))


def test_sc_05_how_fast_a_picture_comes_tells_nobody_what_somebody_else_has_looked_at(drawing: Drawing) -> None:
    drawing.source.write("plan", "one")
    drawing.sync()
    plan = drawing.document(document_id(TENANT, SOURCE, "plan"))
    for viewer in (ANN, BOB, ANN):
        drawing.pages.png(viewer, plan, 2, 800)
    assert drawing.drawn == [(b"one", 2, 800, 0)] * 2


def test_equal_documents_are_drawn_each_for_itself_so_that_no_picture_tells_of_the_other(drawing: Drawing) -> None:
    drawing.source.write("mine", "equal")
    drawing.source.write("theirs", "equal")
    drawing.sync()
    for name in ("mine", "theirs", "mine"):
        drawing.pages.png(ANN, drawing.document(document_id(TENANT, SOURCE, name)), 1, 800)
    assert len(drawing.drawn) == 2


def test_only_the_files_on_the_way_to_a_page_are_read(drawing: Drawing) -> None:
    names = ["zip", "zip!", "Plan Süd"]
    drawing.source.write("Wichtig!/mail", "x", inside=[attached(each, attached("plan", each)) for each in names])
    drawing.sync()
    drawing.parsed.clear()
    parent = attachment_id(document_id(TENANT, SOURCE, "Wichtig!/mail"), "Plan Süd", 1)
    drawing.pages.png(ANN, drawing.document(attachment_id(parent, "plan", 1)), 1, 800)
    assert drawing.drawn[0][0] == "Plan Süd".encode()
    assert drawing.parsed == ["Wichtig!/mail", "Plan Süd"]


def test_pages_are_there_before_the_first_sync_of_a_large_source_is_complete(drawing: Drawing) -> None:
    drawing.source.write("plan", "one")
    drawing.source.write("then", "the source breaks off")
    drawing.source.failures["then"] = SourceUnavailable("the share is gone")
    with pytest.raises(SourceUnavailable):
        drawing.sync()
    drawing.source.failures.clear()
    writer = CatalogWriter(drawing.catalog, TENANT)
    assert (writer.cursor(SOURCE), writer.root(SOURCE)) == (None, "/srv/share")


def test_a_page_of_a_file_inside_another_one_is_drawn(drawing: Drawing) -> None:
    drawing.source.write("mail", "dear all", inside=[attached("zip", "x", attached("plan", "deep"))])
    drawing.sync()
    parent = attachment_id(document_id(TENANT, SOURCE, "mail"), "zip", 1)
    drawing.pages.png(ANN, drawing.document(attachment_id(parent, "plan", 1)), 1, 800)
    assert drawing.drawn[0][0] == b"deep"


def test_another_version_than_the_released_one_is_never_drawn(drawing: Drawing) -> None:
    drawing.source.write("plan", "old")
    drawing.sync()
    old = drawing.document(document_id(TENANT, SOURCE, "plan"))
    drawing.source.write("plan", "new and secret")
    with pytest.raises(NotFound, match="another version"):
        drawing.pages.png(ANN, old, 1, 800)
    drawing.sync()
    with pytest.raises(NotFound, match="another version"):
        drawing.pages.png(ANN, old, 1, 800)
    assert drawing.drawn == []


@pytest.mark.parametrize("page", [0, PAGES + 1])
def test_a_page_that_is_not_there_is_not_found(drawing: Drawing, page: int) -> None:
    drawing.source.write("plan", "one")
    drawing.sync()
    with pytest.raises(NotFound):
        drawing.pages.png(ANN, drawing.document(document_id(TENANT, SOURCE, "plan")), page or PAGES + 2, 800)


def test_a_document_without_pages_is_not_read_at_all(drawing: Drawing) -> None:
    drawing.source.write("plan", "one")
    drawing.sync()
    text = replace(drawing.document(document_id(TENANT, SOURCE, "plan")), media_type="text/plain")
    with pytest.raises(NotFound, match="no pages"):
        drawing.pages.png(ANN, text, 1, 800)
    assert drawing.opened == []


def test_a_source_that_does_not_answer_is_unavailable_and_not_absent(drawing: Drawing) -> None:
    drawing.source.write("plan", "one")
    drawing.sync()
    drawing.source.failures["plan"] = SourceUnavailable("not mounted")
    with pytest.raises(SourceUnavailable):
        drawing.pages.png(ANN, drawing.document(document_id(TENANT, SOURCE, "plan")), 1, 800)
