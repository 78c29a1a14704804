"""`kustos eval parse` with the real parsers, and with the real readers that it compares them to."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from eval.cli import evaluate
from eval.parsing.content import full_text
from eval.parsing.isolated import Isolated
from rag.settings import Settings

PAGE = """<html><body><h1>Ducks</h1><p>Every year somebody counts the ducks.</p>
<table><tr><th>Year</th><th>Ducks</th><th>Geese</th></tr><tr><td>2019</td><td>120</td><td>80</td></tr></table>
<p>Nobody counts the swans.</p></body></html>"""
REFERENCE = """# Ducks

Every year somebody counts the ducks.

| Year | Ducks | Geese |
| - | - | - |
| 2019 | 120 | 80 |

Nobody counts the swans.
"""
FILES = {
    "web/ducks.html": (PAGE.encode(), "ok", "somebody counts the ducks"),
    "note.txt": ("Die Kantine schließt um zwei.".encode("cp1252"), "ok", "schließt um zwei"),
    "blank.txt": (b" \n", "refuse", "must be refused: no text"),
    "cut.pdf": (b"%PDF-1.7\n", "refuse_or_partial", "never crash"),
}


@pytest.fixture
def folder(tmp_path) -> Path:
    lines = ["path\tkind\texpected"]
    for name, (content, kind, expected) in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
        lines.append(f"{name}\t{kind}\t{expected}")
    (tmp_path / "MANIFEST.tsv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "references").mkdir()
    (tmp_path / "references" / "ducks.html.md").write_text(REFERENCE)
    return tmp_path


def run(folder: Path, *arguments: str) -> Result:
    command = ["parse", str(folder), "--manifest", str(folder / "MANIFEST.tsv"), *arguments]
    return CliRunner().invoke(evaluate, command, obj=Settings)


def test_every_file_that_became_what_the_manifest_expects_is_counted(folder) -> None:
    ran = run(folder, "--json")
    told = json.loads(ran.stdout)
    assert ran.exit_code == 0
    assert told == {"files": 4, "as_expected": 4, "differing": [], "seconds": told["seconds"]}
    assert told["seconds"] > 0


def test_a_file_that_became_something_else_is_told_with_both_and_ends_the_command_with_1(folder) -> None:
    (folder / "note.txt").write_bytes(b"Die Kantine bleibt zu.")
    (folder / "blank.txt").write_bytes(b"not blank")
    ran = run(folder, "--json")
    assert ran.exit_code == 1
    assert json.loads(ran.stdout)["differing"] == [
        {"path": "note.txt", "expected": "ok: schließt um zwei", "got": "text of 22 characters"},
        {"path": "blank.txt", "expected": "refuse: must be refused: no text", "got": "text of 9 characters"},
    ]


def test_people_read_which_files_differ(folder) -> None:
    (folder / "note.txt").write_bytes(b"Die Kantine [bleibt] zu.")
    ran = run(folder)
    assert ran.exit_code == 1
    assert "note.txt" in ran.stdout
    assert "4 files, 3 as expected" in ran.stdout


def test_references_give_measures_for_kustos_and_for_the_bare_readers(folder) -> None:
    ran = run(folder, "--json", "--reference", "references", "--plot", str(folder / "plot.svg"))
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    (ducks,) = told["reference"]
    assert ducks["path"] == "web/ducks.html"
    assert ducks["kind"] == "ok"
    for each in (ducks, ducks["unstructured"], told["means"]["kustos"], told["means"]["unstructured"]):
        assert (each["text_similarity"], each["table_cell_f1"], each["reading_order"]) == (1.0, 1.0, 1.0)
    assert ducks["pymupdf"]["text_similarity"] > 0.9
    drawn = ElementTree.parse(folder / "plot.svg").getroot()
    assert len(drawn.findall("{*}rect")) == 1 + 3 + 2 * 3 * 3  # paper, legend; two rows of three measures of three


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--reference", "nowhere"), "is a folder"),
        (("--reference", "web"), "there is no reference"),
        (("--plot", "x.svg"), "add --reference"),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_is_read(folder, arguments, message) -> None:
    ran = run(folder, *arguments)
    assert ran.exit_code in {1, 2}
    assert message in ran.output


def test_a_file_of_the_manifest_that_is_not_there_ends_the_command(folder) -> None:
    (folder / "note.txt").unlink()
    ran = run(folder)
    assert ran.exit_code == 1
    assert "lacks 1 of the files in the manifest, the first is note.txt" in ran.output


def test_a_bare_reader_that_hangs_or_fails_has_read_nothing(folder) -> None:
    with Isolated("unstructured", timeout_s=0.01) as hanging:
        assert hanging.read(folder / "web/ducks.html") == ()
    with Isolated("pymupdf", timeout_s=60) as reader:
        assert reader.read(folder / "cut.pdf") == ()
        assert "swans" in full_text(reader.read(folder / "web/ducks.html"))
