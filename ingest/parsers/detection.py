"""What kind a file is follows from its content; its name decides between kinds of text only (IN-12)."""

from __future__ import annotations

import io
import re
import zipfile
from enum import StrEnum
from pathlib import PurePath

from ingest.parsers.encoding import decode
from rag.errors import DocumentRefused, RefusalReason

PDF_HEADER_WITHIN = 1024  # ISO 32000-1, annex H, implementation note 13
TEXT_SAMPLE_BYTES = 65_536
MAX_MEMBERS = 10_000
MAX_UNPACKED_BYTES = 300_000_000
XML_PROLOGUE_BYTES = 4096


class FileKind(StrEnum):
    """Kinds that can be read; the value is the media type."""

    PDF = "application/pdf"
    DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
    XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    MSG = "application/vnd.ms-outlook"
    EML = "message/rfc822"
    HTML = "text/html"
    MARKDOWN = "text/markdown"
    CSV = "text/csv"
    TEXT = "text/plain"


TEXT_KINDS = {
    ".md": FileKind.MARKDOWN,
    ".markdown": FileKind.MARKDOWN,
    ".csv": FileKind.CSV,
    ".tsv": FileKind.CSV,
    ".html": FileKind.HTML,
    ".htm": FileKind.HTML,
    ".xhtml": FileKind.HTML,
    ".eml": FileKind.EML,
    ".txt": FileKind.TEXT,
    ".log": FileKind.TEXT,
}
OOXML_MAIN_PARTS = {"word/": FileKind.DOCX, "ppt/": FileKind.PPTX, "xl/": FileKind.XLSX}
UNREADABLE_MAGIC = (
    (b"\x89PNG", "an image; reading images needs OCR, which a later release brings"),
    (b"\xff\xd8\xff", "an image; reading images needs OCR, which a later release brings"),
    (b"GIF8", "an image; reading images needs OCR, which a later release brings"),
    (b"II*\0", "an image; reading images needs OCR, which a later release brings"),
    (b"MM\0*", "an image; reading images needs OCR, which a later release brings"),
    (b"{\\rtf", "Rich Text; save it as .docx"),
    (b"MZ", "a program"),
    (b"\x7fELF", "a program"),
    (b"\x1f\x8b", "a compressed file; unpack it first"),
    (b"7z\xbc\xaf", "an archive; unpack it first"),
    (b"Rar!", "an archive; unpack it first"),
)
OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
ENTITY_DECLARATION = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)
HTML_START = re.compile(
    r"\s*(<\?xml[^>]*>\s*)?(<!--.{0,2000}?-->\s*)*<(!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL
)
MAIL_START = re.compile(r"(Return-Path|Received|Delivered-To|MIME-Version|Message-ID|From|X-[\w-]+):\s", re.IGNORECASE)
MAIL_ORIGIN = re.compile(r"^From:\s", re.IGNORECASE | re.MULTILINE)


def detect(data: bytes, name: str) -> FileKind:
    """The kind of a file.

    Raises:
        DocumentRefused: it is empty, encrypted, an archive that is broken or too large, or of a kind that nobody reads.
    """
    if not data.strip(b" \t\r\n\0"):
        raise DocumentRefused(RefusalReason.NO_TEXT, "the file is empty")
    if b"%PDF-" in data[:PDF_HEADER_WITHIN]:
        return FileKind.PDF
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_kind(data)
    if data.startswith(OLE_MAGIC):
        return _ole_kind(data)
    for magic, meaning in UNREADABLE_MAGIC:
        if data.startswith(magic):
            raise _unsupported(f"its content is {meaning}")
    return _text_kind(data, name)


def _unsupported(detail: str) -> DocumentRefused:
    return DocumentRefused(RefusalReason.UNSUPPORTED, detail)


def _zip_kind(data: bytes) -> FileKind:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _ooxml_kind(archive)
    except DocumentRefused:
        raise
    except Exception as error:  # zipfile meets hostile input with more than BadZipFile
        raise DocumentRefused(RefusalReason.DAMAGED, f"the package cannot be opened: {type(error).__name__}") from error


def _ooxml_kind(archive: zipfile.ZipFile) -> FileKind:
    members = archive.infolist()
    if any(member.flag_bits & 0x1 for member in members):
        raise DocumentRefused(RefusalReason.ENCRYPTED, "the package is protected by a password")
    # zipfile reads no more than the declared size of a member, so the declaration is a bound.
    if len(members) > MAX_MEMBERS or sum(member.file_size for member in members) > MAX_UNPACKED_BYTES:
        raise DocumentRefused(RefusalReason.TOO_LARGE, "unpacked it exceeds what a document may hold")
    if "[Content_Types].xml" not in {member.filename for member in members}:
        raise _unsupported("an archive or an OpenDocument file; unpack it, or save it as .docx, .pptx or .xlsx")
    for prefix, kind in OOXML_MAIN_PARTS.items():
        if any(member.filename.startswith(prefix) for member in members):
            _refuse_entities(archive)
            _refuse_macros(archive, kind)
            return kind
    raise _unsupported("an Office package of unknown kind")


def _refuse_entities(archive: zipfile.ZipFile) -> None:
    """Parts of an Office package declare no entities (ECMA-376 part 2, 8.1.4); bombs and XXE do (IN-04, IN-07)."""
    for member in archive.infolist():
        if not member.filename.endswith((".xml", ".rels")):
            continue
        with archive.open(member) as part:
            prologue = part.read(XML_PROLOGUE_BYTES).replace(b"\0", b"")  # UTF-16 hides nothing
        if ENTITY_DECLARATION.search(prologue):
            raise DocumentRefused(RefusalReason.DAMAGED, "its XML declares entities, which Office packages must not")


def _refuse_macros(archive: zipfile.ZipFile, kind: FileKind) -> None:
    if kind is not FileKind.XLSX and b"macroEnabled" in archive.read("[Content_Types].xml"):
        raise _unsupported("a document with macros; save it as .docx or .pptx")


def _ole_kind(data: bytes) -> FileKind:
    """Names in the directory of a compound file are UTF-16, in clear text."""
    if "EncryptedPackage".encode("utf-16-le") in data:
        raise DocumentRefused(RefusalReason.ENCRYPTED, "the document is protected by a password")
    if "__properties_version1.0".encode("utf-16-le") in data:
        return FileKind.MSG
    raise _unsupported("an Office format from before 2007; save it as .docx, .pptx or .xlsx")


def _text_kind(data: bytes, name: str) -> FileKind:
    text = decode(data[:TEXT_SAMPLE_BYTES])
    if text is None:
        raise _unsupported("its content is neither text nor a known document format")
    named = TEXT_KINDS.get(PurePath(name).suffix.lower())
    if named is not None:
        return named
    if HTML_START.match(text):
        return FileKind.HTML
    return FileKind.EML if MAIL_START.match(text) and MAIL_ORIGIN.search(text) else FileKind.TEXT
