"""Files of every format, sound and hostile, made here."""

# mypy: disable-error-code="no-untyped-call,attr-defined"

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Callable
from email.message import EmailMessage

import docx
import openpyxl  # type: ignore[import-untyped]
import pptx
from docx.enum.text import WD_BREAK
from openpyxl.comments import Comment  # type: ignore[import-untyped]
from openpyxl.workbook.defined_name import DefinedName  # type: ignore[import-untyped]
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

SECTOR = 512
FREE, END, FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD


def saved(document: object) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def zipped(members: dict[str, bytes], *, stored_first: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for i, (name, content) in enumerate(members.items()):
            archive.writestr(name, content, zipfile.ZIP_STORED if stored_first and i == 0 else zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def replaced(data: bytes, member: str, content: bytes) -> bytes:
    """A package with one member replaced or added."""
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        members = {name: old.read(name) for name in old.namelist()}
    return zipped({**members, member: content})


def member_of(data: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        return package.read(name)


# Word ------------------------------------------------------------------------------------------------------------------


def word() -> bytes:
    document = docx.Document()
    document.core_properties.author = "Jana Lindqvist"
    document.add_heading("Dienstplan", 1)
    first = document.add_paragraph("Gilt ab März.")
    first.add_run().add_break(WD_BREAK.PAGE)
    document.add_heading("Schichten", 2)
    document.add_paragraph("Früh", style="List Bullet")
    document.add_paragraph("Spät", style="List Number")
    second = document.add_paragraph("Nachts gilt der Zuschlag.")
    document.add_comment(second.runs, text="Bitte prüfen", author="Kim")
    table = document.add_table(rows=3, cols=3)
    for row, texts in zip(table.rows, (("Ort", "2025", ""), ("", "Soll", "Ist"), ("Kiel", "5", "4")), strict=True):
        for cell, text in zip(row.cells, texts, strict=True):
            cell.text = text
    table.cell(0, 1).merge(table.cell(0, 2))
    table.cell(0, 0).merge(table.cell(1, 0))
    document.sections[0].header.paragraphs[0].text = "Nur intern"
    document.sections[0].footer.paragraphs[0].text = "Seite 1 von 2"
    return saved(document)


def word_with(body: str) -> bytes:
    """A Word file whose body is this WordprocessingML."""
    namespaces = (
        'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
        'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    )
    xml = f"<w:document {namespaces}><w:body>{body}</w:body></w:document>"
    return replaced(saved(docx.Document()), "word/document.xml", xml.encode())


def word_with_footnote() -> bytes:
    body = '<w:p><w:r><w:t>Satz</w:t></w:r><w:r><w:footnoteReference w:id="2"/></w:r></w:p>'
    notes = (
        '<w:footnotes xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
        '<w:footnote w:id="2"><w:p><w:r><w:t>Quelle: Archiv</w:t></w:r></w:p></w:footnote></w:footnotes>'
    )
    data = word_with(body)
    relations = member_of(data, "word/_rels/document.xml.rels").decode()
    relation = '<Relationship Id="rN" Type="http://x/relationships/footnotes" Target="footnotes.xml"/></Relationships>'
    data = replaced(data, "word/_rels/document.xml.rels", relations.replace("</Relationships>", relation).encode())
    return replaced(data, "word/footnotes.xml", notes.encode())


# Slides ----------------------------------------------------------------------------------------------------------------


def slides() -> bytes:
    deck = pptx.Presentation()
    deck.core_properties.title, deck.core_properties.author = "Herbsttagung", "Jana Lindqvist"
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "Umsatz"
    table = slide.shapes.add_table(3, 3, Inches(1), Inches(2), Inches(6), Inches(1)).table
    for y, row in enumerate((("Ort", "Soll", "Ist"), ("Kiel", "5", "4"), ("Summe", "9", ""))):
        for x, text in enumerate(row):
            table.cell(y, x).text = text
    table.cell(2, 1).merge(table.cell(2, 2))
    data = CategoryChartData()
    data.categories = ["2024", "2025"]
    data.add_series("Enten", (3, 4.5))
    slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, Inches(1), Inches(4), Inches(4), Inches(2), data)
    slide.notes_slide.notes_text_frame.text = "Auf den Plan zeigen."
    return saved(deck)


# Sheets ----------------------------------------------------------------------------------------------------------------


def workbook() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Preise"
    for row in (("Preise 2025",), (), ("Ort", "Preis", "Anteil"), ("Kiel", 1890, 0.19), ("Ulm", 650.5, 0.5)):
        sheet.append(row)
    sheet["C4"].number_format = sheet["C5"].number_format = "0 %"
    sheet["A4"].comment = Comment("Alter Hafen", "Kim")
    sheet["K9000"].number_format = "0.00"  # formatted only
    sheet["F3"], sheet["G3"], sheet["F4"], sheet["G4"] = "Name", "Menge", "Blei", 7
    book.defined_names["Satz"] = DefinedName("Satz", attr_text="Preise!$C$4")
    book.create_sheet("Leer")
    return saved(book)


def ods() -> bytes:
    cells = (
        '<table:table table:name="Lager"><table:table-row><table:table-cell office:value-type="string">'
        "<text:p>Teil</text:p></table:table-cell><table:table-cell><text:p>Menge</text:p></table:table-cell>"
        '<table:table-cell table:number-columns-repeated="16000"/></table:table-row>'
        "<table:table-row><table:table-cell><text:p>Mutter</text:p></table:table-cell><table:table-cell>"
        '<text:p>12</text:p></table:table-cell></table:table-row><table:table-row table:number-rows-repeated="1048000">'
        '<table:table-cell table:number-columns-repeated="16384"/></table:table-row></table:table>'
    )
    return opendocument("spreadsheet", f"<office:spreadsheet>{cells}</office:spreadsheet>")


def odt(body: str = "") -> bytes:
    body = body or (
        '<text:h text:outline-level="1">Satzung</text:h><text:p>Wir<text:s text:c="2"/>sind<text:note text:note-class="footnote">'
        "<text:note-citation>1</text:note-citation><text:note-body><text:p>Stand 2025</text:p></text:note-body>"
        "</text:note> viele.</text:p><text:list><text:list-item><text:p>Kiel</text:p></text:list-item></text:list>"
        "<text:tracked-changes><text:p>gestrichen</text:p></text:tracked-changes>"
        "<table:table><table:table-header-rows><table:table-row><table:table-cell><text:p>Ort</text:p></table:table-cell>"
        "<table:table-cell><text:p>Zahl</text:p></table:table-cell></table:table-row></table:table-header-rows>"
        "<table:table-row><table:table-cell><text:p>Ulm</text:p></table:table-cell><table:table-cell><text:p>drei</text:p>"
        "</table:table-cell></table:table-row></table:table>"
    )
    return opendocument("text", f"<office:text>{body}</office:text>")


def odp() -> bytes:
    page = (
        '<draw:page draw:name="a"><draw:frame presentation:class="title"><draw:text-box><text:p>Begrüßung</text:p></draw:text-box>'
        "</draw:frame><draw:frame><draw:text-box><text:p>Guten Tag</text:p></draw:text-box></draw:frame>"
        "<presentation:notes><draw:frame><draw:text-box><text:p>Langsam sprechen</text:p></draw:text-box></draw:frame>"
        "</presentation:notes></draw:page>"
    )
    return opendocument("presentation", f"<office:presentation>{page}</office:presentation>")


OPENDOCUMENT_NAMESPACES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for name in ("office", "text", "table", "meta", "presentation")
) + (' xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0" xmlns:dc="http://purl.org/dc/elements/1.1/"')


def opendocument(kind: str, body: str) -> bytes:
    content = f"<office:document-content {OPENDOCUMENT_NAMESPACES}><office:body>{body}</office:body></office:document-content>"
    meta = (
        f"<office:document-meta {OPENDOCUMENT_NAMESPACES}><office:meta><dc:title>Ein Titel</dc:title>"
        "<meta:initial-creator>Jana Lindqvist</meta:initial-creator>"
        "<meta:creation-date>2025-03-01T10:00:00.123456789</meta:creation-date></office:meta></office:document-meta>"
    )
    return zipped(
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}".encode(),
            "content.xml": content.encode(),
            "meta.xml": meta.encode(),
        },
        stored_first=True,
    )


# Books, mail, text -----------------------------------------------------------------------------------------------------


def epub() -> bytes:
    chapter = "<html xmlns='http://www.w3.org/1999/xhtml'><body><h1>{}</h1><p>{}</p></body></html>"
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        "<dc:title>Handbuch</dc:title><dc:creator>Jana Lindqvist</dc:creator></metadata><manifest>"
        '<item id="b" href="b.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="a" href="text/a%20a.xhtml" media-type="application/xhtml+xml"/></manifest>'
        '<spine><itemref idref="a"/><itemref idref="b"/></spine></package>'
    )
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OEBPS/x.opf"/></rootfiles></container>'
    )
    return zipped(
        {
            "mimetype": b"application/epub+zip",
            "META-INF/container.xml": container.encode(),
            "OEBPS/x.opf": package.encode(),
            "OEBPS/text/a a.xhtml": chapter.format("Anfang", "Zuerst.").encode(),
            "OEBPS/b.xhtml": chapter.format("Ende", "Zuletzt.").encode(),
        },
        stored_first=True,
    )


def rtf() -> bytes:
    return (
        rb"{\rtf1\ansi\ansicpg1252{\info{\title Merkblatt}{\author Jana Lindqvist}{\creatim\yr2025\mo3\dy1\hr10\min5}}"
        rb"{\pict\pngblip 89504e47}K\'fcche und \u8364?uro\par\par Zweiter Absatz\par "
        rb"\trowd Ort\cell Satz\cell Zahl\cell\row \trowd Kiel\cell drei\cell 4\cell\row}"
    )


def mail(*attached: EmailMessage) -> bytes:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "Beschwerde über Köln", "Jürgen <j@a.example>", "b@a.example"
    message["Date"] = "Sat, 01 Mar 2025 11:00:00 +0100"
    message.set_content("Nur Text")
    message.add_alternative("<p>Die <b>Kühlkette</b> riss.</p><script>alert(1)</script>", subtype="html")
    message.add_attachment("Messwerte: 8 °C", filename="../../werte.txt")
    message.add_attachment(b"%PDF-1.7", maintype="application", subtype="pdf", filename="plan.pdf")
    message.add_attachment(b"\x89PNG", maintype="image", subtype="png", disposition="inline", cid="<logo>")
    for each in attached:
        message.add_attachment(each)
    return message.as_bytes()


def letter(text: str, subject: str = "Angebot") -> EmailMessage:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, "a@a.example", "b@a.example"
    message.set_content(text)
    return message


def mhtml() -> bytes:
    return (
        b"From: <Saved by Blink>\nSnapshot-Content-Location: https://intranet.invalid/\nSubject: Kantine\n"
        b"Date: Sat, 1 Mar 2025 10:00:00 -0000\nMIME-Version: 1.0\n"
        b'Content-Type: multipart/related; type="text/html"; boundary="x"\n\n--x\nContent-Type: text/html; charset=utf-8\n'
        b"Content-Transfer-Encoding: quoted-printable\n\n<html><body><h1>Speiseplan</h1><p>Gr=C3=BCnkohl</p></body></html>\n"
        b"--x\nContent-Type: image/png\nContent-Location: https://intranet.invalid/a.png\n\nx\n--x--\n"
    )


def compound(streams: dict[str, bytes], *, names_of_first: int = 1) -> bytes:
    """A compound file (MS-CFB) with these streams at its top, the first of them under several names.

    Contents are padded to 4096 bytes, as shorter ones are kept elsewhere.
    """
    contents = {name: content.ljust(4096, b"\0") for name, content in streams.items()}
    sectors = [FAT]
    directory = [_entry("Root Entry", 5, 1 if contents else FREE, END, 0)]
    body = b""
    for i, (name, content) in enumerate(contents.items(), 1):
        start, count = len(sectors), -(-len(content) // SECTOR)
        sectors += [*range(start + 1, start + count), END]
        body += content.ljust(count * SECTOR, b"\0")
        for n in range(names_of_first if i == 1 else 1):
            right = len(directory) + 1 if len(directory) < len(contents) + names_of_first - 1 else FREE
            directory.append(_entry(f"{name}{n or ''}", 2, FREE, start, len(content), right))
    start, count = len(sectors), -(-len(directory) * 128 // SECTOR)
    sectors += [*range(start + 1, start + count), END]
    body += b"".join(directory).ljust(count * SECTOR, b"\0")
    fat = struct.pack("<128I", *sectors, *[FREE] * (128 - len(sectors)))
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    head += struct.pack("<HHHHH6xIIIIIIIIII", 0x3E, 3, 0xFFFE, 9, 6, 0, 1, start, 0, 4096, END, 0, END, 0, 0)
    return head + struct.pack("<108I", *[FREE] * 108) + fat + body


def _entry(name: str, kind: int, child: int, start: int, size: int, right: int = FREE) -> bytes:
    encoded = (name + "\0").encode("utf-16-le")
    head = encoded.ljust(64, b"\0") + struct.pack("<HBBIII", len(encoded), kind, 1, FREE, right, child)
    return head + bytes(36) + struct.pack("<IQ", start, size)


# Archives --------------------------------------------------------------------------------------------------------------


def tarred(*members: tuple[str, bytes], links: tuple[tuple[str, bytes], ...] = ()) -> bytes:
    """A TAR archive; `links` are names with the kind of link or device they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, kind in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    return buffer.getvalue()


def zip_with_link() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("passwords.txt")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        for name in ("../../climbs.txt", "/absolute.txt", "C:\\drive.txt", "..\\back.txt"):
            archive.writestr(name, "gotcha")
        archive.writestr("fine/good.txt", "Guter Text")
    return buffer.getvalue()


def flagged_as_encrypted(data: bytes) -> bytes:
    at = data.index(b"PK\x01\x02") + 8
    return data[:at] + struct.pack("<H", 1) + data[at + 2 :]


def declared_size(data: bytes, size: int) -> bytes:
    """The package with the unpacked size of its first member changed in the directory."""
    at = data.index(b"PK\x01\x02") + 24
    return data[:at] + struct.pack("<I", size) + data[at + 4 :]


def overlapping() -> bytes:
    """A ZIP file whose directory names the same bytes twice."""
    data = zipped({"a.txt": b"x" * 1000})
    at, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry = data[at:end]
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 2, 2, 2 * len(entry), at, 0)
    return data[:at] + entry + entry.replace(b"a.txt", b"b.txt") + tail


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def sheet_of_one_long_text() -> bytes:
    """A small file that shows one text in thousands of cells (IN-04)."""
    book = openpyxl.Workbook()
    for _ in range(3_000):
        book.active.append(["x" * 20_000])
    return saved(book)
