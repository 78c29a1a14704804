"""Small files that are made to cost: each is read in a time that grows with its size alone, or refused for its reason.

`CPU_S` is far below what each of them took before, by a factor of ten and more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from time import process_time

import pytest
from PIL import Image

from ingest.extraction import Extraction, clean, extracted_text
from ingest.parsers.detection import detect
from ingest.parsers.image import frame_pixels
from ingest.parsers.kinds import FileKind
from ingest.parsers.layout import Block, Line, Rect, Sheet, without_running_heads
from ingest.parsers.reach import READ_AS_PLAIN
from ingest.parsers.registry import parse
from ingest.parsers.structure import joined
from rag.errors import DocumentRefused, RefusalReason
from tests.contract import parser_files as files

CPU_S = 5.0


@contextmanager
def cheaply() -> Iterator[None]:
    begun = process_time()
    yield
    assert process_time() - begun < CPU_S


# Patterns ----------------------------------------------------------------------------------------------------------------

BLANKS = " \t" * 100_000
TEXTS: dict[str, tuple[str, str]] = {
    "blanks inside a line": (f"a{BLANKS}b", f"a{BLANKS}b"),
    "blanks at the end of a line": (f"a{BLANKS}\nb{BLANKS}\n\n\n\nc", "a\nb\n\nc"),
    "marks on one letter": ("a" + "\u0301\u0316" * 200_000, "\u00e1" + "\u0316" * 15 + "\u0301" * 14),
    "marks that do not look like one": ("\u0f40" + "\u0f73" * 200_000, "\u0f40" + "\u0f71" * 30 + "\u0f72" * 30),
    "many letters with few marks": ("ä\u0316" * 100_000, "ä\u0316" * 100_000),
}


@pytest.mark.parametrize("case", TEXTS)
def test_texts_are_cleaned_in_one_go(case: str) -> None:
    text, expected = TEXTS[case]
    with cheaply():
        assert clean(text) == expected


KINDS: dict[str, tuple[str, FileKind]] = {
    "blanks only, then a letter": ("\n" + " " * 65_000 + "x", FileKind.TEXT),
    "blanks in front of a page": ("\n" + " " * 60_000 + "<!-- x -->\n<HTML>", FileKind.HTML),
    "blanks around a prologue": (" <?xml version='1.0'?>" + " " * 60_000 + "<x/>", FileKind.XML),
    "comments that never end": ("<!--" * 16_000, FileKind.TEXT),
}


@pytest.mark.parametrize("case", KINDS)
def test_the_kind_of_a_text_is_told_in_one_go(case: str) -> None:
    text, kind = KINDS[case]
    with cheaply():
        assert detect(text.encode(), "a") is kind


# What a file says often, or within itself ---------------------------------------------------------------------------------


def chained(count: int) -> bytes:
    """A Word file whose notes each refer to the next one twice, and the last to the first."""
    notes = "".join(
        f'<w:footnote w:id="{i}"><w:p><w:r><w:t>note {i}.</w:t></w:r>'
        + f'<w:r><w:footnoteReference w:id="{(i + 1) % count}"/></w:r>' * 2
        + "</w:p></w:footnote>"
        for i in range(count)
    )
    data = files.word_with_footnote()
    text = files.member_of(data, "word/document.xml").replace(b'w:id="2"', b'w:id="0"')
    root = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    data = files.replaced(data, "word/footnotes.xml", f"<w:footnotes {root}>{notes}</w:footnotes>".encode())
    return files.replaced(data, "word/document.xml", text)


def within(levels: int, around: str, text: str) -> bytes:
    """An OpenDocument text with something in itself."""
    before, after = around.split("|")
    return files.odt(f"<text:p>{text}{before}" * levels + "<text:p>x</text:p>" + f"{after}</text:p>" * levels)


def wide(span: int) -> bytes:
    cell = f'<w:tc><w:tcPr><w:gridSpan w:val="{span}"/></w:tcPr><w:p><w:r><w:t>x</w:t></w:r></w:p></w:tc>'
    return files.word_with(f"<w:tbl><w:tr>{cell * 20}</w:tr><w:tr><w:tc><w:p/></w:tc></w:tr></w:tbl>")


def sheet(rows: str) -> bytes:
    table = f'<table:table table:name="S">{rows}</table:table>'
    return files.opendocument("spreadsheet", f"<office:spreadsheet>{table}</office:spreadsheet>")


def checkered(size: int) -> bytes:
    cell = "<table:table-cell><text:p>a</text:p></table:table-cell>"
    apart = '<table:table-cell table:number-columns-repeated="2"/>'
    return sheet(f"<table:table-row>{(cell + apart) * size}</table:table-row><table:table-row/>" * size)


def repeated(rows: int, text: str = "a") -> bytes:
    cell = f'<table:table-cell table:number-columns-repeated="200"><text:p>{text}</text:p></table:table-cell>'
    return sheet(f'<table:table-row table:number-rows-repeated="200">{cell}</table:table-row>' * rows)


def diagonal(size: int) -> bytes:
    cell = "<table:table-cell><text:p>a</text:p></table:table-cell>"
    empty = '<table:table-cell table:number-columns-repeated="{}"/>'
    return sheet("".join(f"<table:table-row>{empty.format(i)}{cell}</table:table-row>" for i in range(1, size)))


def workbook_with(tail: str) -> bytes:
    content = files.member_of(files.workbook(), "xl/worksheets/sheet1.xml").decode()
    return files.replaced(
        files.workbook(), "xl/worksheets/sheet1.xml", content.replace("</sheetData>", f"</sheetData>{tail}").encode()
    )


def commented(place: str) -> bytes:
    data = files.workbook()
    comments = files.member_of(data, "xl/comments/comment1.xml").replace(b'ref="A4"', f'ref="{place}"'.encode())
    return files.replaced(data, "xl/comments/comment1.xml", comments)


COUNTED: dict[str, tuple[Callable[[], bytes], str, int, int]] = {
    "Word, notes that name one another": (lambda: chained(40), "a.docx", 2, 900),
    "Word, cells as wide as a hundred million": (lambda: wide(99_999_999), "a.docx", 1, 600),
    "OpenDocument, boxes in boxes": (
        lambda: within(60, "<draw:frame><draw:text-box>|</draw:text-box></draw:frame>", "words"),
        "a.odt",
        61,
        301,
    ),
    "OpenDocument, comments in comments": (
        lambda: within(100, "<office:annotation>|</office:annotation>", "words"),
        "a.odt",
        101,
        1500,
    ),
    "OpenDocument, lists in lists": (
        lambda: files.odt(
            "<text:list><text:list-item>" * 80 + "<text:p>x</text:p>" + "<text:h>y</text:h></text:list-item></text:list>" * 80
        ),
        "a.odt",
        81,
        81,
    ),
    "a cell of many paragraphs": (
        lambda: sheet(f"<table:table-row><table:table-cell>{'<text:p>a</text:p>' * 20_000}</table:table-cell></table:table-row>"),
        "a.ods",
        2,
        40_000,
    ),
    "a sheet of many tables": (lambda: checkered(250), "a.ods", 62_501, 62_501),
    "a whole sheet as one cell": (lambda: workbook_with('<mergeCells><mergeCell ref="A1:XFD1048576"/></mergeCells>'), "a.xlsx", 7, 300),
    "a whole sheet as one link": (
        lambda: workbook_with('<hyperlinks><hyperlink ref="A1:XFD1048576" location="A1"/></hyperlinks>'),
        "a.xlsx",
        7,
        300,
    ),
    "an element of many attributes": (
        lambda: b"<?xml version='1.0'?><a><b " + b" ".join(b"a%d='x'" % i for i in range(80_000)) + b"/><c>y</c></a>",
        "a.xml",
        1,
        10_000,
    ),
    "one comment for a whole sheet": (lambda: commented("A1:XFD1048576"), "a.xlsx", 6, 300),
}  # fmt: skip


@pytest.mark.parametrize("case", COUNTED)
def test_in_04_what_a_file_says_once_is_read_once(case: str) -> None:
    make, name, most_elements, most_chars = COUNTED[case]
    with cheaply():
        found = parse(make(), name)
    assert 0 < len(found.elements) <= most_elements
    assert sum(len(element.text) for element in found.elements) <= most_chars


REFUSED: dict[str, tuple[Callable[[], bytes], str, RefusalReason]] = {
    "a cell in millions of places": (lambda: repeated(70), "a.ods", RefusalReason.TOO_LARGE),
    "a long text in thousands of places": (lambda: repeated(1, "long" * 100), "a.ods", RefusalReason.TOO_LARGE),
    "cells along a diagonal": (lambda: diagonal(6_000), "a.ods", RefusalReason.TOO_LARGE),
    "merged cells over one another": (
        lambda: workbook_with("<mergeCells>" + '<mergeCell ref="A1:D2500"/>' * 1 + "".join(f'<mergeCell ref="A3:D{i}"/>' for i in range(2_000, 2_300)) + "</mergeCells>"),
        "a.xlsx",
        RefusalReason.TOO_LARGE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_in_04_small_files_that_show_too_much_are_refused_before_they_do(case: str) -> None:
    make, name, reason = REFUSED[case]
    data = make()
    with cheaply(), pytest.raises(DocumentRefused) as refusal:
        parse(data, name)
    assert refusal.value.reason is reason, refusal.value.detail


def test_what_merged_cells_hide_is_not_read() -> None:
    data = workbook_with('<mergeCells><mergeCell ref="A4:B4"/><mergeCell ref="E3:F4"/></mergeCells>')
    assert "1890" not in extracted_text(parse(data, "a.xlsx"))[0]
    assert "Blei" not in extracted_text(parse(data, "a.xlsx"))[0]


# Headers of mail -----------------------------------------------------------------------------------------------------------

MAILS: dict[str, str] = {
    "addresses": "From: " + "a@b, " * 60_000,
    "quoted names": "From: " + '"a"' * 20_000,
    "a subject in words of its own": "Subject: " + "=?utf-8?q?a?= " * 20_000,
    "comments in a date": "Date: " + "(" * 50_000,
    "parameters of a type": "Content-Type: text/plain; " + "; ".join(f"a*{i}*=utf-8''x" for i in range(8_000)),
    "a header over many lines": "To: " + "a@b,\n " * 40_000 + "c",
    "many headers": "X: y\n" * 100_000 + "Z: z",
}


@pytest.mark.parametrize("case", MAILS)
def test_in_04_headers_of_mails_are_read_within_bounds(case: str) -> None:
    with cheaply():
        found = parse(f"MIME-Version: 1.0\nTo: b@a.example\n{MAILS[case]}\n\nWords.".encode(), "a.eml")
    assert found.elements[-1].text == "Words."
    assert sum(len(element.text) for element in found.elements) < 150_000


def test_a_mail_to_a_thousand_people_names_them_all_and_one_that_goes_on_says_where_it_is_cut_off() -> None:
    def to(count: int) -> Extraction:
        people = ", ".join(f"Jana {i:05} <jana.{i:05}@a.example>" for i in range(count))
        return parse(f"From: a@a.example\nTo: {people}\nSubject: Plan\n\nWords.".encode(), "a.eml")

    assert "<jana.00999@a.example>" in extracted_text(to(1_000))[0]
    assert to(1_000).notices == ()
    assert to(5_000).notices == ("headers cut off after 64,000 characters: To",)


# Pictures ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(200, 100_000), (100_000, 200), (1, 3_000_000)])
def test_in_13_a_picture_like_a_thread_is_drawn_within_bounds(size: tuple[int, int]) -> None:
    with cheaply(), BytesIO() as file, Image.new("1", size) as image:
        image.save(file, "PNG")
        drawn = frame_pixels(file.getvalue(), 1, 3_000, max_pixels=1_000_000)
    assert 0 < drawn.shape[0] * drawn.shape[1] <= 1_000_000


# Markup ----------------------------------------------------------------------------------------------------------------

READ: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "HTML, one long attribute": (lambda: b"<html><head><meta " + b"a" * 99_000 + b"><body><p>x", "a.html", "x"),
}


PLAIN: dict[str, tuple[str, str]] = {
    "brackets that never end": ("[" * 20_000, "a.md"),
    "brackets in brackets": ("[" * 9_000 + "]" * 9_000, "a.md"),
    "links that never end": ("[a](" * 9_000, "a.md"),
    "tags that never end": ("<a " * 20_000, "a.md"),
    "sections that are no markup": ("<![CDATA[" * 4_000, "a.md"),
    "code that never ends": ("```a\n" * 20_000, "a.md"),
    "headings only": ("# a\n" * 20_000, "a.md"),
    "rules only": ("a\n\n- - -\n\n" * 20_000, "a.md"),
    "much of it": (("Ein Satz. " * 300 + "\n\n") * 1_400, "a.md"),
    "emphasis that never ends": ("*a **b `c ``d " * 20_000, "a.rst"),
    "references to nothing": ("a_ " * 30_000, "a.rst"),
    "a name for a long text": ("|a| " * 20_000 + "\n\n.. |a| replace:: " + "x " * 100, "a.rst"),
    "sections only": ("".join(f"a{i}\n=====\n\n" for i in range(10_000)), "a.rst"),
    "a table of a line": ("= " * 10_000 + "\n" + "a " * 10_000 + "\n" + "= " * 10_000, "a.rst"),
}


@pytest.mark.parametrize("case", PLAIN)
def test_in_04_markup_that_takes_a_reader_too_long_is_read_as_plain_text(case: str) -> None:
    text, name = PLAIN[case]
    with cheaply():
        found = parse(text.encode(), name)
    assert found.notices == (READ_AS_PLAIN,)
    assert extracted_text(found)[0].split() == clean(text).split()


LINKS = "".join(
    f"* [name {i}](https://a.example/{i}) - *some* `text`, **bold** [x] (y) and <br> a < b\n" for i in range(3_000)
)
CODE = "```cpp\n" + "std::cout << a[i] << f(b);\nif (a <b) {\n\n" * 100 + "```\n"
REFERENCES = "".join(
    f"* `name {i} <https://a.example/{i}>`_ has ``code`` and *words*, see :ref:`a` or |b|.\n" for i in range(1_000)
)


@pytest.mark.parametrize(
    ("text", "name"),
    [(LINKS, "a.md"), (CODE * 20, "a.md"), (REFERENCES, "a.rst"), ("A::\n\n  **argv, *a, `b\n\n" * 900, "a.rst")],
)
def test_much_ordinary_markup_is_read_as_what_it_is(text: str, name: str) -> None:
    found = parse(text.encode(), name)
    assert found.notices == ()
    assert len(found.elements) > 10


@pytest.mark.parametrize("case", READ)
def test_in_04_small_files_that_are_made_to_cost_are_read(case: str) -> None:
    make, name, expected = READ[case]
    with cheaply():
        assert extracted_text(parse(make(), name))[0] == expected


def test_dots_of_a_table_of_contents_are_taken_in_one_go() -> None:
    with cheaply():
        assert joined([". " * 30_000 + "?"]) == ". " * 30_000 + "?"
        assert joined(["Lohn " + ". " * 30_000 + "12"]) == "Lohn … 12"


def test_figures_in_margins_are_no_page_number_when_they_are_many() -> None:
    def block(page: int, text: str) -> Block:
        rect = Rect(10.0, 1.0, 500.0, 9.0)
        return Block((Line(text, rect, 9.0, False),), rect, Sheet(page, 600.0, 800.0))

    figures = "1 - " * 300 + "x"
    with cheaply():
        kept = without_running_heads([block(page, text) for page in (1, 2) for text in (figures, f"- {page} -")], 2)
    assert [each.text for each in kept] == [figures]
