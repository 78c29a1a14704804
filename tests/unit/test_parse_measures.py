"""How like a reference a reading is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.parsing.content import Block, extracted, full_text, markdown, paragraph, plain_text, table, table_rows
from eval.parsing.measures import Scores, cell_f1, mean_scores, reading_order, scores
from ingest.extraction import Element, ElementKind, Extraction
from ingest.parsers.kinds import FileKind
from ingest.parsers.tables import table_text

DUCKS = (("Year", "Ducks", "Geese"), ("2019", "120", "80"), ("2020", "135", "95"))

REFERENCE = """\
# Ducks &amp; geese

<!-- image -->

Bar chart

First *point*, see [the page](https://example.com/x):

1. Bread
2. Milk
    - 2.1. Fresh

[author: Jane Smith (JS), time: 2026-06-18T17:37:55]: Check this

| Year | Ducks | Geese |
| - | - | - |
| 2019 | 120 | 80 |
| 2020 |  | **95** |

| lonely |
| - |
"""


def test_a_reference_loses_what_its_maker_put_in() -> None:
    assert markdown(REFERENCE) == (
        Block("Ducks & geese"),
        Block("First point, see the page:"),
        Block("Bread"),
        Block("Milk"),
        Block("Fresh"),
        Block("Check this"),
        Block(rows=(("Year", "Ducks", "Geese"), ("2019", "120", "80"), ("2020", "95"))),
        Block("lonely"),
    )


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("1.2.1 Section 7", "Section 7"),
        ("2.3.1. Limits", "Limits"),
        ("• Bread", "Bread"),
        ("b) Milk", "Milk"),
        ("(123) 456-7890", "(123) 456-7890"),
        ("1 Restaurant", "1 Restaurant"),
        ("2024 was good", "2024 was good"),
        ("„Zeit – it’s“", '"Zeit - it\'s"'),
    ],
)
def test_marks_and_numbers_of_items_are_no_text_and_quotes_have_one_form(line, text) -> None:
    assert full_text(paragraph(line)) == text


@pytest.mark.parametrize(
    ("cells", "row"),
    [
        (("True", "", "True", "No"), ("True", "No")),
        (("Merged", "Merged", "C"), ("Merged", "C")),
        (("- Pond - Marsh", "1. Fly south 2. Build nest"), ("Pond Marsh", "Fly south Build nest")),
    ],
)
def test_cells_of_a_row_count_once_and_lose_the_marks_of_lists(cells, row) -> None:
    assert table([cells]) == (Block(rows=(row,)),)


def test_a_chart_that_is_named_in_the_text_stays() -> None:
    assert full_text(markdown("A pie chart\n\nPie chart")) == "A pie chart Pie chart"


def test_an_extraction_is_compared_without_the_names_of_columns_and_the_marks_of_lists() -> None:
    extraction = Extraction(
        "",
        (
            Element(ElementKind.LIST_ITEM, "• Bread"),
            Element(ElementKind.TABLE, table_text(DUCKS)),
            Element(ElementKind.PARAGRAPH, "a\nb"),
        ),
        "text/plain",
    )
    assert extracted(extraction) == (Block("Bread"), Block(rows=DUCKS), Block("a"), Block("b"))


@pytest.mark.parametrize(
    ("element", "media_type", "compared"),
    [
        (Element(ElementKind.TITLE, "Ducks"), FileKind.HTML, False),
        (Element(ElementKind.TITLE, "Ducks"), FileKind.DOCX, True),
        (Element(ElementKind.HEADING, "Sheet1"), FileKind.ODS, False),
        (Element(ElementKind.HEADING, "Sheet1"), FileKind.HTML, True),
        (Element(ElementKind.OTHER, "Speaker notes: Ducks"), FileKind.PPTX, False),
        (Element(ElementKind.OTHER, "Footnote 1: Ducks"), FileKind.PPTX, True),
    ],
)
def test_what_references_hold_or_not_as_their_makers_like_is_not_compared(element, media_type, compared) -> None:
    assert bool(extracted(Extraction("", (element,), media_type))) is compared


def test_a_reference_of_sheets_is_compared_without_their_names() -> None:
    assert markdown("## Sheet1\n\nDucks", of_sheets=True) == (Block("Ducks"),)
    assert markdown("## Sheet1\n\nDucks") == (Block("Sheet1"), Block("Ducks"))


@pytest.mark.parametrize(
    "rows",
    [
        DUCKS,
        (("Name", "Ort"), ("Eva", "Bonn"), ("Tom", "Ulm")),
        (("Title of all", "Title of all", "Title of all"), *DUCKS),
        (("Netto:", "28 €"), ("Brutto:", "33 €")),
        (("Zeit", "Wert", "Art"), ("10:15", "a: b", "Zeit: 3"), ("11:15", "1", "2")),
    ],
)
def test_the_rows_of_a_table_come_back_from_its_text(rows) -> None:
    (block,) = table(table_rows(table_text(rows)))
    assert full_text((block,)).replace(":", "") == full_text(table(rows)).replace(":", "")


@given(st.lists(st.lists(st.text("ab1", min_size=1, max_size=3), min_size=3, max_size=3), min_size=2, max_size=6))
def test_a_table_with_a_stated_head_comes_back_from_its_text(rows) -> None:
    assert cell_f1(table(table_rows(table_text(rows, header=True))), table(rows)) == 1.0


@pytest.mark.parametrize(
    ("found", "f1"),
    [
        (DUCKS, 1.0),
        ((), 0.0),
        (DUCKS[:2], 0.8),  # 6 of 9 found, nothing wrong: 12 / 15
        ((*DUCKS, ("2021", "1", "2")), round(18 / 21, 4)),
        ((DUCKS[0], ("2019", "120", "81"), DUCKS[2]), round(16 / 18, 4)),
        ((DUCKS[0], DUCKS[2], DUCKS[1]), round(12 / 18, 4)),  # rows in the wrong order
        (
            tuple(zip(*DUCKS, strict=True)),
            round(2 * 3 / 18, 4),
        ),  # columns for rows: no row agrees in more than one cell
    ],
)
def test_f1_counts_cells_in_their_rows(found, f1) -> None:
    assert cell_f1(table(found), table(DUCKS)) == f1


def test_f1_needs_a_table_in_the_reference() -> None:
    assert cell_f1(table(DUCKS), paragraph("no table")) is None


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("first line\nsecond line\nthird line", 1.0),
        ("third line\nsecond line\nfirst line", 0.0),
        ("second line\nfirst line\nthird line", round(2 / 3, 4)),
        ("first line\nthird line", 1.0),  # what is missing is not out of order
        ("first l1ne\nsecond line\nthird line", 1.0),  # one character misread
        ("first line\nsecond line\nthird line\nfirst line", 1.0),  # twice there: only the two others count
        ("third line", None),
    ],
)
def test_order_is_the_share_of_pairs_that_are_in_order(text, order) -> None:
    assert reading_order(plain_text(text), plain_text("first line\nsecond line\nthird line")) == order


@given(st.text(max_size=200))
def test_what_equals_its_reference_is_perfect(text) -> None:
    content = plain_text(text)
    assert scores(content, content).text == 1.0
    assert reading_order(content, content) in {1.0, None}


@given(st.text(max_size=60), st.text(max_size=60))
def test_scores_lie_between_nothing_and_one(one, other) -> None:
    found = scores(plain_text(one), plain_text(other))
    assert all(value is None or 0 <= value <= 1 for value in (found.text, found.cells, found.order))


def test_text_similarity_counts_the_edits() -> None:
    assert scores(paragraph("Wales"), paragraph("Whales")).text == round(5 / 6, 4)


def test_a_mean_leaves_out_files_that_have_no_such_measure() -> None:
    assert mean_scores([Scores(1.0, None, None), Scores(0.5, 0.4, None)]) == Scores(0.75, 0.4, None)
