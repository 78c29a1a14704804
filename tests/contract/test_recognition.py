"""Characters recognised: what every engine reads, which way up pages are, what a document may cost, hostile pictures."""

# mypy: disable-error-code="no-untyped-call,attr-defined"

from __future__ import annotations

import io
import struct
import zlib
from importlib import import_module

import numpy as np
import pymupdf
import pytest
from PIL import Image

from ingest.extraction import Extraction, extracted_text, finished
from ingest.parsers.image import ImageParser, png
from ingest.parsers.layout import Rect, Sheet
from ingest.parsers.ocr import Engine, Pixels, RecognisedLine, Recognition, upright
from ingest.parsers.options import OCR_ENGINES, ReadingOptions
from ingest.parsers.pages import render
from ingest.parsers.pdf import PdfParser
from ingest.parsers.tesseract import DATA
from rag.documents import Box
from rag.errors import DocumentRefused, RefusalReason

TEXT = ("Dienstanweisung über den Brandschutz", "Größere Übungen finden im März statt.", "Die Straße bleibt geöffnet.")
HAS_TESSERACT = any((folder / "deu.traineddata").is_file() for folder in DATA)
ENGINES = [
    "rapidocr",
    pytest.param("tesseract", marks=pytest.mark.skipif(not HAS_TESSERACT, reason="apt-get install tesseract-ocr-deu")),
]


def page(turns: int = 0, lines: tuple[str, ...] = TEXT) -> Pixels:
    """A page with lines of print, turned counter-clockwise by quarters."""
    document = pymupdf.open()
    sheet = document.new_page(width=420, height=300)
    for at, line in enumerate(lines):
        sheet.insert_text((30, 80 + 30 * at), line, fontsize=14)
    drawn = sheet.get_pixmap(dpi=150)
    pixels = np.frombuffer(drawn.samples, np.uint8).reshape(drawn.height, drawn.width, 3)
    return np.ascontiguousarray(np.rot90(pixels, turns))


def scan(*pages: Pixels) -> bytes:
    document = pymupdf.open()
    for pixels in pages:
        sheet = document.new_page(width=pixels.shape[1] / 2, height=pixels.shape[0] / 2)
        sheet.insert_image(sheet.rect, stream=png(pixels))
    data: bytes = document.tobytes()
    return data


def saved(pixels: Pixels, kind: str, **how: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **how)
    return buffer.getvalue()


def text_of(found: Extraction) -> str:
    return " ".join(extracted_text(finished(found))[0].split())


# Engines --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_reads_umlauts_and_says_where_and_how_surely(name: str) -> None:
    engine: Engine = import_module(OCR_ENGINES[name]).Engine()
    found = sorted(engine.lines(page()), key=lambda line: line.box.top)
    assert [line.text for line in found] == list(TEXT)
    assert all(0.7 < line.confidence <= 1.0 for line in found)
    assert found[0].box.left == pytest.approx(30 / 420 * 875, abs=15)
    assert found[0].box.bottom < found[1].box.top + 8


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_finds_nothing_on_an_empty_page(name: str) -> None:
    engine: Engine = import_module(OCR_ENGINES[name]).Engine()
    assert engine.lines(np.full((300, 400, 3), 255, np.uint8)) == []


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_scan_is_read_whichever_way_it_lies(turns: int) -> None:
    found = finished(PdfParser().parse(scan(page(turns)), "a.pdf"))
    assert text_of(found) == " ".join(TEXT)
    assert all(element.confidence and element.confidence > 0.8 for element in found.elements)
    box = found.elements[0].box
    assert box is not None
    middle = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    assert [value > 0.5 for value in middle] == [
        [False, False],
        [False, True],
        [True, True],
        [True, False],
    ][turns]


def test_pages_with_text_are_not_recognised_and_pages_without_are() -> None:
    document = pymupdf.open(stream=scan(page()), filetype="pdf")
    document.new_page().insert_text((60, 100), "Diese Seite trägt ihren Text bei sich.")
    found = finished(PdfParser().parse(document.tobytes(), "a.pdf"))
    assert [(e.page, e.confidence is None) for e in found.elements if e.page == 2] == [(2, True)]
    assert "Brandschutz" in text_of(found)


# The way up -----------------------------------------------------------------------------------------------------------


class Reads:
    """An engine that reads a page of 100 by 200 well on its side only; counts how often it looks."""

    def __init__(self, well_after: int, vertical: bool) -> None:
        self.looks = 0
        self._well_after = well_after
        self._vertical = vertical

    def lines(self, image: Pixels) -> list[RecognisedLine]:
        self.looks += 1
        if self.looks == self._well_after:
            return [RecognisedLine("vollkommen lesbar", Rect(10, 10, 90, 20), 0.99)]
        return [RecognisedLine("uasəlnu", Rect(10, 10, 20, 90) if self._vertical else Rect(10, 10, 90, 20), 0.6)]


@pytest.mark.parametrize(
    ("well_after", "vertical", "turns"), [(1, False, 0), (2, False, 2), (2, True, 1), (3, True, 3)]
)
def test_a_page_is_looked_at_again_only_while_it_cannot_be_read(well_after: int, vertical: bool, turns: int) -> None:
    engine = Reads(well_after, vertical)
    turned, found = upright(np.zeros((200, 100, 3), np.uint8), engine)
    assert (turned, [line.text for line in found], engine.looks) == (turns, ["vollkommen lesbar"], well_after)


# What a document may cost ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [ReadingOptions(ocr_pages=1), ReadingOptions(ocr_pages=1, ocr_s=1000)])
def test_what_the_budget_leaves_out_is_said(options: ReadingOptions) -> None:
    found = PdfParser(options).parse(scan(page(), page(), page()), "a.pdf")
    assert {element.page for element in found.elements} == {1}
    assert len(found.notices) == 1
    assert found.notices[0].startswith("2 pages from page 2 on not read")


def test_a_budget_of_nothing_is_a_refusal_that_names_the_pages() -> None:
    with pytest.raises(DocumentRefused, match="2 pages from page 1 on not read") as refusal:
        PdfParser(ReadingOptions(ocr_s=0)).parse(scan(page(), page()), "a.pdf")
    assert refusal.value.reason is RefusalReason.NO_TEXT


def test_recognition_that_is_off_reads_nothing() -> None:
    recognition = Recognition(ReadingOptions(ocr="off"))
    assert not recognition.may_read(1)
    assert recognition.skipped == [1]


# Pictures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP"])
def test_a_picture_of_text_is_read_whatever_its_format(kind: str) -> None:
    found = ImageParser().parse(saved(page(), kind), "a")
    assert "Brandschutz" in text_of(found)
    assert {element.page for element in found.elements} == {1}


def test_every_page_of_a_fax_is_a_page() -> None:
    pages = [Image.fromarray(page(lines=(f"Seite Nummer {number}",))).convert("1") for number in (1, 2, 3)]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:], compression="group4")
    found = ImageParser().parse(buffer.getvalue(), "a.tif")
    assert [(element.page, element.text) for element in found.elements] == [
        (number, f"Seite Nummer {number}") for number in (1, 2, 3)
    ]


def declared_png(width: int, height: int) -> bytes:
    """A PNG that says it is so large and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def frames(number: int) -> bytes:
    pictures = [Image.new("L", (40, 40), value % 256) for value in range(number)]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:])
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "name", "reason"),
    [
        (declared_png(65_500, 65_500), "a.png", RefusalReason.TOO_LARGE),
        (declared_png(20_000, 20_000), "a.png", RefusalReason.TOO_LARGE),
        (declared_png(400, 400), "a.png", RefusalReason.DAMAGED),
        (b"\xff\xd8\xff" + bytes(99), "a.jpg", RefusalReason.DAMAGED),
        (b"II*\0" + bytes(99), "a.tif", RefusalReason.DAMAGED),
        (frames(3_000), "a.gif", RefusalReason.NO_TEXT),
        (declared_png(40, 40), "a.pdf", RefusalReason.UNSUPPORTED),
    ],
    ids=["bomb", "too large", "cut off", "jpeg", "tiff", "three thousand frames", "IN-12 a picture named PDF"],
)
def test_in_13_hostile_pictures_are_refused_for_their_reason(data: bytes, name: str, reason: RefusalReason) -> None:
    with pytest.raises(DocumentRefused) as refusal:
        ImageParser().parse(data, name)
    assert refusal.value.reason is reason, refusal.value.detail


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(page()).convert("CMYK"),
        Image.fromarray(page()).convert("L").convert("I;16"),
        Image.fromarray(page()).convert("1"),
        Image.fromarray(page()).convert("P"),
    ],
    ids=["CMYK", "16 bits", "black and white", "palette"],
)
def test_colours_of_any_kind_are_drawn(image: Image.Image) -> None:
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    with Image.open(io.BytesIO(render(buffer.getvalue(), 1, 300))) as drawn:
        assert (drawn.mode, drawn.width) == ("RGB", 300)
        light, dark = max(drawn.getdata()), min(drawn.getdata())
    assert min(light) > 200
    assert max(dark) < 120


# Images of pages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", ["pymupdf", "pdfium"])
def test_a_page_is_drawn_as_wide_as_asked_with_its_passage_highlighted(reader: str) -> None:
    document = pymupdf.open()
    document.new_page(width=400, height=200).insert_text((40, 100), "Stelle")
    marked = [Box(0.0, 0.0, 0.5, 1.0)]
    data = render(document.tobytes(), 1, 600, marked, ReadingOptions(pdf_reader=reader))
    with Image.open(io.BytesIO(data)) as drawn:
        assert (drawn.format, drawn.size) == ("PNG", (600, 300))
        assert drawn.getpixel((590, 290)) == (255, 255, 255)
        red, _, blue = drawn.getpixel((10, 290))
        assert red > blue + 50


@pytest.mark.parametrize("number", [0, 2, 10_000])
def test_a_page_that_is_not_there_is_not_drawn(number: int) -> None:
    document = pymupdf.open()
    document.new_page()
    for data in (document.tobytes(), saved(page(), "PNG")):
        with pytest.raises(DocumentRefused):
            render(data, number, 300)


def test_a_page_of_a_thousand_metres_is_drawn_within_bounds() -> None:
    document = pymupdf.open()
    document.new_page(width=10, height=14_000)
    with Image.open(io.BytesIO(render(document.tobytes(), 1, 3_000))) as drawn:
        assert drawn.width * drawn.height < 13_000_000


def test_what_has_no_pages_is_not_drawn() -> None:
    with pytest.raises(DocumentRefused, match="no pages"):
        render(b"Nur Text.", 1, 300)


def test_a_place_at_the_edge_keeps_an_extent() -> None:
    assert Sheet(1, 100, 100).share(Rect(200, -5, 300, -1)) == Box(0.999, 0.0, 1.0, 0.001)
