"""What every PDF reader finds: text with its place, tables over pages, forms, comments, files inside, or a refusal."""

# mypy: disable-error-code="no-untyped-call,attr-defined"

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module

import pymupdf
import pytest

from ingest.extraction import ElementKind, Extraction, extracted_text, finished
from ingest.parsers.base import Parser
from ingest.parsers.options import PDF_READERS, ReadingOptions
from rag.errors import DocumentRefused, RefusalReason

WIDTH, HEIGHT = 595, 842


@pytest.fixture(params=sorted(PDF_READERS))
def reader(request: pytest.FixtureRequest) -> Parser:
    parser: Parser = import_module(PDF_READERS[request.param]).PdfParser(ReadingOptions(ocr="off"))
    return parser


def read(reader: Parser, data: bytes) -> Extraction:
    return finished(reader.parse(data, "a.pdf"))


def text_of(found: Extraction) -> str:
    return extracted_text(found)[0]


def made(*draw: Callable[[pymupdf.Page], object], rotation: int = 0, **how: object) -> bytes:
    """A PDF with one page for each function that draws on one."""
    document = pymupdf.open()
    for each in draw:
        page = document.new_page(width=WIDTH, height=HEIGHT)
        each(page)
        page.set_rotation(rotation)
    data: bytes = document.tobytes(**how)
    return data


def written(*lines: tuple[float, float, float, str]) -> Callable[[pymupdf.Page], None]:
    """Draws (x, y, size, text)."""

    def draw(page: pymupdf.Page) -> None:
        for x, y, size, text in lines:
            page.insert_text((x, y), text, fontsize=size)

    return draw


def grid(rows: tuple[tuple[str, ...], ...], top: float = 200, *, sides: bool = True) -> Callable[[pymupdf.Page], None]:
    """Draws a table with rules between all cells; without `sides` it is open left and right."""

    def draw(page: pymupdf.Page) -> None:
        right, bottom = 60 + 120 * len(rows[0]), top + 24 * len(rows)
        for at in range(len(rows) + 1):
            page.draw_line((60, top + 24 * at), (right, top + 24 * at))
        for at in range(len(rows[0]) + 1):
            if sides or 0 < at < len(rows[0]):
                page.draw_line((60 + 120 * at, top), (60 + 120 * at, bottom))
        for y, row in enumerate(rows):
            for x, text in enumerate(row):
                page.insert_text((64 + 120 * x, top + 24 * y + 16), text, fontsize=10)

    return draw


def form(page: pymupdf.Page) -> None:
    page.insert_text((60, 100), "Antrag auf Urlaub, bitte leserlich ausfüllen")
    fields = (
        ("name", "Ihr Name", "Jürgen Müller", pymupdf.PDF_WIDGET_TYPE_TEXT),
        ("tage", "", "12", pymupdf.PDF_WIDGET_TYPE_TEXT),
        ("ok", "Genehmigt", True, pymupdf.PDF_WIDGET_TYPE_CHECKBOX),
        ("leer", "Bemerkung", "", pymupdf.PDF_WIDGET_TYPE_TEXT),
    )
    for at, (name, label, value, kind) in enumerate(fields):
        widget = pymupdf.Widget()
        widget.field_name, widget.field_label, widget.field_type, widget.field_value = name, label, kind, value
        widget.rect = pymupdf.Rect(100, 150 + 40 * at, 300, 170 + 40 * at)
        page.add_widget(widget)
    page.add_text_annot((400, 200), "Bitte prüfen")
    page.add_file_annot((400, 300), b"inhalt", "zettel.txt")


def test_every_element_knows_its_page_and_its_place_on_it(reader: Parser) -> None:
    data = made(written((60, 130, 20, "Titel"), (60, 421, 11, "In der Mitte der Seite")), form)
    found = read(reader, data)
    assert all(element.page and element.box for element in found.elements)
    middle = next(element for element in found.elements if "Mitte" in element.text)
    assert middle.box is not None
    assert middle.box.left == pytest.approx(60 / WIDTH, abs=0.01)
    assert middle.box.top < 0.5 <= middle.box.bottom + 0.01


@pytest.mark.parametrize(
    ("rotation", "corner"), [(0, (0.1, 0.05)), (90, (0.95, 0.1)), (180, (0.9, 0.95)), (270, (0.05, 0.9))]
)
def test_places_are_those_on_the_page_as_it_is_displayed(
    reader: Parser, rotation: int, corner: tuple[float, float]
) -> None:
    found = read(reader, made(written((60, 50, 11, "ECKE")), rotation=rotation))
    box = found.elements[0].box
    assert box is not None
    assert box.left - 0.03 <= corner[0] <= box.right + 0.03
    assert box.top - 0.03 <= corner[1] <= box.bottom + 0.03


def test_a_table_is_read_row_by_row_where_it_stands(reader: Parser) -> None:
    rows = (("Stoff", "Klasse", "Menge"), ("Farbe", "3", "333 l"), ("Säure", "8", "20 l"))
    found = read(reader, made(grid(rows)))
    assert [(e.kind, e.text) for e in found.elements] == [
        (
            ElementKind.TABLE,
            "Stoff | Klasse | Menge\nStoff: Farbe | Klasse: 3 | Menge: 333 l\nStoff: Säure | Klasse: 8 | Menge: 20 l",
        )
    ]
    box = found.elements[0].box
    assert box is not None
    assert (box.left, box.top) == pytest.approx((60 / WIDTH, 200 / HEIGHT), abs=0.01)


def test_a_table_whose_sides_are_open_is_one_too(reader: Parser) -> None:
    rows = (("Ort", "Satz", "Ab"), ("Kiel", "28 EUR", "2025"), ("Bonn", "30 EUR", "2024"))
    found = read(reader, made(grid(rows, sides=False)))
    assert "Ort: Bonn | Satz: 30 EUR | Ab: 2024" in text_of(found)


@pytest.mark.parametrize("repeats", [False, True])
def test_a_table_that_goes_on_over_the_page_keeps_its_column_names(reader: Parser, repeats: bool) -> None:
    head = ("Nummer", "Ware", "Preis")
    first = (head, *((str(i), f"Ware {i}", f"{i},50") for i in range(1, 20)))
    second = tuple((str(i), f"Ware {i}", f"{i},50") for i in range(20, 24))
    found = read(reader, made(grid(first, 300), grid((head, *second) if repeats else second, 90)))
    assert [element.page for element in found.elements] == [1, 2]
    assert found.elements[1].text.split("\n")[0] == "Nummer: 20 | Ware: Ware 20 | Preis: 20,50"
    assert len(found.elements[1].text.split("\n")) == 4


def test_another_table_on_the_next_page_keeps_its_own_column_names(reader: Parser) -> None:
    first = (("Nummer", "Ware", "Preis"), ("1", "Besen", "3,50"))
    second = (("Ort", "Straße"), ("Kiel", "Hafenweg"), ("Bonn", "Am Hof"))
    assert "Nummer: Kiel" not in text_of(read(reader, made(grid(first, 600), grid(second, 90))))


def test_a_frame_around_text_is_no_table(reader: Parser) -> None:
    def framed(page: pymupdf.Page) -> None:
        page.draw_rect(pymupdf.Rect(50, 100, 545, 400))
        written((60, 150, 11, "Ein Kasten mit einem Hinweis, der lang genug ist."))(page)

    assert [e.kind for e in read(reader, made(framed)).elements] == [ElementKind.PARAGRAPH]


def test_forms_are_names_and_values_comments_are_text_and_files_are_attachments(reader: Parser) -> None:
    document = pymupdf.open(stream=made(form), filetype="pdf")
    document.embfile_add("rechnung", b"<rechnung/>", filename="rechnung.xml")
    found = read(reader, document.tobytes())
    texts = [element.text for element in found.elements]
    assert {"Ihr Name: Jürgen Müller", "tage: 12", "Genehmigt: ☒", "Bitte prüfen"} <= set(texts)
    assert not any("Bemerkung" in text for text in texts)
    assert [(each.name, each.data) for each in found.attachments] == [
        ("rechnung.xml", b"<rechnung/>"),
        ("zettel.txt", b"inhalt"),
    ]


def test_the_document_says_who_wrote_it_and_when(reader: Parser) -> None:
    document = pymupdf.open(stream=made(written((60, 100, 11, "Text ohne Überschrift."))), filetype="pdf")
    document.set_metadata(
        {"title": "Satzung", "author": "Erika Muster", "creationDate": "D:20240131120000+01'00'", "modDate": "D:20"}
    )
    found = read(reader, document.tobytes())
    assert (found.title, found.author) == ("Satzung", "Erika Muster")
    assert found.created_at == datetime(2024, 1, 31, 11, tzinfo=UTC)
    assert found.modified_at is None


@pytest.mark.parametrize(
    ("passwords", "reason"),
    [({"owner_pw": "o", "user_pw": ""}, None), ({"owner_pw": "o", "user_pw": "u"}, RefusalReason.ENCRYPTED)],
)
def test_only_a_password_that_reading_asks_for_keeps_a_document_out(
    reader: Parser, passwords: dict[str, str], reason: RefusalReason | None
) -> None:
    data = made(written((60, 100, 11, "Vertraulich")), encryption=pymupdf.PDF_ENCRYPT_AES_256, **passwords)
    if reason is None:
        assert text_of(read(reader, data)) == "Vertraulich"
        return
    with pytest.raises(DocumentRefused) as refusal:
        read(reader, data)
    assert refusal.value.reason is reason


@pytest.mark.parametrize("data", [b"%PDF-1.7\n%%EOF", b"%PDF-1.7" + bytes(500)])
def test_what_is_no_pdf_inside_is_damaged(reader: Parser, data: bytes) -> None:
    with pytest.raises(DocumentRefused) as refusal:
        read(reader, data)
    assert refusal.value.reason is RefusalReason.DAMAGED


def test_empty_pages_are_refused_as_empty_and_scans_as_unread(reader: Parser) -> None:
    def scan(page: pymupdf.Page) -> None:
        picture = pymupdf.Pixmap(pymupdf.csRGB, pymupdf.IRect(0, 0, 60, 80))
        picture.clear_with(200)
        page.insert_image(page.rect, pixmap=picture)

    with pytest.raises(DocumentRefused, match="its pages are empty"):
        read(reader, made(written()))
    with pytest.raises(DocumentRefused, match=r"2 pages from page 1 on .* character recognition is off"):
        read(reader, made(scan, scan))
    found = read(reader, made(written((60, 100, 11, "Ein Deckblatt mit genügend Text darauf")), scan))
    assert found.notices == ("page 2 without a text layer not read: character recognition is off",)


def test_footnotes_follow_the_text_and_captions_are_no_headings(reader: Parser) -> None:
    body = [
        (60.0, 120 + 14.0 * i, 11.0, f"Zeile {i} des Textes, der über die ganze Breite der Seite reicht")
        for i in range(8)
    ]
    lines = [*body, (60.0, 600.0, 8.0, "1 Eine Anmerkung dazu"), (60.0, 700.0, 11.0, "Der Text geht hier noch weiter.")]
    found = read(reader, made(written(*lines, (60, 300, 13, "Abbildung 3: Ablauf"))))
    kinds: dict[str, ElementKind] = {element.text: element.kind for element in found.elements}
    assert kinds["1 Eine Anmerkung dazu"] is ElementKind.OTHER
    assert found.elements[-1].text == "1 Eine Anmerkung dazu"
    assert kinds["Abbildung 3: Ablauf"] is ElementKind.PARAGRAPH


def test_a_page_can_be_drawn(reader: Parser) -> None:
    name = type(reader).__module__
    pixels = import_module(name).page_pixels(made(written((60, 100, 11, "Text")), rotation=90), 1, 421, 1_000_000)
    assert pixels.shape == (298, 421, 3) or pixels.shape == (297, 421, 3)
    assert pixels.min() < 100
    with pytest.raises(DocumentRefused):
        import_module(name).page_pixels(made(written()), 2, 100, 1_000_000)
