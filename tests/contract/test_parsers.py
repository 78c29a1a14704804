"""What every format must yield through the pool: the text, its headings, pages and tables, or a refusal with its reason."""

# mypy: disable-error-code="no-untyped-call,attr-defined"

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from email.message import EmailMessage

import docx
import openpyxl  # type: ignore[import-untyped]
import pptx
import pymupdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.extraction import Element, ElementKind, Extraction, extracted_text
from ingest.sandbox import ParserPool
from rag.errors import DocumentRefused, RefusalReason
from tests.contract.parser_files import compound

HEADING, PARAGRAPH, LIST_ITEM, TABLE = (
    ElementKind.HEADING,
    ElementKind.PARAGRAPH,
    ElementKind.LIST_ITEM,
    ElementKind.TABLE,
)


@pytest.fixture(scope="module")
def pool() -> Iterator[ParserPool]:
    with ParserPool(1, timeout_s=60) as pool:
        yield pool


def outline(extraction: Extraction) -> list[tuple[ElementKind, str]]:
    return [(element.kind, element.text) for element in extraction.elements]


def text_of(extraction: Extraction) -> str:
    return extracted_text(extraction)[0]


def pages_of(extraction: Extraction) -> list[int | None]:
    return [element.page for element in extraction.elements]


# Files made here -----------------------------------------------------------------------------------------------------


def saved(document: object) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def word() -> bytes:
    document = docx.Document()
    document.add_heading("Reisekosten", 1)
    document.add_paragraph("Für alle Beschäftigten.")
    document.add_heading("Sätze", 2)
    document.add_paragraph("Übernachtung", style="List Bullet")
    rows = (("Ort", "Satz", "Gültig ab"), ("München", "28 €", "2025"), ("London", "66 €", "2024"))
    table = document.add_table(rows=0, cols=3)
    for row in rows:
        for cell, text in zip(table.add_row().cells, row, strict=True):
            cell.text = text
    return saved(document)


def slides() -> bytes:
    deck = pptx.Presentation()
    for title, body in (("Willkommen", "Guten Morgen"), ("Brandschutz", "Sammelplatz Süd")):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = body
    deck.slides[1].notes_slide.notes_text_frame.text = "Auf den Plan zeigen."
    return saved(deck)


def workbook() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Preise"
    for row in (("Relation", "Preis", "Laufzeit"), ("Hamburg", 1890, 30), ("Århus", 650.5, 12)):
        sheet.append(row)
    book.create_sheet("Zuschläge").append(("Diesel", "0,8 %"))
    return saved(book)


def pdf(*lines: tuple[float, float, float, str], pages: int = 1, **how: object) -> bytes:
    """A PDF with (x, y, size, text) on every page; `#` in a text becomes the page number."""
    document = pymupdf.open()
    for number in range(1, pages + 1):
        page = document.new_page(width=595, height=842)
        for x, y, size, text in lines:
            page.insert_text((x, y), text.replace("#", str(number)), fontsize=size)
    data: bytes = document.tobytes(**how)
    return data


def two_columns() -> bytes:
    """Written line by line across both columns, as scanners and some programs do."""
    left = [f"Die linke Spalte erzählt in Zeile {i} von" for i in range(1, 9)]
    right = [f"In der rechten Spalte folgt als Zeile {i}" for i in range(1, 9)]
    lines: list[tuple[float, float, float, str]] = [(60, 120, 18, "Ein Titel, der über beide Spalten reicht")]
    for index, (a, b) in enumerate(zip(left, right, strict=True)):
        lines += [(310, 160 + 14 * index, 11, b), (60, 160 + 14 * index, 11, a)]
    return pdf(*lines)


def ruled_table() -> bytes:
    document = pymupdf.open()
    page = document.new_page(width=595, height=842)
    rows = (("Stoff", "Klasse", "Menge"), ("Farbe", "3", "333 l"), ("Säure", "8", "20 l"))
    page.insert_text((60, 150), "Vor der Tabelle steht ein Satz.")
    for y, row in enumerate(rows):
        for x, text in enumerate(row):
            cell = pymupdf.Rect(60 + 120 * x, 200 + 24 * y, 180 + 120 * x, 224 + 24 * y)
            page.draw_rect(cell)
            page.insert_text((cell.x0 + 4, cell.y1 - 8), text)
    data: bytes = document.tobytes()
    return data


def mail() -> bytes:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "Beschwerde über Köln", "Jürgen <j@a.example>", "b@a.example"
    message.set_content("Nur Text")
    message.add_alternative("<p>Die <b>Kühlkette</b> riss.</p><script>alert(1)</script>", subtype="html")
    message.add_attachment("Messwerte: 8 °C", filename="werte.txt")
    message.add_attachment(b"%PDF-1.7", maintype="application", subtype="pdf", filename="plan.pdf")
    return message.as_bytes()


# What is found ---------------------------------------------------------------------------------------------------------


def test_word_yields_headings_lists_and_tables_with_their_column_names(pool: ParserPool) -> None:
    found = pool.parse(word(), "a.docx")
    assert found.title == "Reisekosten"
    assert outline(found) == [
        (HEADING, "Reisekosten"),
        (PARAGRAPH, "Für alle Beschäftigten."),
        (HEADING, "Sätze"),
        (LIST_ITEM, "Übernachtung"),
        (
            TABLE,
            "Ort | Satz | Gültig ab\n"
            "Ort: München | Satz: 28 € | Gültig ab: 2025\n"
            "Ort: London | Satz: 66 € | Gültig ab: 2024",
        ),
    ]
    assert [element.level for element in found.elements if element.kind is HEADING] == [1, 2]


def test_slides_are_pages_with_their_title_first_and_their_notes(pool: ParserPool) -> None:
    found = pool.parse(slides(), "a.pptx")
    assert pages_of(found) == [1, 1, 2, 2, 2]
    assert [e.text for e in found.elements if e.kind is HEADING] == ["Willkommen", "Brandschutz"]
    assert {"Sammelplatz Süd", "Speaker notes: Auf den Plan zeigen."} <= {e.text for e in found.elements if e.page == 2}


def test_sheets_are_headings_and_rows_carry_their_column_names(pool: ParserPool) -> None:
    found = pool.parse(workbook(), "a.xlsx")
    assert found.title == ""  # a sheet's name names no workbook
    assert outline(found)[0] == (HEADING, "Preise")
    assert "Relation: Århus | Preis: 650.5 | Laufzeit: 12" in text_of(found)
    assert (HEADING, "Zuschläge") in outline(found)
    assert set(pages_of(found)) == {None}


def test_pdf_headings_follow_the_size_of_the_type_and_pages_are_counted(pool: ParserPool) -> None:
    found = pool.parse(
        pdf(
            (60, 130, 20, "Überschrift"),
            (60, 200, 14, "Abschnitt #"),
            (60, 230, 11, "Text mit Umlauten: äöüß."),
            pages=2,
        ),
        "a.pdf",
    )
    assert found.title == "Überschrift"
    assert [(e.kind, e.level, e.page) for e in found.elements[:3]] == [
        (HEADING, 1, 1),
        (HEADING, 2, 1),
        (PARAGRAPH, 0, 1),
    ]
    assert pages_of(found) == [1, 1, 1, 2, 2, 2]
    assert "Text mit Umlauten: äöüß." in text_of(found)


def test_two_columns_are_read_one_after_the_other(pool: ParserPool) -> None:
    text = text_of(pool.parse(two_columns(), "a.pdf"))
    assert text.startswith("Ein Titel, der über beide Spalten reicht")
    assert text.index("linke Spalte erzählt in Zeile 8") < text.index("rechten Spalte folgt als Zeile 1")


def test_a_ruled_table_in_a_pdf_is_read_row_by_row(pool: ParserPool) -> None:
    found = pool.parse(ruled_table(), "a.pdf")
    assert outline(found) == [
        (PARAGRAPH, "Vor der Tabelle steht ein Satz."),
        (
            TABLE,
            "Stoff | Klasse | Menge\nStoff: Farbe | Klasse: 3 | Menge: 333 l\nStoff: Säure | Klasse: 8 | Menge: 20 l",
        ),
    ]


def test_running_heads_are_kept_once_and_page_numbers_never(pool: ParserPool) -> None:
    head, foot = (60, 40, 9, "Vertraulich, Stand 2024"), (280, 820, 9, "Seite # von 4")
    text = text_of(pool.parse(pdf(head, (60, 300, 11, "Inhalt der Seite #."), foot, pages=4), "a.pdf"))
    assert text.count("Vertraulich") == 1
    assert "von 4" not in text
    assert text.count("Inhalt der Seite") == 4


def test_words_divided_at_the_end_of_a_line_are_closed_up(pool: ParserPool) -> None:
    lines = ("Die Gefahrgut-", "vorschriften gelten für UN-", "Nummern, Be-", "und Entladung.")
    found = pool.parse(pdf(*((60, 200 + 13 * i, 11, line) for i, line in enumerate(lines))), "a.pdf")
    assert text_of(found) == "Die Gefahrgutvorschriften gelten für UN-Nummern, Be- und Entladung."


def test_mail_yields_subject_envelope_and_body_and_its_attachments_apart(pool: ParserPool) -> None:
    found = pool.parse(mail(), "a.eml")
    assert found.title == "Beschwerde über Köln"
    assert outline(found)[1:] == [
        (ElementKind.OTHER, "From: Jürgen <j@a.example>\nTo: b@a.example"),
        (PARAGRAPH, "Die Kühlkette riss."),
        (LIST_ITEM, "Attachment: werte.txt"),
        (LIST_ITEM, "Attachment: plan.pdf"),
    ]
    assert [(each.name, each.data[:8]) for each in found.attachments] == [
        ("werte.txt", b"Messwert"),
        ("plan.pdf", b"%PDF-1.7"),
    ]


def test_web_pages_yield_their_text_without_scripts_and_fetch_nothing(pool: ParserPool) -> None:
    page = """<!doctype html><html><head><title>Intranet &amp; Mehr</title><style>p{}</style></head><body>
    <h1>Häuser</h1><p>Ein <a href="http://sentinel.invalid/x">Satz</a>.</p><script>steal()</script>
    <img src="http://sentinel.invalid/y.png"><table><tr><th>Ort</th><th>Satz</th></tr>
    <tr><td>Kiel <IMG src="k.png" alt="K&uuml;ste &lt;3"></td><td>3</td></tr></table></body></html>"""
    found = pool.parse(page.encode(), "a.html")
    assert found.title == "Intranet & Mehr"
    assert outline(found)[1:] == [
        (HEADING, "Häuser"),
        (PARAGRAPH, "Ein Satz."),
        (TABLE, "Ort | Satz\nOrt: Kiel Küste <3 | Satz: 3"),
    ]


def test_markdown_yields_what_the_rendered_page_shows(pool: ParserPool) -> None:
    found = pool.parse(
        "---\ndraft: true\n---\n# Übersicht\n\nEin **fetter** [Link](http://x.invalid).\n\n- Punkt\n".encode(), "a.md"
    )
    assert outline(found) == [(HEADING, "Übersicht"), (PARAGRAPH, "Ein fetter Link."), (LIST_ITEM, "Punkt")]


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
def test_csv_rows_carry_their_column_names_whatever_the_delimiter(pool: ParserPool, delimiter: str) -> None:
    rows = (("Name", "Durchwahl", "Ort"), ("Müller", "145", "Kiel"), ("Jessen", "", "Århus"))
    data = "\n".join(delimiter.join(row) for row in rows).encode("cp1252")
    assert text_of(pool.parse(data, "a.csv")) == (
        "Name | Durchwahl | Ort\nName: Müller | Durchwahl: 145 | Ort: Kiel\nName: Jessen | Ort: Århus"
    )


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "cp1251", "shift_jis"]
)
def test_text_is_read_in_any_encoding(pool: ParserPool, encoding: str) -> None:
    texts = {
        "cp1251": "Настоящий договор вступает в силу с момента подписания обеими сторонами. " * 3,
        "shift_jis": "この契約は両当事者が署名した日から効力を生じます。倉庫の営業時間は次のとおりです。" * 3,
    }
    text = texts.get(encoding, "Größe, Straße und „Öl“ kosten 5 €.")
    if encoding in {"cp1251", "shift_jis"}:
        assert text_of(pool.parse(text.encode(encoding), "a.txt")) == text.strip()
    else:
        assert text_of(pool.parse(text.encode(encoding), "a.txt")) == text


# What decides the kind -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.txt", "a.pdf", "a", "../../etc/passwd", "a.docx.exe", "\x00\u202efdp.docx"])
def test_in_12_the_content_decides_the_kind_of_a_binary_file_and_not_its_name(pool: ParserPool, name: str) -> None:
    assert pool.parse(word(), name).title == "Reisekosten"
    assert pool.parse(two_columns(), name).media_type == "application/pdf"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.md", "text/markdown"),
        ("a.csv", "text/csv"),
        ("a.txt", "text/plain"),
        ("a.html", "text/html"),
        ("a.unknown", "text/plain"),
    ],
)
def test_the_name_decides_between_kinds_of_text(pool: ParserPool, name: str, media_type: str) -> None:
    assert pool.parse(b"# one, two\n\nthree", name).media_type == media_type


def test_in_12_a_web_page_under_the_name_of_a_pdf_is_read_as_a_web_page(pool: ParserPool) -> None:
    assert pool.parse(b"<html><body><p>Hallo</p></body></html>", "a.pdf").media_type == "text/html"


# What is refused -------------------------------------------------------------------------------------------------------


def changed(data: bytes, member: str, content: bytes) -> bytes:
    """An Office package with one member replaced."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, content if name == member else old.read(name))
    return buffer.getvalue()


def declared_size(data: bytes, size: int) -> bytes:
    """The package with the unpacked size of its first member changed in the directory."""
    at = data.index(b"PK\x01\x02") + 24
    return data[:at] + struct.pack("<I", size) + data[at + 4 :]


def flagged_as_encrypted(data: bytes) -> bytes:
    at = data.index(b"PK\x01\x02") + 8
    return data[:at] + struct.pack("<H", 1) + data[at + 2 :]


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def locked_pdf() -> bytes:
    return pdf((60, 100, 11, "Geheim"), encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="pass", owner_pw="owner")


def locked_office() -> bytes:
    return compound({"EncryptedPackage": b"x"})


def with_entity(encoding: str) -> bytes:
    """A Word file that is sound but for an entity declared and used in its text."""
    with zipfile.ZipFile(io.BytesIO(word())) as package:
        _, _, body = package.read("word/document.xml").decode().partition("?>")
    head = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE w [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    return changed(word(), "word/document.xml", (head + body.replace("Für alle", "&a;")).encode(encoding))


REFUSED: dict[str, tuple[Callable[[], bytes], str, RefusalReason]] = {
    "a PDF with a password": (locked_pdf, "a.pdf", RefusalReason.ENCRYPTED),
    "an Office file with a password": (locked_office, "a.docx", RefusalReason.ENCRYPTED),
    "an encrypted zip": (lambda: flagged_as_encrypted(word()), "a.docx", RefusalReason.ENCRYPTED),
    "a truncated Word file": (lambda: word()[:9_000], "a.docx", RefusalReason.DAMAGED),
    "a Word file without its document": (
        lambda: changed(word(), "word/document.xml", b""),
        "a.docx",
        RefusalReason.DAMAGED,
    ),
    "a sheet that is no XML": (lambda: changed(workbook(), "xl/workbook.xml", b"<"), "a.xlsx", RefusalReason.DAMAGED),
    "a deck that is no XML": (lambda: changed(slides(), "ppt/presentation.xml", b"<"), "a.pptx", RefusalReason.DAMAGED),
    "a PDF cut off after its head": (lambda: b"%PDF-1.7\n%%EOF", "a.pdf", RefusalReason.DAMAGED),
    "IN-07 entities": (lambda: with_entity("utf-8"), "a.docx", RefusalReason.DAMAGED),
    "IN-07 entities in UTF-16": (lambda: with_entity("utf-16"), "a.docx", RefusalReason.DAMAGED),
    "IN-04 a bomb by its declared size": (lambda: declared_size(word(), 1 << 31), "a.docx", RefusalReason.TOO_LARGE),
    "IN-04 ten thousand members": (
        lambda: zipped(**{"[Content_Types].xml": b"", **{f"word/{i}": b"" for i in range(10_001)}}),
        "a.docx",
        RefusalReason.TOO_LARGE,
    ),
    "a scan": (lambda: pdf(pages=2), "a.pdf", RefusalReason.NO_TEXT),
    "an empty file": (lambda: b"", "a.txt", RefusalReason.NO_TEXT),
    "blanks": (lambda: b" \n\t ", "a.txt", RefusalReason.NO_TEXT),
    "an empty Word file": (lambda: saved(docx.Document()), "a.docx", RefusalReason.NO_TEXT),
    "an empty workbook": (lambda: saved(openpyxl.Workbook()), "a.xlsx", RefusalReason.NO_TEXT),
    "an empty archive": (zipped, "a.zip", RefusalReason.NO_TEXT),
    "a compound file without anything": (
        lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2_000),
        "a.doc",
        RefusalReason.DAMAGED,
    ),
    "IN-12 a program named Word": (lambda: b"MZ\x90\x00" + bytes(99), "a.docx", RefusalReason.UNSUPPORTED),
    "noise": (lambda: bytes(range(256)) * 9, "a.txt", RefusalReason.UNSUPPORTED),
}


@pytest.mark.parametrize("case", REFUSED)
def test_in_04_in_07_in_12_what_cannot_be_read_is_refused_for_its_reason(pool: ParserPool, case: str) -> None:
    make, name, reason = REFUSED[case]
    with pytest.raises(DocumentRefused) as refusal:
        pool.parse(make(), name)
    assert refusal.value.reason is reason, refusal.value.detail


def test_in_03_a_member_that_climbs_out_of_the_package_is_ignored(pool: ParserPool) -> None:
    buffer = io.BytesIO(word())
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("../../../../slipped", "gotcha")
    assert pool.parse(buffer.getvalue(), "a.docx").title == "Reisekosten"


# Whatever goes in ------------------------------------------------------------------------------------------------------

STARTS = st.sampled_from(
    [
        b"",
        b"%PDF-1.7\n",
        b"PK\x03\x04",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        b"<html>",
        b"From: a\nSubject: b\n\n",
        b"\xff\xfe",
    ]
)
NAMES = st.sampled_from(
    ["a.pdf", "a.docx", "a.xlsx", "a.html", "a.md", "a.csv", "a.eml", "a.txt", "a.msg", "", "ä\x00\ud800"]
)
SAMPLES = {"word": word(), "slides": slides(), "workbook": workbook(), "pdf": two_columns(), "mail": mail()}


def assert_read_or_refused(pool: ParserPool, data: bytes, name: str) -> None:
    """Text or a refusal of the document itself; not a crash of the child, and never another exception."""
    try:
        found = pool.parse(data, name)
    except DocumentRefused as refusal:
        if refusal.reason is RefusalReason.PARSER_FAILED:
            raise AssertionError(refusal.detail) from refusal
    else:
        assert found.elements
        assert all(isinstance(element, Element) and element.text.strip() for element in found.elements)


@settings(max_examples=150)
@given(start=STARTS, rest=st.binary(max_size=500), name=NAMES)
def test_any_bytes_are_text_or_a_refusal(pool: ParserPool, start: bytes, rest: bytes, name: str) -> None:
    assert_read_or_refused(pool, start + rest, name)


@settings(max_examples=100)
@given(sample=st.sampled_from(sorted(SAMPLES)), where=st.floats(0, 1), noise=st.binary(min_size=1, max_size=40))
def test_a_real_file_with_damage_anywhere_is_text_or_a_refusal(
    pool: ParserPool, sample: str, where: float, noise: bytes
) -> None:
    data = SAMPLES[sample]
    at = int(where * len(data))
    assert_read_or_refused(pool, data[:at] + noise + data[at + len(noise) :], f"a.{sample}")
    assert_read_or_refused(pool, data[:at], f"a.{sample}")
