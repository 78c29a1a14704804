"""Corpus documents found in the files that they were cut from, and passages of those files that stand for them."""

from __future__ import annotations

import pytest

from eval.datasets import BadDataset, CorpusDocument
from eval.originals import Originals, Place, located, read_originals
from ingest.extraction import Element, ElementKind, Extraction, extracted_text
from rag.documents import Chunk
from rag.errors import DocumentRefused, RefusalReason

SPEED = "Im Werk gilt für alle Fahrzeuge eine Höchstgeschwindigkeit von zwanzig Kilometern in der Stunde."
BREAKS = "Nach viereinhalb Stunden am Steuer folgt eine Pause von mindestens fünfundvierzig Minuten."
LOADING = "Die Ladung wird mit zwei Gurten gesichert, bei Glas kommen Zwischenlagen dazu."
RULES = Extraction("", tuple(Element(ElementKind.PARAGRAPH, each) for each in (SPEED, BREAKS, LOADING)), "text/plain")


def corpus(**texts: str) -> list[CorpusDocument]:
    return [CorpusDocument(identifier, "", text) for identifier, text in texts.items()]


def rules_for(**texts: str) -> Originals:
    return Originals({"rules.pdf": RULES}, corpus(**texts))


def passage(of: str) -> Chunk:
    text, _ = extracted_text(RULES)
    start = text.index(of)
    return Chunk("", "", 1, of, (), None, start, start + len(of), "de", "")


def test_a_document_is_found_whatever_was_done_to_hyphens_bullets_and_whitespace() -> None:
    text = f"{SPEED}\n\n{BREAKS}"
    cut = "• " + BREAKS.replace("viereinhalb", "vierein-\nhalb").upper()
    assert located({"breaks": cut}, {"a": LOADING, "b": text}) == {"breaks": Place("b", len(SPEED) + 2, len(text) - 1)}


def test_a_document_that_is_in_no_file_is_not_found() -> None:
    assert located({"other": "Die Kantine hat von zwölf bis zwei geöffnet."}, {"a": SPEED, "b": ""}) == {}


@pytest.mark.parametrize(
    ("text", "stands_for"),
    [
        (SPEED, ["speed"]),
        (f"{SPEED}\n\n{BREAKS}", ["speed", "breaks"]),
        (SPEED[:60], ["speed"]),
        (LOADING, []),
        (f"{BREAKS[-20:]}\n\n{LOADING}", []),
    ],
)
def test_a_passage_stands_for_what_it_holds_half_of_or_what_holds_half_of_it(text: str, stands_for: list[str]) -> None:
    assert rules_for(speed=SPEED, breaks=BREAKS).stands_for("rules.pdf", passage(text)) == stands_for


def test_a_passage_of_another_file_stands_for_nothing() -> None:
    assert rules_for(speed=SPEED).stands_for("other.pdf", passage(SPEED)) == []


def test_a_file_that_is_refused_ends_the_evaluation_by_its_name(tmp_path) -> None:
    (tmp_path / "locked.pdf").write_bytes(b"%PDF")

    def refuse(data: bytes, name: str) -> Extraction:
        raise DocumentRefused(RefusalReason.ENCRYPTED, "it needs a password")

    with pytest.raises(BadDataset, match=r"locked\.pdf cannot be read: .*password"):
        read_originals(tmp_path, corpus(speed=SPEED), refuse, lambda _: None)


def test_files_that_hold_no_document_end_the_evaluation(tmp_path) -> None:
    (tmp_path / "rules.pdf").write_bytes(b"%PDF")
    with pytest.raises(BadDataset, match="no document of the corpus is found in any of its 1 files"):
        read_originals(tmp_path, corpus(menu="Am Montag gibt es Grünkohl."), lambda *_: RULES, lambda _: None)
