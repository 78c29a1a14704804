"""Each import contract holds, and each one breaks (alone) when somebody does what it forbids."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("rag", "connectors", "ingest", "eval", "api")
PREFIX = "importlinter:contract:"

VIOLATIONS = [
    # contract, module that offends, what it imports
    ("layers", "connectors.base", "ingest.plan"),
    ("layers", "rag.fusion", "connectors.base"),
    ("layers", "eval.measures", "api.schemas"),
    ("api-layers", "api.tokens.claims", "api.admission.limits"),
    ("api-layers", "api.sign_in.oidc", "api.keycloak_realm.check"),
    ("connectors", "connectors.sidecars", "connectors.filesystem"),
    ("pure", "rag.access.acl", "numpy"),
    ("pure", "rag.access.principals", "rag.ports"),
    ("pure", "rag.documents", "pydantic"),
    ("pure", "ingest.plan", "rag.settings"),
    ("index-adapters", "rag.retrieval", "rag.stores.edge"),
    ("index-adapters", "api.app", "rag.stores.qdrant"),
    ("writers", "ingest.pipeline", "rag.access.gate"),
    ("writers", "connectors.filesystem", "rag.retrieval"),
    ("vendor-qdrant-edge", "rag.retrieval", "qdrant_edge"),
    ("vendor-qdrant-client", "rag.stores.edge", "qdrant_client"),
    ("vendor-sql", "rag.access.directory", "sqlalchemy"),
    ("vendor-sql", "ingest.pipeline", "alembic"),
    ("vendor-httpx", "rag.answering", "httpx"),
    ("vendor-cryptography", "api.app", "cryptography"),
    ("vendor-keycloak", "api.keycloak_realm.check", "keycloak"),
    ("vendor-charset-normalizer", "ingest.pipeline", "charset_normalizer"),
    ("vendor-fastembed", "rag.retrieval", "fastembed"),
    ("vendor-ollama", "rag.answering", "ollama"),
    ("vendor-onnx", "rag.models.embedding", "onnx"),
    ("vendor-tokenizers", "ingest.pipeline", "tokenizers"),
    ("vendor-lingua", "rag.retrieval", "lingua"),
    ("vendor-llama-index", "ingest.pipeline", "llama_index.core"),
    ("vendor-unstructured", "ingest.pipeline", "unstructured"),
    ("vendor-unstructured", "ingest.chunking", "spacy"),
    ("vendor-pymupdf", "ingest.parsers.hypertext", "pymupdf"),
    ("vendor-pdfium", "ingest.parsers.pdf", "pypdfium2"),
    ("vendor-pillow", "ingest.parsers.ocr", "PIL"),
    ("vendor-rapidocr", "ingest.parsers.paged", "rapidocr"),
    ("vendor-tesserocr", "ingest.parsers.ocr", "tesserocr"),
    ("vendor-watchfiles", "ingest.pipeline", "watchfiles"),
    ("vendor-jwt", "api.app", "jwt"),
    ("vendor-web", "eval.measures", "fastapi"),
    ("vendor-web", "rag.retrieval", "starlette"),
    ("vendor-web", "rag.answering", "anyio"),
    ("vendor-terminal", "rag.retrieval", "click"),
    ("vendor-terminal", "ingest.pipeline", "rich"),
    ("vendor-lxml", "ingest.parsers.epub", "lxml"),
    ("vendor-openpyxl", "ingest.parsers.grids", "openpyxl"),
    ("vendor-xlrd", "ingest.parsers.spreadsheet", "xlrd"),
    ("vendor-python-pptx", "ingest.parsers.word", "pptx"),
    ("vendor-oxmsg", "ingest.parsers.mail", "oxmsg"),
    ("vendor-olefile", "ingest.parsers.detection", "olefile"),
    ("vendor-striprtf", "ingest.parsers.plain", "striprtf"),
    ("vendor-docutils", "ingest.parsers.plain", "docutils"),
    ("vendor-ir-measures", "eval.datasets", "ir_measures"),
    ("vendor-rapidfuzz", "eval.parsing.measures", "rapidfuzz"),
    ("vendor-python-docx", "ingest.pipeline", "docx"),
    ("vendor-markdown-it", "eval.parsing.run", "markdown_it"),
    ("bare-readers", "eval.parsing.run", "eval.parsing.bare"),
]


def contracts() -> dict[str, str]:
    """Contract ids with the names that import-linter prints."""
    parser = ConfigParser()
    parser.read(ROOT / ".importlinter")
    return {s.removeprefix(PREFIX): parser[s]["name"] for s in parser.sections() if s.startswith(PREFIX)}


def outcomes(folder: Path) -> dict[str, str]:
    """KEPT or BROKEN for every contract id, judged over the packages in `folder`."""
    program = [
        str(Path(sys.executable).with_name("lint-imports")),
        "--no-logo",
        "--cache-dir",
        str(folder.parent / "cache"),
    ]
    wide = {**os.environ, "COLUMNS": "250"}  # or the names are wrapped
    done = subprocess.run(program, cwd=folder, env=wide, capture_output=True, text=True, check=False, timeout=60)
    found = {name: found.group(1) for name in contracts().values() if (found := _verdict(name, done.stdout))}
    assert set(found) == set(contracts().values()), done.stdout + done.stderr
    return {identifier: found[name] for identifier, name in contracts().items()}


def _verdict(name: str, output: str) -> re.Match[str] | None:
    return re.search(rf"^{re.escape(name)}.* (KEPT|BROKEN)", output, re.MULTILINE)


def broken(folder: Path) -> set[str]:
    return {identifier for identifier, outcome in outcomes(folder).items() if outcome == "BROKEN"}


def copy(folder: Path) -> Path:
    """A copy of the packages and their contracts, free to be broken."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", folder)
    return folder


@pytest.fixture(scope="module")
def broken_already(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Contracts that the code breaks as it is; reported once, not again by every violation."""
    return broken(copy(tmp_path_factory.mktemp("as_it_is") / "tree"))


def test_the_code_keeps_every_contract(broken_already: set[str]) -> None:
    assert not broken_already


@pytest.mark.parametrize(("contract", "module", "imported"), VIOLATIONS)
def test_a_deliberate_violation_breaks_its_contract_and_no_other(
    contract: str, module: str, imported: str, tmp_path: Path, broken_already: set[str]
) -> None:
    tree = copy(tmp_path / "tree")
    offender = tree / f"{module.replace('.', '/')}.py"
    assert offender.is_file(), f"{module} is gone; let another module offend"
    offender.write_text(f"{offender.read_text()}\n\ndef _offend() -> None:\n    import {imported}\n")

    assert broken(tree) - broken_already == {contract}


def test_every_contract_is_broken_once_on_purpose() -> None:
    assert {contract for contract, _, _ in VIOLATIONS} == set(contracts())
