"""What a strict reader found lost, invented or put into the wrong mouth: each a case that failed once."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from email.message import EmailMessage

import pymupdf
import pytest

from ingest.extraction import ElementKind, Extraction
from ingest.parsers.detection import FileKind, detect
from ingest.parsers.registry import parse
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
