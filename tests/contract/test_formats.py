"""One table of cases per format: what a sound file yields, what a hostile one is refused for. Without the sandbox."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.extraction import ElementKind, Extraction, extracted_text
from ingest.parsers import archive, attachments
from ingest.parsers.detection import detect
from ingest.parsers.kinds import FileKind
from ingest.parsers.registry import PARSERS, parse
from ingest.parsers.tables import Covered, html_table_text, table_text
from rag.errors import DocumentRefused, RefusalReason
from tests.contract import parser_files as files

TITLE, HEADING, PARAGRAPH, LIST_ITEM, TABLE, OTHER = (
    ElementKind.TITLE,
    ElementKind.HEADING,
    ElementKind.PARAGRAPH,
    ElementKind.LIST_ITEM,
    ElementKind.TABLE,
    ElementKind.OTHER,
)
MARCH = datetime(2025, 3, 1, 10, 0, tzinfo=UTC)


def outline(found: Extraction) -> list[tuple[ElementKind, str]]:
    return [(element.kind, element.text) for element in found.elements]


def text_of(found: Extraction) -> str:
    return extracted_text(found)[0]


def names_of(found: Extraction) -> list[str]:
    return [each.name for each in found.attachments]


# What each format yields -------------------------------------------------------------------------------------------------

WORD = [
    (HEADING, "Dienstplan"),
    (PARAGRAPH, "Gilt ab März."),
    (HEADING, "Schichten"),
    (LIST_ITEM, "Früh"),
    (LIST_ITEM, "1. Spät"),
    (PARAGRAPH, "Nachts gilt der Zuschlag."),
]
ENVELOPE = "From: Jürgen <j@a.example>\nTo: b@a.example\nDate: Sat, 01 Mar 2025 11:00:00 +0100"
YIELDS: dict[str, tuple[Callable[[], bytes], str, list[tuple[ElementKind, str]]]] = {
    "OpenDocument text": (
        files.odt,
        "a.odt",
        [
            (HEADING, "Satzung"),
            (PARAGRAPH, "Wir  sind viele."),
            (OTHER, "Footnote 1: Stand 2025"),
            (LIST_ITEM, "Kiel"),
            (TABLE, "Ort | Zahl\nOrt: Ulm | Zahl: drei"),
        ],
    ),
    "OpenDocument sheet, filled to its limits": (files.ods, "a.ods", [(HEADING, "Lager"), (TABLE, "Teil | Menge\nTeil: Mutter | Menge: 12")]),
    "OpenDocument slides": (
        files.odp,
        "a.odp",
        [(HEADING, "Begrüßung"), (PARAGRAPH, "Guten Tag"), (OTHER, "Speaker notes: Langsam sprechen")],
    ),
    "a book in the order of reading": (
        files.epub,
        "a.epub",
        [(HEADING, "Anfang"), (PARAGRAPH, "Zuerst."), (HEADING, "Ende"), (PARAGRAPH, "Zuletzt.")],
    ),
    "Rich Text": (
        files.rtf,
        "a.rtf",
        [
            (PARAGRAPH, "Küche und €uro"),
            (PARAGRAPH, "Zweiter Absatz"),
            (TABLE, "Ort | Satz | Zahl\nOrt: Kiel | Satz: drei | Zahl: 4"),
        ],
    ),
    "a page whose value is one character": (
        lambda: b"<h2>Bestellung</h2><div>Personen</div><div>5</div>",
        "a.html",
        [(HEADING, "Bestellung"), (PARAGRAPH, "Personen"), (PARAGRAPH, "5")],
    ),
    "a web page in one file": (files.mhtml, "a.mht", [(HEADING, "Speiseplan"), (PARAGRAPH, "Grünkohl")]),
    "reStructuredText": (
        lambda: (
            b"Titel\n=====\n\nText mit ``Code``.\n\nAbschnitt\n---------\n\n- Punkt\n\n.. include:: /etc/passwd\n\n"
            b"====  ====\nOrt   Zahl\n====  ====\nUlm   drei\n====  ====\n\n.. raw:: html\n\n   <b>x</b>\n"
        ),
        "a.rst",
        [
            (HEADING, "Titel"),
            (PARAGRAPH, "Text mit Code."),
            (HEADING, "Abschnitt"),
            (LIST_ITEM, "Punkt"),
            (TABLE, "Ort | Zahl\nOrt: Ulm | Zahl: drei"),
        ],
    ),
    "JSON": (
        lambda: b'{"name": "M\xc3\xbcller", "tags": ["a", "b"], "orders": [{"id": 1, "sum": 2.5}, {"id": 2}], "x": {"y": null}}',
        "a.json",
        [(PARAGRAPH, "name: Müller\ntags: a, b"), (TABLE, "orders\nid | sum\nid: 1 | sum: 2.5\nid: 2"), ],
    ),
    "JSON Lines": (lambda: b'{"a": 1, "b": 2, "c": 3}\n{"a": 4}\n', "a.jsonl", [(TABLE, "a | b | c\na: 1 | b: 2 | c: 3\na: 4")]),
    "what is called JSON and is none": (lambda: b"{not json", "a.json", [(PARAGRAPH, "{not json")]),
    "XML records": (
        lambda: b"<list><row><id>1</id><name>Ada</name></row><row><id>2</id><name>Bob</name></row></list>",
        "a.xml",
        [(TABLE, "list\nid | name\nid: 1 | name: Ada\nid: 2 | name: Bob")],
    ),
    "XML texts": (
        lambda: b'<?xml version="1.0"?><order no="7"><to>Kiel</to><line>Ein <b>Satz</b> hier.</line></order>',
        "a",
        [(PARAGRAPH, "no: 7\nto: Kiel"), (PARAGRAPH, "line: Ein Satz hier.")],
    ),
    "XML that is not well-formed": (lambda: b"<?xml version='1.0'?><a>Text", "a.xml", [(PARAGRAPH, "<?xml version='1.0'?><a>Text")]),
    "tabs": (lambda: b"Ort\tA, B\tC\nKiel\t1\t2\n", "a.tsv", [(TABLE, "Ort | A, B | C\nOrt: Kiel | A, B: 1 | C: 2")]),
    "a delimiter that is said": (lambda: b"sep=;\nOrt;Zahl;C\nKiel;1;2\n", "a.csv", [(TABLE, "Ort | Zahl | C\nOrt: Kiel | Zahl: 1 | C: 2")]),
}  # fmt: skip


@pytest.mark.parametrize("case", YIELDS)
def test_each_format_yields_its_elements_in_order(case: str) -> None:
    make, name, expected = YIELDS[case]
    assert outline(parse(make(), name)) == expected


def test_word_yields_lists_with_their_numbers_comments_merged_heads_and_furniture_once() -> None:
    found = parse(files.word(), "a.docx")
    assert outline(found)[:6] == WORD
    assert outline(found)[6][1].endswith(": Bitte prüfen")
    assert outline(found)[7:] == [
        (TABLE, "Ort | 2025\nOrt | Soll | Ist\nOrt: Kiel | 2025 / Soll: 5 | 2025 / Ist: 4"),
        (OTHER, "Nur intern"),  # the footer holds a page number only
    ]
    assert [element.page for element in found.elements][:4] == [1, 1, 2, 2]


def test_word_yields_footnotes_behind_their_paragraph() -> None:
    assert outline(parse(files.word_with_footnote(), "a.docx")) == [
        (PARAGRAPH, "Satz"),
        (OTHER, "Footnote 1: Quelle: Archiv"),
    ]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("<w:p><w:del><w:r><w:t>weg</w:t></w:r></w:del><w:ins><w:r><w:t>neu</w:t></w:r></w:ins></w:p>", "neu"),
        ("<w:p><w:r><w:rPr><w:vanish/></w:rPr><w:t>geheim</w:t></w:r><w:r><w:t>offen</w:t></w:r></w:p>", "offen"),
        ("<w:p><w:r><w:instrText>HYPERLINK x</w:instrText></w:r><w:r><w:t>Feld</w:t></w:r></w:p>", "Feld"),
        (
            "<w:p><w:r><mc:AlternateContent><mc:Choice><w:txbxContent><w:p><w:r><w:t>Kasten</w:t></w:r></w:p></w:txbxContent>"
            "</mc:Choice><mc:Fallback><w:txbxContent><w:p><w:r><w:t>Kasten</w:t></w:r></w:p></w:txbxContent></mc:Fallback>"
            "</mc:AlternateContent></w:r><w:r><w:t>Davor</w:t></w:r></w:p>",
            "Davor\n\nKasten",
        ),
        ("<w:sdt><w:sdtContent><w:p><w:r><w:t>Formular</w:t></w:r></w:p></w:sdtContent></w:sdt>", "Formular"),
        ("<w:tbl><w:tr><w:tc><w:p><w:r><w:t>Rahmen</w:t></w:r></w:p></w:tc></w:tr></w:tbl>", "Rahmen"),
    ],
    ids=["tracked changes", "hidden text", "field codes", "text boxes", "content controls", "frames"],
)
def test_word_yields_what_a_reader_of_the_page_sees(body: str, text: str) -> None:
    assert text_of(parse(files.word_with(body), "a.docx")) == text


def test_rich_text_of_one_line_with_many_links_is_read_without_delay() -> None:
    link = rb'{\field{\*\fldinst{HYPERLINK "http://a.invalid"}}{\fldrslt{hier}}} und '
    assert text_of(parse(rb"{\rtf1 " + link * 3_000 + b"}", "a.rtf")).count("hier") == 3_000


def test_word_with_macros_is_read_without_them() -> None:
    types = files.member_of(files.word(), "[Content_Types].xml").replace(
        b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml",
        b"application/vnd.ms-word.document.macroEnabled.main+xml",
    )
    data = files.replaced(files.replaced(files.word(), "[Content_Types].xml", types), "word/vbaProject.bin", b"Shell")
    found = parse(data, "a.docm")
    assert found.title == "Dienstplan"
    assert "Shell" not in text_of(found)


def test_slides_yield_tables_charts_and_notes() -> None:
    found = parse(files.slides(), "a.pptx")
    assert outline(found) == [
        (HEADING, "Umsatz"),
        (TABLE, "Ort | Soll | Ist\nOrt: Kiel | Soll: 5 | Ist: 4\nOrt: Summe | Soll: 9 | Ist: 9"),
        (TABLE, "Enten\n2024 | Enten: 3\n2025 | Enten: 4.5"),
        (OTHER, "Speaker notes: Auf den Plan zeigen."),
    ]
    assert {element.page for element in found.elements} == {1}


def test_sheets_yield_their_used_area_side_by_side_tables_comments_and_named_ranges() -> None:
    found = parse(files.workbook(), "a.xlsx")
    assert outline(found) == [
        (HEADING, "Preise"),
        (PARAGRAPH, "Preise 2025"),
        (TABLE, "Ort | Preis | Anteil\nOrt: Kiel | Preis: 1890 | Anteil: 19 %\nOrt: Ulm | Preis: 650.5 | Anteil: 50 %"),
        (TABLE, "Name | Menge\nName: Blei | Menge: 7"),
        (OTHER, "Comment on A4 (Kim): Alter Hafen"),
        (HEADING, "Leer"),
        (OTHER, "Named ranges\nSatz: 0.19 (Preise!C4)"),
    ]


ABOUT: dict[str, tuple[Callable[[], bytes], str, str, datetime | None]] = {
    "a.docx": (files.word, "Dienstplan", "Jana Lindqvist", datetime(2013, 12, 23, 23, 15, tzinfo=UTC)),
    "a.pptx": (files.slides, "Umsatz", "Jana Lindqvist", datetime(2013, 1, 27, 9, 14, 16, tzinfo=UTC)),
    "a.odt": (files.odt, "Satzung", "Jana Lindqvist", MARCH.replace(microsecond=123456)),
    "a.ods": (files.ods, "Ein Titel", "Jana Lindqvist", MARCH.replace(microsecond=123456)),
    "a.epub": (files.epub, "Anfang", "Jana Lindqvist", None),
    "a.rtf": (files.rtf, "Merkblatt", "Jana Lindqvist", MARCH.replace(minute=5)),
    "a.eml": (files.mail, "Beschwerde über Köln", "Jürgen <j@a.example>", MARCH),
    "a.html": (
        lambda: (
            b'<html><head><meta name="author" content="Jana Lindqvist"><meta property=\'article:published_time\' '
            b"content='2025-03-01T11:00:00+01:00'></head><body><h1>Kantine</h1></body></html>"
        ),
        "Kantine",
        "Jana Lindqvist",
        MARCH,
    ),
    "a.mht": (files.mhtml, "Speiseplan", "", MARCH),
}


@pytest.mark.parametrize("name", ABOUT)
def test_title_author_and_date_come_from_the_file_in_utc(name: str) -> None:
    make, title, author, created_at = ABOUT[name]
    found = parse(make(), name)
    assert (found.title, found.author, found.created_at) == (title, author, created_at)


@pytest.mark.parametrize("year", ["0001", "1601", "2199"])
def test_dates_of_unset_clocks_are_no_dates(year: str) -> None:
    core = files.member_of(files.word(), "docProps/core.xml").replace(b"2013-12-23", f"{year}-12-23".encode())
    assert parse(files.replaced(files.word(), "docProps/core.xml", core), "a.docx").created_at is None


# Mail --------------------------------------------------------------------------------------------------------------------


def test_in_02_mail_yields_its_body_and_its_attachments_apart_whatever_their_names() -> None:
    inner = files.letter("Im Inneren", "Ein/ ../Angebot")
    found = parse(files.mail(inner), "a.eml")
    assert outline(found) == [
        (TITLE, "Beschwerde über Köln"),
        (OTHER, ENVELOPE),
        (PARAGRAPH, "Die Kühlkette riss."),
        *((LIST_ITEM, f"Attachment: {name}") for name in ("../../werte.txt", "plan.pdf", "Ein/ ../Angebot.eml")),
    ]
    assert names_of(found) == ["../../werte.txt", "plan.pdf", "Ein/ ../Angebot.eml"]
    assert text_of(parse(found.attachments[0].data, "werte.txt")) == "Messwerte: 8 °C"
    assert "Im Inneren" in text_of(parse(found.attachments[2].data, found.attachments[2].name))


@pytest.mark.parametrize(
    ("introduction", "heading"),
    [
        ("Am 1.3.2025 um 10:00 schrieb Kim <k@a.example>:\n> Ja", "Am 1.3.2025 um 10:00 schrieb Kim <k@a.example>:"),
        ("On Sat, 1 Mar 2025 Kim\nwrote:\n> Ja", "On Sat, 1 Mar 2025 Kim wrote:"),
        ("-----Original Message-----\n\nJa", "Original Message"),
        ("Von: Kim\nGesendet: Samstag\nAn: Jo\n\nJa", "Von: Kim Gesendet: Samstag An: Jo"),
    ],
)
def test_earlier_mails_lie_under_a_heading_that_introduces_them(introduction: str, heading: str) -> None:
    found = parse(files.letter(f"Gut so.\n\n{introduction}\n").as_bytes(), "a.eml")
    assert outline(found)[2:] == [(PARAGRAPH, "Gut so."), (HEADING, heading), (PARAGRAPH, "Ja")]


def test_a_plain_sentence_introduces_no_earlier_mail() -> None:
    found = parse(files.letter("Am Montag schrieb Kim mir.\n\nVon: hier nach dort.\n").as_bytes(), "a.eml")
    assert [kind for kind, _ in outline(found)[2:]] == [PARAGRAPH, PARAGRAPH]


# Archives ----------------------------------------------------------------------------------------------------------------

FOLDER = {"a.txt": b"Eins", "tief/b.md": b"# Zwei", "leer.txt": b"", "__MACOSX/._a.txt": b"x"}
ARCHIVES: dict[str, Callable[[], bytes]] = {
    "a.zip": lambda: files.zipped(FOLDER),
    "a.tar": lambda: files.tarred(*FOLDER.items()),
    **{f"a.tar.{end}": lambda pack=pack: pack(files.tarred(*FOLDER.items())) for end, pack in files.COMPRESSORS.items()},  # type: ignore[misc]
}  # fmt: skip


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_is_a_folder_whose_members_are_documents(name: str) -> None:
    found = parse(ARCHIVES[name](), name)
    assert [(each.name, each.data) for each in found.attachments] == [("a.txt", b"Eins"), ("tief/b.md", b"# Zwei")]
    assert text_of(found) == "a.txt\n\ntief/b.md"
    assert found.title == ""


@pytest.mark.parametrize("end", files.COMPRESSORS)
def test_a_compressed_file_holds_one_document(end: str) -> None:
    found = parse(files.COMPRESSORS[end](b"Ein Satz"), f"bericht.txt.{end}")
    assert [(each.name, each.data) for each in found.attachments] == [("bericht.txt", b"Ein Satz")]


def test_in_03_members_that_climb_out_and_links_are_left_out_and_named() -> None:
    found = parse(files.zip_with_link(), "a.zip")
    assert names_of(found) == ["fine/good.txt"]
    assert text_of(found).count("left out") == 5
    links = (("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("dev", tarfile.BLKTYPE), ("pipe", tarfile.FIFOTYPE))
    found = parse(files.tarred(("../up.txt", b"x"), ("/etc/x", b"x"), ("good.txt", b"x"), links=links), "a.tar")
    assert names_of(found) == ["good.txt"]
    assert text_of(found).count("left out") == 6


def test_in_16_names_of_members_disguise_nothing_and_are_short() -> None:
    name = "a\u202etxt.exe\n" + "x" * 4_000 + ".pdf"
    (attachment,) = parse(files.tarred((name, b"x")), "a.tar").attachments
    assert len(attachment.name) <= attachments.MAX_NAME_CHARS
    assert attachment.name.endswith(".pdf")
    assert not set("\u202e\n") & set(attachment.name)


# What is refused ---------------------------------------------------------------------------------------------------------

LAUGHS = (
    b'<!DOCTYPE l [<!ENTITY a "'
    + b"lol" * 99
    + b'"><!ENTITY b "'
    + b"&a;" * 99
    + b'"><!ENTITY c "'
    + b"&b;" * 99
    + b'">]>'
)
FAR_DOWN = b"<!--" + b"x" * 8_000 + b"-->"
XXE = b'<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


def with_prologue(prologue: bytes) -> bytes:
    body = files.member_of(files.word(), "word/document.xml").partition(b"?>")[2]
    return files.replaced(files.word(), "word/document.xml", prologue + body)


REFUSED: dict[str, tuple[Callable[[], bytes], str, RefusalReason]] = {
    "an encrypted archive": (lambda: files.flagged_as_encrypted(files.zipped({"a.txt": b"Eins"})), "a.zip", RefusalReason.ENCRYPTED),
    "an encrypted package": (lambda: files.compound({"EncryptedPackage": b"x"}), "a.docx", RefusalReason.ENCRYPTED),
    "an encrypted Word 97 file": (lambda: files.compound({"WordDocument": b"\xec\xa5" + bytes(9) + b"\x01"}), "a.doc", RefusalReason.ENCRYPTED),
    "an encrypted PowerPoint 97 file": (
        lambda: files.compound({"PowerPoint Document": b"x", "EncryptedSummary": b"x"}),
        "a.ppt",
        RefusalReason.ENCRYPTED,
    ),
    "an encrypted OpenDocument": (
        lambda: files.replaced(files.odt(), "META-INF/manifest.xml", b"<m:encryption-data/>"),
        "a.odt",
        RefusalReason.ENCRYPTED,
    ),
    "a protected book": (
        lambda: files.replaced(files.epub(), "META-INF/encryption.xml", b"<EncryptedData/>"),
        "a.epub",
        RefusalReason.ENCRYPTED,
    ),
    "an encrypted mail": (
        lambda: b'From: a\nTo: b\nContent-Type: multipart/encrypted; boundary="x"\n\n--x\n\nx\n--x--\n',
        "a.eml",
        RefusalReason.ENCRYPTED,
    ),
    "an Excel 97 file that is none": (lambda: files.compound({"Workbook": b"x"}), "a.xls", RefusalReason.DAMAGED),
    "a compound file of nobody": (lambda: files.compound({"Nobody": b"x"}), "a.doc", RefusalReason.UNSUPPORTED),
    "a compound file cut off": (lambda: files.compound({"WordDocument": b"x"})[:600], "a.doc", RefusalReason.DAMAGED),
    "IN-07 laughs in Word, far down": (lambda: with_prologue(FAR_DOWN + LAUGHS), "a.docx", RefusalReason.DAMAGED),
    "IN-07 an outside entity in OpenDocument": (
        lambda: files.replaced(files.odt(), "content.xml", XXE + b"<a>&a;</a>"),
        "a.odt",
        RefusalReason.DAMAGED,
    ),
    "IN-07 laughs in XML": (lambda: b"<?xml version='1.0'?>" + LAUGHS + b"<l>&c;</l>", "a.xml", RefusalReason.DAMAGED),
    "IN-07 laughs in broken XML": (lambda: b"<?xml version='1.0'?>" + LAUGHS + b"<l>&c;", "a.xml", RefusalReason.DAMAGED),
    "IN-07 laughs in UTF-16": (
        lambda: ("<?xml version='1.0' encoding='utf-16'?>" + LAUGHS.decode() + "<l>&c;</l>").encode("utf-16"),
        "a.xml",
        RefusalReason.DAMAGED,
    ),
    "IN-04 a bomb by its ratio": (lambda: files.zipped({"a.txt": bytes(60_000_000)}), "a.zip", RefusalReason.TOO_LARGE),
    "IN-04 a bomb by its declared size": (lambda: files.declared_size(files.zipped(FOLDER), 1 << 31), "a.zip", RefusalReason.TOO_LARGE),
    "IN-04 a bomb that declares too little": (
        lambda: files.declared_size(files.zipped({"a.txt": bytes(9_000_000)}), 10),
        "a.zip",
        RefusalReason.DAMAGED,
    ),
    "IN-04 streams that share their bytes": (
        lambda: files.compound({"a": bytes(4096)}, names_of_first=60),
        "a.msg",
        RefusalReason.TOO_LARGE,
    ),
    "IN-04 the same bytes twice": (files.overlapping, "a.zip", RefusalReason.DAMAGED),
    "IN-04 a small sheet that shows much": (files.sheet_of_one_long_text, "a.xlsx", RefusalReason.TOO_LARGE),
    "deep JSON": (lambda: b"[" * 100_000 + b"]" * 100_000, "a.json", RefusalReason.DAMAGED),
    "JSON of objects in objects": (lambda: b'{"a":' * 500 + b"1" + b"}" * 500, "a.json", RefusalReason.DAMAGED),
    "deep XML": (lambda: b"<?xml version='1.0'?>" + b"<a><b/>" * 200 + b"</a>" * 200, "a.xml", RefusalReason.DAMAGED),
    "an empty archive": (lambda: files.zipped({}), "a.zip", RefusalReason.NO_TEXT),
    "7-Zip": (lambda: b"7z\xbc\xaf\x27\x1c" + bytes(99), "a.7z", RefusalReason.UNSUPPORTED),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_in_04_in_07_what_may_not_be_read_is_refused_for_its_reason(case: str) -> None:
    make, name, reason = REFUSED[case]
    with pytest.raises(DocumentRefused) as refusal:
        parse(make(), name)
    assert refusal.value.reason is reason, refusal.value.detail


@pytest.mark.parametrize("end", files.COMPRESSORS)
def test_in_04_a_compressed_bomb_is_met_before_it_has_gone_off(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ATTACHMENT_BYTES", 1_000_000)
    with pytest.raises(DocumentRefused) as refusal:
        parse(files.COMPRESSORS[end](bytes(50_000_000)), f"a.{end}")
    assert refusal.value.reason is RefusalReason.TOO_LARGE


def test_in_04_a_sheet_is_as_large_as_what_is_in_it_whatever_it_declares() -> None:
    sheet = files.member_of(files.workbook(), "xl/worksheets/sheet1.xml").replace(
        b'ref="A1:K9000"', b'ref="A1:XFD1048576"'
    )
    assert b"XFD1048576" in sheet
    assert parse(files.replaced(files.workbook(), "xl/worksheets/sheet1.xml", sheet), "a.xlsx").elements


@pytest.mark.parametrize(
    ("stream", "package"), [("WordDocument", "libreoffice-writer"), ("PowerPoint Document", "libreoffice-impress")]
)
def test_an_old_office_file_names_the_package_that_would_help(
    stream: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.parsers.legacy.PROGRAM_PATH", "/nonexistent")
    with pytest.raises(DocumentRefused, match=f"Debian package {package}-nogui") as refusal:
        parse(files.compound({stream: b"x"}), "a.doc")
    assert refusal.value.reason is RefusalReason.UNSUPPORTED


# Texts -------------------------------------------------------------------------------------------------------------------

GERMAN, FRENCH = "Größe, Straße und fünf Übernachtungen", "L'été, le garçon était à l'hôtel"
JAPANESE = "この契約は両当事者が署名した日から効力を生じます。"
ENCODED = [
    (GERMAN, "mac_roman"), (FRENCH, "mac_roman"), ("für", "mac_roman"), ("für", "cp1252"), ("Größe 5 €", "iso8859-15"),
    ("Größe 5 €", "cp1252"), (JAPANESE, "shift_jis"), (JAPANESE, "euc_jp"), (JAPANESE, "utf-16-le"),
    (JAPANESE, "utf-16-be"), (JAPANESE, "utf-16"), ("本合同自双方签字之日起生效。" * 2, "gb18030"),
    ("Příliš žluťoučký kůň úpěl ďábelské ódy", "cp1250"), ("Καλημέρα κόσμε, τι κάνεις σήμερα;", "cp1253"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "encoding"), ENCODED)
def test_short_texts_are_read_in_the_encoding_they_were_written_in(text: str, encoding: str) -> None:
    assert text_of(parse(text.encode(encoding), "a.txt")) == text


# What decides the kind -----------------------------------------------------------------------------------------------------

KINDS: dict[str, tuple[bytes, FileKind]] = {
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(9), FileKind.PNG),
    "JPEG": (b"\xff\xd8\xff\xe0" + bytes(9), FileKind.JPEG),
    "GIF": (b"GIF89a" + bytes(9), FileKind.GIF),
    "TIFF": (b"II*\0" + bytes(9), FileKind.TIFF),
    "WebP": (b"RIFF\x09\0\0\0WEBPVP8 ", FileKind.WEBP),
    "BMP": (b"BM" + bytes(12) + b"\x28\0\0\0" + bytes(40), FileKind.BMP),
    "text that starts as a bitmap does": (b"BMW baut Autos.", FileKind.TEXT),
    "OpenDocument": (files.odt(), FileKind.ODT),
    "a book": (files.epub(), FileKind.EPUB),
    "an archive": (files.zipped(FOLDER), FileKind.ZIP),
    "a mail": (files.mail(), FileKind.EML),
    "a saved page": (files.mhtml(), FileKind.MHTML),
    "XML": (b"<?xml version='1.0'?><a/>", FileKind.XML),
    "a page that is XML": (b"<?xml version='1.0'?><!-- x --><!DOCTYPE html><html/>", FileKind.HTML),
    "JSON": (b'{"a": 1}', FileKind.JSON),
    "a list in brackets": (b"Subject: to change\n\nFrom here on.", FileKind.TEXT),
}


@pytest.mark.parametrize("case", KINDS)
def test_in_12_content_decides_the_kind(case: str) -> None:
    data, kind = KINDS[case]
    assert detect(data, "file.bin") is kind


def test_every_kind_has_its_parser() -> None:
    assert set(PARSERS) == set(FileKind)


# Tables --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([["Bericht", Covered("Bericht"), Covered("Bericht")], ["Ort", "Soll", "Ist"], ["Ulm", "1", "2"]], "Bericht\nOrt | Soll | Ist\nOrt: Ulm | Soll: 1 | Ist: 2"),
        ([["A", "B", "C"], ["Nord", Covered("Nord"), Covered("Nord")], ["x", "1", "2"]], "A | B | C\nNord\nA: x | B: 1 | C: 2"),
        ([["x", "x", "x"], ["x", "x", "x"]], "x | x | x\nx | x | x"),
        ([["Name:", "Ada"], ["Ort:", "Ulm"]], "Name: Ada\nOrt: Ulm"),
        ([], ""),
    ],
)  # fmt: skip
def test_a_row_says_what_its_values_mean(rows: list[list[str]], text: str) -> None:
    assert table_text(rows) == text


def test_a_web_table_repeats_a_name_over_all_its_columns() -> None:
    html = "<table><tr><th>Ort</th><th colspan=2>2025</th></tr><tr><td>Ulm</td><td>1</td><td>2</td></tr></table>"
    assert html_table_text(html) == "Ort | 2025\nOrt: Ulm | 2025: 1 | 2025: 2"


# Whatever goes in ----------------------------------------------------------------------------------------------------------

SAMPLES = {
    "a.docx": files.word(), "a.pptx": files.slides(), "a.xlsx": files.workbook(), "a.odt": files.odt(),
    "a.ods": files.ods(), "a.odp": files.odp(), "a.epub": files.epub(), "a.rtf": files.rtf(), "a.eml": files.mail(),
    "a.mht": files.mhtml(), "a.zip": files.zip_with_link(), "a.tar": files.tarred(("a.txt", b"x")),
    "a.tar.gz": files.COMPRESSORS["gz"](files.tarred(("a.txt", b"x"))), "a.xls": files.compound({"Workbook": bytes(99)}),
    "a.msg": files.compound({"__properties_version1.0": bytes(99)}), "a.xml": b"<?xml version='1.0'?><a b='c'>d</a>",
    "a.json": b'{"a": [1, {"b": null}], "c": "d"}', "a.rst": b"A\n=\n\n.. a::\n\n   b\n\n+-+\n|x|\n+-+\n", "a.html": b"<p>x<table><td>",
}  # fmt: skip
TEXT_NAMES = st.sampled_from(["a.json", "a.xml", "a.rst", "a.mht", "a.eml", "a.tsv", "a.rtf", "a"])
TEXT_STARTS = st.sampled_from(
    [b"", b"{\\rtf1", b"<?xml version='1.0'?>", b"[{", b"From: a\nTo: b\n", b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0"]
)


def assert_read_or_refused(data: bytes, name: str) -> None:
    """Text, files or a refusal of the document itself; never another exception."""
    try:
        found = parse(data, name)
    except DocumentRefused as refusal:
        if refusal.reason is RefusalReason.PARSER_FAILED and not isinstance(refusal.__cause__, ModuleNotFoundError):
            raise AssertionError(refusal.detail) from refusal
    else:
        assert found.elements or found.attachments


@settings(max_examples=300, deadline=None)
@given(
    start=TEXT_STARTS, rest=st.one_of(st.binary(max_size=300), st.text(max_size=200).map(str.encode)), name=TEXT_NAMES
)
@example(start=b"", rest=b"x\n\xc2\x85y", name="a.rst")
def test_any_bytes_are_an_extraction_or_a_refusal(start: bytes, rest: bytes, name: str) -> None:
    assert_read_or_refused(start + rest, name)


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(sorted(SAMPLES)), where=st.floats(0, 1), noise=st.binary(min_size=1, max_size=40))
def test_a_file_with_damage_anywhere_is_an_extraction_or_a_refusal(name: str, where: float, noise: bytes) -> None:
    data = SAMPLES[name]
    at = int(where * len(data))
    assert_read_or_refused(data[:at] + noise + data[at + len(noise) :], name)
    assert_read_or_refused(data[:at], name)


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(["a.docx", "a.pptx", "a.xlsx", "a.odt", "a.ods", "a.odp", "a.epub"]),
    data=st.data(),
    where=st.floats(0, 1),
    noise=st.sampled_from([b"", b"<", b"/>", b'"', b"-1", b"99999999999", b"\xff", b"&x;", b"<w:p>", b"]]>"]),
)
def test_a_package_with_damage_inside_a_part_is_an_extraction_or_a_refusal(
    name: str, data: st.DataObject, where: float, noise: bytes
) -> None:
    members = sorted(each for each in _members(SAMPLES[name]) if each.endswith((".xml", ".rels", ".opf", ".xhtml")))
    member = data.draw(st.sampled_from(members))
    content = files.member_of(SAMPLES[name], member)
    at = int(where * len(content))
    assert_read_or_refused(
        files.replaced(SAMPLES[name], member, content[:at] + noise + content[at + len(noise) :]), name
    )


def _members(data: bytes) -> list[str]:
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as package:
        return package.namelist()
