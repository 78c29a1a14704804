"""What a manifest demands of each file, and when the demand is met."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.datasets import BadDataset
from eval.parsing.manifest import Expectation, Kind, Outcome, as_expected, holds, load_manifest, recognised
from rag.errors import DocumentRefused, RefusalReason

HEADER = "path\tbytes\tkind\twhat\texpected\n"
TEXT = Outcome("Der Mietvertrag endet am 31. März.")
ENCRYPTED, DAMAGED, NO_TEXT, CRASHED, HUNG, FULL = (
    Outcome(refusal=DocumentRefused(RefusalReason(reason), "told"))
    for reason in ("encrypted", "damaged", "no_text", "parser_failed", "time_limit", "memory_limit")
)


@pytest.mark.parametrize(
    ("kind", "expected", "outcome", "met"),
    [
        ("ok", "Mietvertrag endet", TEXT, True),
        ("ok", "Mietvertrag\n  endet", TEXT, True),
        ("ok", "Kaufvertrag endet", TEXT, False),
        ("ok", "Mietvertrag endet", DAMAGED, False),
        ("ocr", "Der Mietvertrog endet", TEXT, True),
        ("ocr", "Die Lagerhalle steht leer", TEXT, False),
        ("ocr", "(German text)", TEXT, True),
        ("ocr", "(German text)", Outcome("| . _"), False),
        ("ocr", "Mietvertrag", NO_TEXT, False),
        ("refuse", "must be refused: corrupt: truncated", DAMAGED, True),
        ("refuse", "must be refused: corrupt: truncated", NO_TEXT, True),
        ("refuse", "must be refused: corrupt: truncated", TEXT, False),
        ("refuse", "must be refused: corrupt: truncated", CRASHED, False),
        ("refuse", "must be refused: memory bomb", FULL, True),
        ("refuse", "must be refused: memory bomb", HUNG, False),
        ("refuse", "must be refused: encrypted, password required", ENCRYPTED, True),
        ("refuse", "must be refused: encrypted, password required", DAMAGED, False),
        ("refuse_or_partial", "refuse or partial text, never crash or hang", TEXT, True),
        ("refuse_or_partial", "refuse or partial text, never crash or hang", DAMAGED, True),
        ("refuse_or_partial", "refuse or partial text, never crash or hang", CRASHED, False),
        ("refuse_or_partial", "refuse or partial text, never crash or hang", HUNG, False),
        ("partial", "no crash", TEXT, True),
        ("partial", "no crash", NO_TEXT, True),
        ("partial", "no crash", CRASHED, False),
        ("partial", "readable in seconds: must not take minutes", TEXT, True),
        ("partial", "readable in seconds: must not take minutes", DAMAGED, False),
        ("legacy", "refuse with a clear message (or convert)", TEXT, True),
        ("legacy", "refuse with a clear message (or convert)", DAMAGED, True),
        ("legacy", "refuse with a clear message (or convert)", CRASHED, False),
    ],
)
def test_a_demand_is_met_or_not(kind, expected, outcome, met) -> None:
    assert as_expected(Expectation("file", Kind(kind), expected), outcome) is met


@pytest.mark.parametrize(
    ("text", "snippet"),
    [
        ("Jahr | Umsatz\nJahr: 2024 | Umsatz: 3", "Jahr Umsatz"),  # bars between cells
        ("keine takimata sanctus", "keine taki-"),  # a hyphen at the end of a line
        ("die ﬁnanzielle Lage", "die finanzielle Lage"),  # a ligature
        ("• Brot • Käse", "Brot Käse"),
        ("## können", "⌣欠滶敮"),  # Latin-1 that the maker of the manifest took for UTF-16
        ("something", "None"),  # whose extractor read nothing
        (
            "Entenzählung am See | 2024 | 12 Enten Umsatz je Quartal",
            "Entenzählung am See Umsatz je Quartal",
        ),  # a chart between
        ("🤠😅", "🤠😅"),
    ],
)
def test_a_snippet_is_found_beyond_what_readers_differ_in(text, snippet) -> None:
    assert holds(text, snippet)


@pytest.mark.parametrize(
    ("text", "snippet"),
    [
        ("", "None"),
        ("können", "kennen"),
        ("", "x"),
        ("abc", "🤠"),
        ("ein Text", "ein anderer Text"),
        ("Umsatz je Quartal. Entenzählung am See", "Entenzählung am See Umsatz je Quartal"),
        ("der Anfang und auch der Schluss", "der und Schluss"),
    ],
)
def test_a_snippet_that_is_not_there_is_not_found(text, snippet) -> None:
    assert not holds(text, snippet)


def test_a_row_of_a_table_is_found_without_the_names_of_its_columns() -> None:
    outcome = Outcome("Ort | Satz\nOrt: Berlin | Satz: 28", bare_text="Ort Satz Berlin 28")
    assert as_expected(Expectation("a.csv", Kind.OK, "Berlin; 28"), outcome)


def test_recognised_text_may_be_wrong_in_a_tenth_of_its_characters() -> None:
    assert recognised("Happy New Yeor 2003!", "Happy New Year 2003!")
    assert not recognised("Happv New Year 2OO3!", "Happy New Year 2003!")


def manifest(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "MANIFEST.tsv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_manifest_is_read_with_all_its_columns(tmp_path) -> None:
    path = manifest(tmp_path, HEADER + 'a/b.pdf\t9\tok\tmemo\tsays "yes"\nc.doc\t9\tlegacy\told\t\n')
    assert load_manifest(path) == [
        Expectation("a/b.pdf", Kind.OK, 'says "yes"'),
        Expectation("c.doc", Kind.LEGACY, ""),
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("path\tkind\nx\tok\n", "lacks expected"),
        (HEADER, "no file"),
        (HEADER + "x\t1\tgood\ta\tb\n", ":2: kind 'good'"),
        (HEADER + "x\t1\tok\ta\tb\nx\t1\tok\ta\tb\n", ":3: x is listed twice"),
        (HEADER + "../x\t1\tok\ta\tb\n", ":2: '../x' is no path"),
        (HEADER + "/etc/passwd\t1\tok\ta\tb\n", "is no path"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(tmp_path, lines, message) -> None:
    with pytest.raises(BadDataset, match=message):
        load_manifest(manifest(tmp_path, lines))
