"""An update of which nobody knows the rights goes to nobody: neither to everybody nor to those who had the one before."""

from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient

from ingest.pipeline import Ingestion
from ingest.reading import DocumentReader
from rag.access.acl import Acl
from tests.fakes import GermanOrEnglish, WordEmbedder, WordEncoder
from tests.library import SALES, TENANT, open_library, person
from tests.memory_source import MemorySource, chunker_by_line, parse_lines

ANN = person("ann", groups=["/sales"])


def test_rc_11_an_update_of_which_nobody_knows_the_rights_is_nobodys_and_not_what_it_was(tmp_path: Path) -> None:
    library = open_library(tmp_path / "home")
    client = TestClient(library.app(), base_url="http://127.0.0.1")
    source = MemorySource(source="folder", rights={"open folder": Acl.of({SALES})})
    ingestion = Ingestion(
        TENANT,
        library.kustos.records.writer,
        library.index,
        embedder=WordEmbedder(),
        lexical=WordEncoder(),
        reader=DocumentReader(TENANT, parse_lines, chunker_by_line(), GermanOrEnglish()),
    )

    def shown() -> str:
        found = client.post("/v1/search", json={"query": "plan"}, headers=ANN).text
        return found + client.get("/v1/documents", headers=ANN).text

    source.write("x.txt", "The first plan.", "open folder")
    ingestion.sync(source)
    assert "The first plan." in shown()
    source.write("x.txt", "The plan, rewritten.", "a folder that says nothing")
    ingestion.sync(source)
    assert "plan" not in shown()
