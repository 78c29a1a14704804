"""What a document is called: as its first page is, in the words of the file where they stand there."""

from __future__ import annotations

import pytest

from ingest.extraction import Element, ElementKind, Extraction, finished

PAGE = 1


def heading(text: str, level: int = 1, page: int | None = PAGE) -> Element:
    return Element(ElementKind.HEADING, text, level, page)


def paragraph(text: str, page: int | None = PAGE) -> Element:
    return Element(ElementKind.PARAGRAPH, text, page=page)


@pytest.mark.parametrize(
    ("named", "elements", "title"),
    [
        ("", [heading("Reisekosten")], "Reisekosten"),
        ("", [heading("Nordwind AG", 2), heading("Reisekosten", 1)], "Reisekosten"),
        ("Microsoft Word - Entwurf.doc", [heading("Reisekosten")], "Reisekosten"),
        (
            "Geometrie und Topologie",
            [paragraph("Geometrie und\nTopologie"), heading("Vorwort")],
            "Geometrie und Topologie",
        ),
        ("Geometrie und Topologie", [paragraph("Ein Umschlag"), heading("Vorwort", page=2)], "Geometrie und Topologie"),
        ("", [heading("Contents"), heading("Foo")], "Foo"),
        ("", [heading("Inhaltsverzeichnis")], ""),
        ("", [heading("Page 1")], ""),
        ("", [heading("1st")], ""),
        ("Test", [paragraph("Test"), heading("Reisekosten")], "Reisekosten"),
        ("A name of the file", [paragraph("Text")], "A name of the file"),
        ("", [paragraph("Text"), heading("Ein Kapitel", page=2)], ""),
    ],
)
def test_a_document_is_called_what_its_first_page_calls_it(named: str, elements: list[Element], title: str) -> None:
    assert finished(Extraction(named, tuple(elements), "text/plain")).title == title


def test_a_title_of_many_lines_is_one_line_and_bounded() -> None:
    assert len(finished(Extraction("", (heading("Wort\n" * 500),), "text/plain")).title) == 300
