"""What kind a file is follows from its content; its name decides between kinds of text only (IN-12)."""

from __future__ import annotations

import re
from pathlib import PurePath

from ingest.parsers.compound import compound_streams
from ingest.parsers.damage import damaged, encrypted, unsupported
from ingest.parsers.encoding import decode, is_binary
from ingest.parsers.kinds import FileKind
from ingest.parsers.packages import Package, is_encrypted
from rag.errors import DocumentRefused, RefusalReason

PDF_HEADER = b"%PDF-"
PDF_HEADER_WITHIN = 1024  # ISO 32000-1, annex H, implementation note 13
BLANKS = b" \t\r\n\0\xef\xbb\xbf"  # and the byte-order mark of UTF-8
TEXT_SAMPLE_BYTES = 65_536
XML_PROLOGUE_BYTES = 1_000_000
TEXT_KINDS = {
    ".md": FileKind.MARKDOWN,
    ".markdown": FileKind.MARKDOWN,
    ".rst": FileKind.RESTRUCTURED,
    ".rest": FileKind.RESTRUCTURED,
    ".csv": FileKind.CSV,
    ".tsv": FileKind.TSV,
    ".tab": FileKind.TSV,
    ".html": FileKind.HTML,
    ".htm": FileKind.HTML,
    ".xhtml": FileKind.HTML,
    ".mht": FileKind.MHTML,
    ".mhtml": FileKind.MHTML,
    ".eml": FileKind.EML,
    ".json": FileKind.JSON,
    ".jsonl": FileKind.JSON,
    ".ndjson": FileKind.JSON,
    ".xml": FileKind.XML,
    ".txt": FileKind.TEXT,
    ".log": FileKind.TEXT,
}
MAGIC = (
    (b"\x89PNG\r\n\x1a\n", FileKind.PNG),
    (b"\xff\xd8\xff", FileKind.JPEG),
    (b"GIF87a", FileKind.GIF),
    (b"GIF89a", FileKind.GIF),
    (b"II*\0", FileKind.TIFF),
    (b"MM\0*", FileKind.TIFF),
    (b"{\\rtf", FileKind.RTF),
    (b"\x1f\x8b\x08", FileKind.GZIP),
    (b"BZh", FileKind.BZIP2),
    (b"\xfd7zXZ\0", FileKind.XZ),
)
UNREADABLE_MAGIC = (
    (b"MZ", "a program"),
    (b"\x7fELF", "a program"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; pack it as ZIP"),
    (b"Rar!", "a RAR archive; pack it as ZIP"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file; unpack it first"),
    (b"SQLite format 3\0", "a database; export its tables as CSV"),
    (b"\0\1\0\0Standard", "an Access database; export its tables as CSV"),
    (b"ID3", "sound"),
    (b"OggS", "sound"),
    (b"\x1aE\xdf\xa3", "a film"),
)
RIFF_MEANING = {b"WEBP": "", b"WAVE": "sound", b"AVI ": "a film"}
TAR_MAGIC_AT = 257
OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
PACKAGE_TYPES = {
    **{str(kind): kind for kind in (FileKind.ODT, FileKind.ODS, FileKind.ODP, FileKind.EPUB)},
    f"{FileKind.ODT}-template": FileKind.ODT,
    f"{FileKind.ODS}-template": FileKind.ODS,
    f"{FileKind.ODP}-template": FileKind.ODP,
}
OOXML_MAIN_PARTS = {"word/": FileKind.DOCX, "ppt/": FileKind.PPTX, "xl/": FileKind.XLSX}
OLE_STREAMS = {  # a message can hold the others' streams only in folders of its own
    "__properties_version1.0": FileKind.MSG,
    "WordDocument": FileKind.DOC,
    "PowerPoint Document": FileKind.PPT,
    "Workbook": FileKind.XLS,
    "Book": FileKind.XLS,
}
ENTITY_DECLARATION = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)
PLAIN_PROLOGUE = re.compile(rb"[^<]*+(?><\?.*?\?>\s*|<!--.*?-->\s*)*+<[^!?]", re.DOTALL)
COMMENTS = r"(?><!--.{0,2000}?-->\s*+)*+"
HTML_START = re.compile(rf"\s*+(?:<\?xml[^>]*+>\s*+)?+{COMMENTS}<(!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL)
XML_START = re.compile(r"\s*+<\?xml\s")
JSON_START = re.compile(r"\s*+[\[{]")
MAIL_START = re.compile(
    r"(Return-Path|Received|Delivered-To|MIME-Version|Message-ID|Date|Subject|From|To|X-[\w-]+):\s", re.IGNORECASE
)
MAIL_ORIGIN = re.compile(r"^From:\s", re.IGNORECASE | re.MULTILINE)
MAIL_OTHER = re.compile(r"^(To|Date|Subject|Message-ID|MIME-Version):\s", re.IGNORECASE | re.MULTILINE)
SAVED_PAGE = re.compile(r"^(Snapshot-Content-Location:|From: <Saved by )", re.IGNORECASE | re.MULTILINE)


def detect(data: bytes, name: str) -> FileKind:
    """The kind of a file.

    Raises:
        DocumentRefused: it is empty, encrypted, a package that is broken or too large, or of a kind that nobody reads.
    """
    if not data.strip(b" \t\r\n\0"):
        raise DocumentRefused(RefusalReason.NO_TEXT, "the file is empty")
    if data.startswith(PDF_HEADER):
        return FileKind.PDF
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_kind(data)
    if data.startswith(OLE_MAGIC):
        return _ole_kind(data)
    return _marked_kind(data) or _pdf_behind_garbage(data) or _text_kind(data, name)


def _pdf_behind_garbage(data: bytes) -> FileKind | None:
    """PDF where its header stands behind what a mail gateway or printer left; a text may speak of such headers."""
    at = data.find(PDF_HEADER, 0, PDF_HEADER_WITHIN)
    found = at >= 0 and (not data[:at].strip(BLANKS) or is_binary(data[:TEXT_SAMPLE_BYTES]))
    return FileKind.PDF if found else None


def _marked_kind(data: bytes) -> FileKind | None:
    """The kind that the first bytes tell; None where they tell none."""
    for magic, kind in MAGIC:
        if data.startswith(magic):
            return kind
    if data[TAR_MAGIC_AT : TAR_MAGIC_AT + 5] == b"ustar":
        return FileKind.TAR
    if data.startswith(b"RIFF") and (meaning := RIFF_MEANING.get(data[8:12])) is not None:
        if not meaning:
            return FileKind.WEBP
        raise unsupported(f"its content is {meaning}")
    if (
        data.startswith(b"BM")
        and len(data) >= 18
        and data[14:18] in {b"\x0c\0\0\0", b"\x28\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0"}
    ):
        return FileKind.BMP
    for magic, meaning in UNREADABLE_MAGIC:
        if data.startswith(magic):
            raise unsupported(f"its content is {meaning}")
    return None


def _zip_kind(data: bytes) -> FileKind:
    with Package(data) as package:
        files = [member for member in package.members if not member.is_dir()]
        if files and all(is_encrypted(member) for member in files):
            raise encrypted("the package is protected by a password")
        if "mimetype" in package.names:
            declared = package.read("mimetype").strip().decode("latin-1")
            if kind := PACKAGE_TYPES.get(declared):
                return kind
        if "[Content_Types].xml" in package.names:
            return _ooxml_kind(package)
    return FileKind.ZIP


def _ooxml_kind(package: Package) -> FileKind:
    if any(is_encrypted(member) for member in package.members):
        raise encrypted("the package is protected by a password")
    if "xl/workbook.bin" in package.names:
        return FileKind.XLSB
    for prefix, kind in OOXML_MAIN_PARTS.items():
        if any(name.startswith(prefix) for name in package.names):
            _refuse_entities(package)
            return kind
    raise unsupported("an Office package of unknown kind")


def _refuse_entities(package: Package) -> None:
    """Parts of an Office package declare no entities (ECMA-376 part 2, 8.1.4); bombs and XXE do (IN-04, IN-07)."""
    for member in package.members:
        if not member.filename.endswith((".xml", ".rels", ".vml")):
            continue
        prologue = package.head(member, XML_PROLOGUE_BYTES).replace(b"\0", b"")  # UTF-16 hides nothing
        if PLAIN_PROLOGUE.match(prologue):
            continue
        if ENTITY_DECLARATION.search(prologue) or len(prologue) == XML_PROLOGUE_BYTES:
            raise damaged("its XML declares entities, which Office packages must not")


def _ole_kind(data: bytes) -> FileKind:
    streams = compound_streams(data)
    if "EncryptedPackage" in streams:
        raise encrypted("the document is protected by a password")
    for stream, kind in OLE_STREAMS.items():
        if stream in streams:
            return kind
    raise unsupported(
        "a compound file of a program that is not known here; save it in a current Office format or as PDF"
    )


def _text_kind(data: bytes, name: str) -> FileKind:
    text = decode(data[:TEXT_SAMPLE_BYTES])
    if text is None:
        raise unsupported("its content is neither text nor a known document format")
    text = text.removeprefix("\ufeff")
    return TEXT_KINDS.get(PurePath(name).suffix.lower()) or _kind_of_text(text)


def _kind_of_text(text: str) -> FileKind:
    if HTML_START.match(text):
        return FileKind.HTML
    if XML_START.match(text):
        return FileKind.XML
    if JSON_START.match(text):
        return FileKind.JSON
    if MAIL_START.match(text) and MAIL_ORIGIN.search(text) and MAIL_OTHER.search(text):
        return FileKind.MHTML if SAVED_PAGE.search(text) else FileKind.EML
    return FileKind.TEXT
