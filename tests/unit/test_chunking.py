"""Chunks are exact quotations, cover everything, keep within the budget, and stay the same where the text does."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.chunking import Chunker
from ingest.extraction import Element, ElementKind, Extraction, clean, extracted_text, finished
from rag.documents import Chunk, indexed_text
from tests.fakes import WordEmbedder

TITLE, HEADING, PARAGRAPH = ElementKind.TITLE, ElementKind.HEADING, ElementKind.PARAGRAPH


def words(text: str) -> int:
    return len(text.split())


def pieces(text: str) -> int:
    """Like a real tokenizer: words of up to four letters, and every other mark."""
    return len(re.findall(r"\w{1,4}|[^\w\s]", text))


def uneven(text: str) -> int:
    """Tokens that do not add up: what follows a line end costs more behind it than alone."""
    return words(text) + 3 * len(re.findall(r"\n\w", text))


def german(text: str) -> str:
    return "de"


def chunked(*elements: Element, max_tokens: int = 64) -> list[Chunk]:
    return Chunker(words, max_tokens).chunk("document", Extraction("", elements, "text/plain"), german)


def paragraph(text: str, page: int | None = None) -> Element:
    return Element(PARAGRAPH, text, page=page)


def heading(text: str, level: int = 1, page: int | None = None) -> Element:
    return Element(HEADING, text, level, page)


def sentences(count: int, words_each: int = 8) -> str:
    return " ".join(f"Satz{i} " + "wort " * (words_each - 2) + "Ende." for i in range(count))


# Where chunks begin and end ----------------------------------------------------------------------------------------


def test_small_neighbours_under_one_heading_become_one_chunk() -> None:
    (chunk,) = chunked(heading("Reise"), paragraph("Erster Absatz."), paragraph("Zweiter Absatz."))
    assert chunk.text == "Reise\n\nErster Absatz.\n\nZweiter Absatz."
    assert chunk.heading_path == ("Reise",)


def test_a_heading_begins_a_chunk_and_carries_the_headings_above_it() -> None:
    found = chunked(
        heading("Handbuch", 1),
        paragraph("Vorwort."),
        heading("Reise", 2),
        paragraph("Sätze."),
        heading("Ausland", 3),
        paragraph("Tabelle."),
        heading("Urlaub", 2),
        paragraph("Tage."),
    )
    assert [chunk.heading_path for chunk in found] == [
        ("Handbuch",),
        ("Handbuch", "Reise"),
        ("Handbuch", "Reise", "Ausland"),
        ("Handbuch", "Urlaub"),
    ]


def test_headings_directly_under_one_another_open_one_chunk() -> None:
    (chunk,) = chunked(heading("Teil A", 1), heading("Kapitel 1", 2), paragraph("Text."))
    assert (chunk.text, chunk.heading_path) == ("Teil A\n\nKapitel 1\n\nText.", ("Teil A", "Kapitel 1"))


def test_bold_lines_in_a_row_are_text_and_not_one_chunk_each() -> None:
    first, second = chunked(heading("Nordwind GmbH", 2), heading("Kai 4", 2), heading("Rechnung", 2), paragraph("12 €"))
    assert (first.text, first.heading_path) == ("Nordwind GmbH\n\nKai 4", ())
    assert second.heading_path == ("Rechnung",)


def test_a_chunk_never_reaches_over_a_page_or_slide() -> None:
    found = chunked(heading("Folie", 1, 1), paragraph("Eins.", 1), paragraph("Zwei.", 2), paragraph("Drei.", 2))
    assert [(chunk.page, chunk.text) for chunk in found] == [(1, "Folie\n\nEins."), (2, "Zwei.\n\nDrei.")]
    assert found[1].heading_path == ("Folie",)


def test_a_format_without_pages_has_chunks_without_pages() -> None:
    assert [chunk.page for chunk in chunked(paragraph("Nur Text."))] == [None]


def test_a_long_paragraph_is_cut_between_sentences_and_nothing_is_said_twice() -> None:
    found = chunked(paragraph(sentences(30)), max_tokens=64)
    assert len(found) > 3
    assert all(chunk.text.startswith("Satz") and chunk.text.endswith("Ende.") for chunk in found)
    assert all(before.end <= after.start for before, after in pairwise(found))


@pytest.mark.parametrize(
    "abbreviated", ["z. B. Müller", "Nr. 5 der Liste", "am 31. August", "ca. 40 Prozent", "gem. § 3 Abs. 2"]
)
def test_an_abbreviation_is_no_end_of_a_sentence(abbreviated: str) -> None:
    for length in range(12):  # so that the budget ends at every place in a sentence once
        sentence = f"Das gilt {abbreviated} {'immer ' * length}weiter."
        found = chunked(paragraph(" ".join([sentence] * 20)))
        assert all(chunk.text.endswith("weiter.") for chunk in found)


def test_a_table_is_cut_between_rows_and_never_inside_one() -> None:
    rows = [f"Ort: Stadt{i} | Satz: {i} Euro am Tag" for i in range(40)]
    found = chunked(Element(ElementKind.TABLE, "\n".join(rows)))
    assert len(found) > 2
    assert [row for chunk in found for row in chunk.text.split("\n")] == rows


def test_a_row_longer_than_a_chunk_keeps_its_first_cell_and_the_name_of_its_column_in_the_path() -> None:
    long = " ".join(f"Satz{number} sagt noch etwas mehr." for number in range(40))
    table = f"Teil: Pumpe | Beschreibung: {long} | Preis: 12 €\nTeil: Rohr | Beschreibung: kurz"
    found = chunked(heading("Lager"), Element(ElementKind.TABLE, table))
    assert [chunk.heading_path for chunk in found][:2] == [("Lager",), ("Lager", "Teil: Pumpe | Beschreibung")]
    assert {chunk.heading_path for chunk in found[1:-1]} == {("Lager", "Teil: Pumpe | Beschreibung")}
    assert all(words(indexed_text(chunk.heading_path, chunk.text)) <= 64 for chunk in found)


def test_a_word_longer_than_a_chunk_is_cut_too() -> None:
    blob = "QUJD" * 2_000
    found = Chunker(pieces, 64).chunk("document", Extraction("", (paragraph(blob),), "text/plain"), german)
    assert all(pieces(chunk.indexed_text) <= 64 for chunk in found)
    assert found[-1].end == len(blob)


def test_a_path_that_would_fill_the_chunk_loses_its_outermost_headings() -> None:
    found = chunked(heading("viele " * 30, 1), heading("auch " * 10, 2), paragraph("Text."))
    assert {chunk.heading_path for chunk in found} == {(" ".join(["auch"] * 10),)}


def test_a_text_that_counts_more_behind_its_heading_than_alone_still_fits() -> None:
    extraction = Extraction("", (heading("H", 1, 1), paragraph("wort " * 62 + "wort", 2)), "text/plain")
    found = Chunker(uneven, 64).chunk("document", extraction, german)
    assert all(uneven(chunk.indexed_text) <= 64 for chunk in found)
    assert found[-1].end == len(extracted_text(extraction)[0])


def test_in_04_a_text_of_many_megabytes_is_never_counted_at_once_and_every_element_only_a_few_times() -> None:
    counted: list[int] = []

    def count(text: str) -> int:
        counted.append(len(text))
        return words(text)

    long = "wort " * 200_000
    short = [paragraph(f"Satz {number}.") for number in range(20_000)]
    extraction = Extraction("", (paragraph(long), Element(ElementKind.TABLE, "a | b\n" * 50_000), *short), "text/plain")
    found = Chunker(count, 240).chunk("document", extraction, german)
    assert max(counted) <= 60_000
    assert sum(counted) < 10 * len(extracted_text(extraction)[0])
    assert "".join("".join(chunk.text.split()) for chunk in found) == "".join(extracted_text(extraction)[0].split())


def test_in_04_headings_that_fill_pages_or_nest_without_end_are_no_path() -> None:
    sentence = paragraph("Ein Satz.")
    (only,) = chunked(heading("Wort " * 61, 1), sentence, max_tokens=240)
    assert only.heading_path == ()
    deep = [heading(f"h{level}", level) for level in range(1, 5_001)]
    assert chunked(*deep, sentence)[-1].heading_path == tuple(f"h{level}" for level in range(4_991, 5_001))


# Language -----------------------------------------------------------------------------------------------------------


def test_a_short_passage_takes_the_language_of_its_document() -> None:
    def detect(text: str) -> str:
        return "en" if text.startswith("The end") else "de"

    elements = (paragraph("Deutscher Anfang.", 1), paragraph("The end.", 2))
    found = Chunker(words, 64).chunk("d", Extraction("", elements, ""), detect)
    assert [chunk.language for chunk in found] == ["de", "de"]


def test_a_long_english_passage_in_a_german_document_is_english() -> None:
    def detect(text: str) -> str:
        return "en" if text.count("word") > 20 else "de"

    elements = (*(paragraph("Satz. " * 30, page) for page in range(1, 30)), paragraph("word " * 60, 30))
    languages = [chunk.language for chunk in Chunker(words, 64).chunk("d", Extraction("", elements, ""), detect)]
    assert (set(languages[:-1]), languages[-1]) == ({"de"}, "en")


# Identity -----------------------------------------------------------------------------------------------------------


def test_a_chunk_that_an_edit_leaves_alone_keeps_its_id() -> None:
    before = chunked(heading("A"), paragraph("Eins."), heading("B"), paragraph("Zwei."))
    after = chunked(heading("A"), paragraph("Geändert, und länger."), heading("B"), paragraph("Zwei."))
    assert before[0].id != after[0].id
    assert before[1].id == after[1].id
    assert before[1].start != after[1].start


def test_in_14_the_same_text_twice_gives_two_ids_and_one_content_hash() -> None:
    first, second = chunked(paragraph("Gleich.", 1), paragraph("Gleich.", 2))
    assert first.content_hash == second.content_hash
    assert first.id != second.id


def test_a_budget_that_no_text_fits_is_refused() -> None:
    with pytest.raises(ValueError, match="max_tokens"):
        Chunker(words, 10)


class ReadingLittle(WordEmbedder):
    max_tokens = 100
    profile = replace(WordEmbedder.profile, document_prefix="search document: ")


@pytest.mark.parametrize(("embedder", "longest"), [(ReadingLittle(), 96), (WordEmbedder(), 240)])
def test_a_chunk_is_never_longer_than_its_model_reads_with_prefix_and_special_tokens(
    embedder: WordEmbedder, longest: int
) -> None:
    extraction = Extraction("", (paragraph(sentences(300)),), "text/plain")
    found = Chunker.of_embedder(embedder).chunk("document", extraction, german)
    assert 0.8 * longest <= max(embedder.count_tokens(each.indexed_text) for each in found) <= longest


# Properties ---------------------------------------------------------------------------------------------------------

TEXT = st.one_of(
    st.text(max_size=400),
    st.text(alphabet="ab \n.|:", max_size=600),
    st.builds(
        "".join,
        st.lists(st.sampled_from(["Satz eins. ", "wort ", "QUJD" * 40, "。", "\n", "ä", "z. B. "]), max_size=80),
    ),
)
ELEMENTS = st.lists(
    st.builds(Element, st.sampled_from(ElementKind), TEXT, st.integers(0, 4), st.none() | st.integers(1, 3)),
    max_size=12,
)


@pytest.mark.parametrize("count", [words, pieces, len, uneven], ids=["words", "pieces", "characters", "uneven"])
@settings(max_examples=150)
@given(elements=ELEMENTS)
def test_chunks_quote_cover_and_keep_within_the_budget(count, elements) -> None:  # type: ignore[no-untyped-def]
    extraction = finished(Extraction("", tuple(elements), "text/plain"))
    text, _ = extracted_text(extraction)
    found = Chunker(count, 64).chunk("document", extraction, german)
    covered = [False] * len(text)
    for chunk in found:
        assert chunk.text == text[chunk.start : chunk.end]
        assert count(chunk.indexed_text) <= 64
        covered[chunk.start : chunk.end] = [True] * (chunk.end - chunk.start)
    assert all(seen or char.isspace() for seen, char in zip(covered, text, strict=True))
    assert [chunk.ordinal for chunk in found] == list(range(1, len(found) + 1))
    assert [chunk.start for chunk in found] == sorted(chunk.start for chunk in found)
    assert len({chunk.id for chunk in found}) == len(found)
    assert found == Chunker(count, 64).chunk("document", extraction, german)


@given(st.text(st.characters(max_codepoint=0x2FF) | st.sampled_from("–„“…€ \u0301")))
def test_clean_text_is_the_same_by_the_short_way(text: str) -> None:
    assert clean(text) == clean(f"{text}\n\t")  # what holds a tab is cleaned step by step


@given(st.text())
def test_clean_text_is_stable_and_can_be_stored(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert once.encode().decode() == once
    assert not re.search("[\x00-\x08\u202a-\u202e\u200b\ud800-\udfff]", once)


@pytest.mark.parametrize(
    ("raw", "stored"),
    [
        ("Gru\u0308ße", "Grüße"),
        ("Daten\u00adbank", "Datenbank"),
        ("12\u00a0€", "12 €"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("evil\u202etxt.exe", "eviltxt.exe"),
        ("\x1b[31mrot\x00", "[31mrot"),
        ("\ud800", "\ufffd"),
    ],
)
def test_in_16_text_is_stored_composed_and_without_invisible_characters(raw: str, stored: str) -> None:
    assert clean(raw) == stored


def test_in_16_a_title_of_a_megabyte_is_cut() -> None:
    assert len(finished(Extraction("T" * 1_000_000, (paragraph("x"),), "text/plain")).title) == 300


@pytest.mark.parametrize(
    ("elements", "title"),
    [
        ((Element(TITLE, "Betreff"), paragraph("x")), "Betreff"),
        ((heading("Firma GmbH", 3), heading("Handbuch", 1), paragraph("x")), "Handbuch"),
        ((paragraph("x"),), "from metadata"),
    ],
)
def test_the_most_prominent_heading_at_the_top_names_the_document(elements: tuple[Element, ...], title: str) -> None:
    assert finished(Extraction("from metadata", elements, "text/plain")).title == title
