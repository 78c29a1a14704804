"""How the command line names the place of a citation."""

from __future__ import annotations

import pytest

from api.cli.asking import citation_line


@pytest.mark.parametrize(
    ("source", "page", "headings", "line"),
    [
        ("file://share/a.pdf", 3, ["Hotels"], "[1] Travel, page 3"),
        ("file://share/A.PPTX", 3, ["Hotels"], "[1] Travel, slide 3"),
        ("file://share/a.md", None, ["Rules", "Hotels"], "[1] Travel, Hotels"),
        ("file://share/a.txt", None, [], "[1] Travel"),
    ],
)
def test_a_citation_is_found_by_page_slide_or_heading(
    source: str, page: int | None, headings: list[str], line: str
) -> None:
    citation = {"number": 1, "title": "Travel", "source": source, "page": page, "heading_path": headings}
    assert citation_line({**citation, "confidence": None}) == line
    assert citation_line({**citation, "confidence": 0.95}) == line
    assert citation_line({**citation, "confidence": 0.5}) == f"{line}, recognised with doubt"
