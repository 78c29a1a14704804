"""What a strict reader found lost, invented or put into the wrong mouth: each a case that failed once."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import re
from collections.abc import Callable
from email.message import EmailMessage

import openpyxl  # type: ignore[import-untyped]
import pptx
import pymupdf
import pytest
from openpyxl.chart import BarChart, Reference  # type: ignore[import-untyped]
from openpyxl.comments import Comment  # type: ignore[import-untyped]
from openpyxl.workbook.defined_name import DefinedName  # type: ignore[import-untyped]
from pptx.util import Emu

from ingest import reading
from ingest.extraction import ElementKind, Extraction
from ingest.parsers import attachments, wire
from ingest.parsers.detection import detect
from ingest.parsers.encoding import decode
from ingest.parsers.kinds import FileKind
from ingest.parsers.registry import parse
from ingest.parsers.structure import joined
from rag.errors import DocumentRefused, RefusalReason
from tests.contract import parser_files as files


def texts_of(found: Extraction) -> list[str]:
    return [element.text for element in found.elements]


def pdf(**attached: bytes) -> bytes:
    document = pymupdf.open()
    document.new_page().insert_text((60, 100), "Hallo")
    for name, content in attached.items():
        document.embfile_add(f"{name}.txt", content)
    data: bytes = document.tobytes(deflate=True)
    return data


# What decides the kind -----------------------------------------------------------------------------------------------

PDF = pdf()
KINDS = {
    "a TAR whose first member is a PDF": (files.tarred(("a.pdf", PDF), ("b.txt", b"Zwei")), FileKind.TAR),
    "a ZIP that stores a PDF": (files.zipped({"a.pdf": PDF, "b.txt": b"Zwei"}, stored_first=True), FileKind.ZIP),
    "a text about PDF": (b"Jede Datei beginnt mit %PDF-1.7, gefolgt von Bytes.", FileKind.TEXT),
    "a text that shows a PDF": (b"So:\n\n%PDF-1.4\n1 0 obj\n", FileKind.TEXT),
    "a PDF behind blank lines": (b"\r\n\n" + PDF, FileKind.PDF),
    "a PDF behind a byte-order mark": (b"\xef\xbb\xbf" + PDF, FileKind.PDF),
    "a PDF behind a printer's commands": (b"\x1b%-12345X@PJL ENTER LANGUAGE=PDF\r\n" + PDF, FileKind.PDF),
    "a PDF behind the head of an answer": (b"HTTP/1.1 200 OK\r\nServer: a\r\n\r\n" + PDF, FileKind.PDF),
    "a PDF behind garbage": (bytes(range(128, 255)) + b"\0\1\2" + PDF, FileKind.PDF),
}


@pytest.mark.parametrize("case", KINDS)
def test_in_12_a_pdf_inside_another_file_does_not_decide_its_kind(case: str) -> None:
    data, kind = KINDS[case]
    assert detect(data, "file.bin") is kind


def test_every_member_behind_a_pdf_is_read() -> None:
    archive = files.zipped({"a.pdf": PDF, "b.txt": b"Zwei"}, stored_first=True)
    assert [each.name for each in parse(archive, "a.zip").attachments] == ["a.pdf", "b.txt"]


# Whose words a mail holds ----------------------------------------------------------------------------------------------

BERT = "Bert <b@a.example>"
ANNA = "Am 3. Mai 2024 um 10:00 schrieb Anna:"
KIM = "On Sat, 1 Mar 2025 Kim wrote:"
HISTORIES: dict[str, tuple[str, list[str]]] = {
    "an answer below a quotation": (
        f"Hallo,\n\n{ANNA}\n> Was kostet es?\n\nNeunhundert.\nGruß Bert",
        ["Hallo,", f"# {ANNA}", "Was kostet es?", f"# {BERT}", "Neunhundert.\nGruß Bert"],
    ),
    "answers between quotations": (
        f"{ANNA}\n> Was?\nDas.\n> Wann?\nBald.",
        [f"# {ANNA}", "Was?", f"# {BERT}", "Das.", f"# {ANNA}", "Wann?", f"# {BERT}", "Bald."],
    ),
    "a quotation in a quotation": (
        f"Ja.\n\n{ANNA}\n> {KIM}\n>> Ist es da?\n> Nein.\n\nDoch.",
        ["Ja.", f"# {ANNA}", f"# {KIM}", "Ist es da?", f"# {ANNA}", "Nein.", f"# {BERT}", "Doch."],
    ),
    "a quotation that nobody introduces": (
        "> Was kostet es?\n\nNeunhundert.",
        ["# Quoted", "Was kostet es?", f"# {BERT}", "Neunhundert."],
    ),
    "an earlier mail without marks that quotes itself": (
        f"Siehe unten.\n\n-----Original Message-----\n\nKims Text.\n\n{ANNA}\n> Annas Text.\n\nKims Antwort.",
        ["Siehe unten.", "# Original Message", "Kims Text.", f"# {ANNA}", "Annas Text.", "# Original Message", "Kims Antwort."],
    ),
}  # fmt: skip


def said(body: str, subtype: str = "plain") -> list[str]:
    message = EmailMessage()
    message["Subject"], message["From"] = "Preis", BERT
    message.set_content(body, subtype=subtype)
    found = parse(message.as_bytes(), "a.eml").elements[2:]
    return [f"# {each.text}" if each.kind is ElementKind.HEADING else each.text for each in found]


@pytest.mark.parametrize("case", HISTORIES)
def test_what_a_mail_quotes_is_put_into_nobody_elses_mouth(case: str) -> None:
    body, expected = HISTORIES[case]
    assert said(body) == expected


def test_an_answer_below_a_quotation_in_a_page_is_the_senders() -> None:
    page = f"<div>Hallo</div><div>{ANNA}</div><blockquote type=cite><div>Was kostet es?</div></blockquote><p>Neunhundert.</p>"
    assert said(page, "html") == ["Hallo", f"# {ANNA}", "Was kostet es?", f"# {BERT}", "Neunhundert."]


# What is left out of a file of files -----------------------------------------------------------------------------------

MANY = 1_002
FIVE = {f"{i}.txt": f"Text {i}".encode() * 50 for i in range(5)}


def zip_with_many() -> bytes:
    return files.zipped({f"{i}.txt": b"x" for i in range(MANY)})


def tar_with_many() -> bytes:
    return files.tarred(*((f"{i}.txt", b"x") for i in range(MANY)))


def mail_with_many() -> bytes:
    message = EmailMessage()
    message["Subject"] = "Viele"
    message.set_content("Der Text.")
    for i in range(MANY):
        message.add_attachment(b"x", maintype="application", subtype="octet-stream", filename=f"{i}.txt")
    return message.as_bytes()


def with_bytes(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def zip_with_damage() -> bytes:
    data = files.zipped(FIVE)
    return with_bytes(data, data.index(b"2.txt") + 7, b"\xff\xff\xff\xff")


def zip_with_lock(*locked: int) -> bytes:
    data, at = files.zipped(FIVE), 0
    for i in range(5):
        at = data.index(b"PK\x01\x02", at + 1)
        data = with_bytes(data, at + 8, b"\x01") if i in locked else data
    return data


def tar_with_damage() -> bytes:
    data = files.tarred(*FIVE.items())
    return with_bytes(data, data.index(b"2.txt"), b"\xff" * 200)


def pdf_with_damage() -> bytes:
    data = pdf(a=b"Inhalt " * 200, b=b"Anderes " * 200)
    return with_bytes(data, data.index(b"stream", data.index(b"/Type/EmbeddedFile/")) + 8, b"\xff" * 12)


THOUSAND = [f"{i}.txt" for i in range(1_000)]
TOO_MANY = (
    "2 files inside left out: 1000.txt (more than 1,000 files are in one), 1001.txt (more than 1,000 files are in one)"
)
PARTLY: dict[str, tuple[Callable[[], bytes], str, list[str], str]] = {
    "too many members of a ZIP": (zip_with_many, "a.zip", THOUSAND, TOO_MANY),
    "too many members of a TAR": (tar_with_many, "a.tar", THOUSAND, TOO_MANY),
    "too many files attached to a mail": (mail_with_many, "a.eml", THOUSAND, TOO_MANY),
    "too many files in a PDF": (
        lambda: pdf(**{f"{i:04}": b"x" for i in range(1_001)}), "a.pdf", [f"{i:04}.txt" for i in range(1_000)],
        "1 file inside left out: 1000.txt (more than 1,000 files are in one)",
    ),
    "a damaged member": (zip_with_damage, "a.zip", ["0.txt", "1.txt", "3.txt", "4.txt"], "1 file inside left out: 2.txt (damaged)"),
    "a TAR damaged in the middle": (tar_with_damage, "a.tar", ["0.txt", "1.txt"], "1 file inside left out: what follows 1.txt (damaged)"),
    "a TAR cut off": (
        lambda: files.tarred(*FIVE.items())[:2_300], "a.tar", ["0.txt", "1.txt"],
        "1 file inside left out: what follows 1.txt (damaged)",
    ),
    "a damaged file in a PDF": (pdf_with_damage, "a.pdf", ["b.txt"], "1 file inside left out: a.txt (damaged)"),
}  # fmt: skip


@pytest.mark.parametrize("case", PARTLY)
def test_in_04_what_cannot_be_read_inside_a_file_costs_only_itself_and_is_named(case: str) -> None:
    make, name, kept, notice = PARTLY[case]
    found = parse(make(), name)
    assert [each.name for each in found.attachments] == kept
    assert found.notices == (notice,)
    if not name.endswith(".pdf"):
        assert "(left out: " in texts_of(found)[-1]


@pytest.mark.parametrize("locked", [(2,), (0, 1, 2, 3, 4)])
def test_an_archive_with_a_locked_member_is_refused_as_locked(locked: tuple[int, ...]) -> None:
    with pytest.raises(DocumentRefused) as refusal:
        parse(zip_with_lock(*locked), "a.zip")
    assert refusal.value.reason is RefusalReason.ENCRYPTED


def test_as_many_files_cross_to_the_parent_as_a_parser_hands_out() -> None:
    assert wire.MAX_ATTACHMENTS == attachments.MAX_ATTACHMENTS == reading.MAX_INSIDE


# Names of columns --------------------------------------------------------------------------------------------------------

HEADS: dict[str, tuple[str, str]] = {
    "years over sums": ("Kennzahl;2023;2024\nUmsatz;10;12\nKosten;5;6", "Kennzahl: Umsatz | 2023: 10 | 2024: 12"),
    "years over sums that look like years": ("Kennzahl;2023;2024\nUmsatz;1890;1950", "Kennzahl: Umsatz | 2023: 1890 | 2024: 1950"),
    "a corner without a name": (";2023;2024\nUmsatz;10;12", "Umsatz | 2023: 10 | 2024: 12"),
    "one year": ("Kennzahl;2023\nUmsatz;10", "Kennzahl: Umsatz | 2023: 10"),
    "a delimiter at the end of each line": ("Kennzahl;Soll;Ist;\nUmsatz;10;12;", "Kennzahl: Umsatz | Soll: 10 | Ist: 12"),
    "years that are values": ("Auto;2019;rot\nRad;2020;blau", "Auto | 2019 | rot"),
    "from and to": ("Miete;2019;2023\nPacht;2020;2024", "Miete | 2019 | 2023"),
    "sums without names": ("Umsatz;10;12\nKosten;5;6", "Umsatz | 10 | 12"),
}  # fmt: skip


@pytest.mark.parametrize("case", HEADS)
def test_years_name_the_columns_of_what_are_no_years(case: str) -> None:
    content, line = HEADS[case]
    (text,) = texts_of(parse(content.encode(), "a.csv"))
    assert line in text.split("\n")


def test_a_second_table_on_a_sheet_keeps_its_own_years() -> None:
    book = openpyxl.Workbook()
    for row in (
        ("Ort", "A", "B"),
        ("Ulm", 1, 2),
        (),
        ("Kennzahl", 2023, 2024),
        ("Umsatz", 10, 12),
        (),
        ("Kosten", 5, 6),
    ):
        book.active.append(row)
    assert texts_of(parse(files.saved(book), "a.xlsx"))[2:] == [
        "Kennzahl | 2023 | 2024\nKennzahl: Umsatz | 2023: 10 | 2024: 12",
        "Kennzahl | 2023 | 2024\nKennzahl: Kosten | 2023: 5 | 2024: 6",
    ]


# Workbooks ---------------------------------------------------------------------------------------------------------------


def unreckoned() -> openpyxl.Workbook:
    """As programs write workbooks that do not work out their formulas."""
    book = openpyxl.Workbook()
    for row in (("Artikel", "Preis", "Summe"), ("Blei", 2, "=B2*3"), ("Zinn", 4, '=IF(B3<5,"ja","")')):
        book.active.append(row)
    return book


def test_formulas_without_a_stored_value_are_shown_and_the_operator_is_told() -> None:
    found = parse(files.saved(unreckoned()), "a.xlsx")
    assert texts_of(found)[1].split("\n")[1:] == [
        "Artikel: Blei | Preis: 2 | Summe: =B2*3",
        'Artikel: Zinn | Preis: 4 | Summe: =IF(B3<5,"ja","")',
    ]
    assert found.notices == ("2 formulas without a stored value are shown as formulas",)


@pytest.mark.parametrize(("attributes", "value"), [(b"", b"6"), (b' t="str"', b"")])
def test_formulas_with_a_stored_value_show_it_alone(attributes: bytes, value: bytes) -> None:
    sheet = files.member_of(files.saved(unreckoned()), "xl/worksheets/sheet1.xml")
    sheet = re.sub(
        rb'(<c r="C\d")[^>]*>(<f>[^<]*</f>)<v\s?(?:/>|></v>)', rb"\1%b>\2<v>%b</v>" % (attributes, value), sheet
    )
    found = parse(files.replaced(files.saved(unreckoned()), "xl/worksheets/sheet1.xml", sheet), "a.xlsx")
    assert found.notices == ()
    assert texts_of(found)[1].split("\n")[1] == "Artikel: Blei | Preis: 2" + (" | Summe: 6" if value else "")


def test_names_of_a_single_sheet_are_read_as_those_of_the_workbook() -> None:
    book = unreckoned()
    book.defined_names["Global"] = DefinedName("Global", attr_text="Sheet!$B$3")
    book.active.defined_names["Lokal"] = DefinedName("Lokal", attr_text="Sheet!$B$2")
    assert texts_of(parse(files.saved(book), "a.xlsx"))[-1] == "Named ranges\nGlobal: 4 (Sheet!B3)\nLokal: 2 (Sheet!B2)"


# Sheets as they are shown ------------------------------------------------------------------------------------------------


def workbook_with_a_hidden_sheet() -> bytes:
    book = unreckoned()
    hidden = book.create_sheet("Gehälter")
    hidden["A1"] = "streng vertraulich"
    hidden.sheet_state = "veryHidden"
    book.defined_names["Summe"] = DefinedName("Summe", attr_text="'Gehälter'!$A$1")
    return files.saved(book)


def sheets_with_a_hidden_one() -> bytes:
    style = (
        '<office:automatic-styles xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0"><style:style style:name="ta2" style:family="table">'
        '<style:table-properties table:display="false"/></style:style></office:automatic-styles>'
    )
    cell = "<table:table-row><table:table-cell><text:p>{}</text:p></table:table-cell></table:table-row>"
    shown = f'<table:table table:name="Lager" table:style-name="ta1">{cell.format("Mutter")}</table:table>'
    hidden = (
        f'<table:table table:name="Gehälter" table:style-name="ta2">{cell.format("streng vertraulich")}</table:table>'
    )
    body = f"<office:spreadsheet>{shown}{hidden}</office:spreadsheet>"
    content = files.member_of(files.opendocument("spreadsheet", body), "content.xml").decode()
    return files.replaced(
        files.opendocument("spreadsheet", body),
        "content.xml",
        content.replace("<office:body>", f"{style}<office:body>").encode(),
    )


@pytest.mark.parametrize(
    ("data", "name"), [(workbook_with_a_hidden_sheet(), "a.xlsx"), (sheets_with_a_hidden_one(), "a.ods")]
)
def test_sheets_that_their_author_has_hidden_are_left_out_and_the_operator_is_told(data: bytes, name: str) -> None:
    found = parse(data, name)
    assert not any("Gehälter" in text or "vertraulich" in text for text in texts_of(found))
    assert "hidden sheets are left out: 1" in found.notices


def test_a_chart_stands_where_it_stands_on_the_sheet() -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    for row, cells in (
        (1, ("Jahr", "Enten")),
        (2, (2024, 3)),
        (3, (2025, 4)),
        (40, ("Ort", "Zahl")),
        (41, ("Kiel", 9)),
    ):
        for column, value in enumerate(cells, 1):
            sheet.cell(row, column, value)
    chart = BarChart()
    chart.title = "Enten im Jahr"
    chart.add_data(Reference(sheet, min_col=2, min_row=2, max_row=3))
    sheet.add_chart(chart, "A10")
    texts = texts_of(parse(files.saved(book), "a.xlsx"))
    assert [text.split("\n")[0] for text in texts[1:]] == ["Jahr | Enten", "Enten im Jahr", "Ort | Zahl"]


def test_who_replies_to_a_comment_on_a_cell_is_named() -> None:
    book = unreckoned()
    book.active["B2"].comment = Comment(
        "[Threaded comment]\n\nOld.\n\nComment:\n    Zu wenig\nReply:\n    Nein", "tc={1}"
    )
    told = {
        "xl/persons/person.xml": b'<personList><person displayName="Anna (A)" id="{a}"/><person displayName="Bo" id="{b}"/></personList>',
        "xl/threadedComments/threadedComment1.xml": (
            b'<ThreadedComments><threadedComment ref="B2" personId="{a}" id="{1}"><text>Zu wenig</text></threadedComment>'
            b'<threadedComment ref="B2" personId="{b}" id="{2}" parentId="{1}"><text>Nein</text></threadedComment></ThreadedComments>'
        ),
    }
    data = files.saved(book)
    assert texts_of(parse(data, "a.xlsx"))[-1] == "Comment on B2: Zu wenig\nReply:\n    Nein"
    for name, content in told.items():
        data = files.replaced(data, name, content)
    assert texts_of(parse(data, "a.xlsx"))[-2:] == ["Comment on B2 (Anna (A)): Zu wenig", "Reply (Bo): Nein"]


# Slides as they are looked at --------------------------------------------------------------------------------------------

BOXES = {
    "a row of boxes is not set with a ruler": ([(3_000, 1_010, "B"), (1_000, 1_000, "A"), (5_000, 990, "C")], "A B C"),
    "what begins further down comes later, though it stands on the left": ([(1_000, 1_500, "B"), (5_000, 1_000, "A")], "A B"),
    "lines below one another": ([(2_000, 2_000, "B"), (3_000, 900, "A"), (1_000, 3_100, "C")], "A B C"),
}  # fmt: skip


@pytest.mark.parametrize("case", BOXES)
def test_boxes_on_a_slide_are_read_in_rows(case: str) -> None:
    boxes, expected = BOXES[case]
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    for left, top, text in boxes:
        slide.shapes.add_textbox(Emu(left), Emu(top), Emu(1_500), Emu(1_000)).text_frame.text = text
    assert texts_of(parse(files.saved(deck), "a.pptx")) == expected.split()


# Encodings ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "encoding"), [("Lager: 営業時間は次のとおり", "iso2022_jp"), ("창고 영업시간은 다음과 같다", "iso2022_kr")]
)
def test_text_in_seven_bits_that_announces_its_letters_is_read_as_they_are(text: str, encoding: str) -> None:
    assert texts_of(parse(text.encode(encoding), "a.txt")) == [text]


def test_a_log_with_colours_of_a_terminal_stays_what_it_is() -> None:
    assert decode(b"\x1b[31mrot\x1b(B\x1b[m") == "\x1b[31mrot\x1b(B\x1b[m"


# Notes -------------------------------------------------------------------------------------------------------------------


def test_footnotes_of_word_are_numbered_as_they_are_printed_and_not_as_they_are_kept() -> None:
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    notes = "".join(f'<w:footnote w:id="{i}"><w:p><w:r><w:t>Note {i}</w:t></w:r></w:p></w:footnote>' for i in (2, 5, 9))
    marks = ('w:id="9"', 'w:id="5" w:customMarkFollows="1"', 'w:id="2"')
    body = "".join(f"<w:p><w:r><w:t>Satz</w:t></w:r><w:r><w:footnoteReference {each}/></w:r></w:p>" for each in marks)
    data = files.replaced(
        files.word_with_footnote(), "word/footnotes.xml", f"<w:footnotes {space}>{notes}</w:footnotes>".encode()
    )
    data = files.replaced(
        data, "word/document.xml", f"<w:document {space}><w:body>{body}</w:body></w:document>".encode()
    )
    assert texts_of(parse(data, "a.docx"))[1::2] == ["Footnote 1: Note 9", "Footnote: Note 5", "Footnote 2: Note 2"]


# Divided words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (("Gefahr-", "gut"), "Gefahrgut"),
        (("EU-", "weit"), "EU-weit"),
        (("GmbH-", "rechtlich"), "GmbH-rechtlich"),
        (("Kfz-", "bezogen"), "Kfz-bezogen"),
        (("an e-", "mail"), "an e-mail"),
        (("a 24-", "hour shift"), "a 24-hour shift"),
        (("von 2019-", "2023"), "von 2019-2023"),
        (("von 3- und", "4-fach"), "von 3- und 4-fach"),
        (("3-", "oder 4-fach"), "3- oder 4-fach"),
        (("a well-", "known one"), "a wellknown one"),
        (("Be\u00ad", "und Entladung"), "Be\u00ad und Entladung"),
        (("Стра-", "ница"), "Страница"),
    ],
)
def test_a_hyphen_at_the_end_of_a_line_stays_where_it_belongs_to_the_word(lines: tuple[str, str], text: str) -> None:
    assert joined(lines) == text


def printed(*pages: tuple[str, ...]) -> bytes:
    document = pymupdf.open()
    for lines in pages:
        page = document.new_page()
        for i, line in enumerate(lines):
            page.insert_text((60, 100 + 14 * i), line)
    data: bytes = document.tobytes()
    return data


def test_a_compound_keeps_its_hyphen_where_the_document_writes_it_within_a_line() -> None:
    found = parse(printed(("A well-known rule and a well-", "known word that is un-", "divided otherwise.")), "a.pdf")
    assert texts_of(found) == ["A well-known rule and a well-known word that is undivided otherwise."]


def test_a_word_divided_between_two_pages_stands_whole_where_it_begins() -> None:
    found = parse(printed(("Es gelten die Gefahr-",), ("gutvorschriften für alle.",)), "a.pdf")
    assert [(each.text, each.page) for each in found.elements] == [
        ("Es gelten die Gefahrgutvorschriften", 1),
        ("für alle.", 2),
    ]
