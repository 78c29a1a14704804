"""What a strict reader found lost, invented or put into the wrong mouth: each a case that failed once."""

from __future__ import annotations

import pymupdf
import pytest

from ingest.extraction import Extraction
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
