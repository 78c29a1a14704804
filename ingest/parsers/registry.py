"""Which parser reads which kind of file. The adapters are imported when their first file comes, in the child only."""

from __future__ import annotations

from importlib import import_module

from ingest.extraction import Extraction, finished
from ingest.parsers.base import Parser
from ingest.parsers.detection import FileKind, detect
from rag.errors import DocumentRefused, RefusalReason

PARSERS = {
    FileKind.PDF: ("ingest.parsers.pdf", "PdfParser"),
    FileKind.DOCX: ("ingest.parsers.office", "DocxParser"),
    FileKind.PPTX: ("ingest.parsers.office", "PptxParser"),
    FileKind.XLSX: ("ingest.parsers.office", "XlsxParser"),
    FileKind.MSG: ("ingest.parsers.office", "MsgParser"),
    FileKind.HTML: ("ingest.parsers.office", "HtmlParser"),
    FileKind.MARKDOWN: ("ingest.parsers.office", "MarkdownParser"),
    FileKind.EML: ("ingest.parsers.mail", "MailParser"),
    FileKind.CSV: ("ingest.parsers.plain", "CsvParser"),
    FileKind.TEXT: ("ingest.parsers.plain", "TextParser"),
}
MAX_TEXT_CHARS = 20_000_000


def parse(data: bytes, name: str) -> Extraction:
    """What the file holds, with clean texts. Nothing but DocumentRefused comes out, whatever goes in.

    Raises:
        DocumentRefused: with the reason an operator can act on.
    """
    try:
        return _checked(_parse(data, name))
    except DocumentRefused:
        raise
    except MemoryError as error:
        raise DocumentRefused(RefusalReason.MEMORY_LIMIT, "reading it takes more memory than is allowed") from error
    except Exception as error:
        raise DocumentRefused(RefusalReason.PARSER_FAILED, f"the parser failed: {type(error).__name__}") from error


def parser_for(kind: FileKind) -> Parser:
    module, name = PARSERS[kind]
    parser: Parser = getattr(import_module(module), name)()
    return parser


def _parse(data: bytes, name: str) -> Extraction:
    return parser_for(detect(data, name)).parse(data, name)


def _checked(found: Extraction) -> Extraction:
    if sum(len(element.text) for element in found.elements) > MAX_TEXT_CHARS:
        raise DocumentRefused(RefusalReason.TOO_LARGE, f"it holds more than {MAX_TEXT_CHARS:,} characters of text")
    extraction = finished(
        found, titled_by_heading=found.media_type != FileKind.XLSX
    )  # a sheet's name names no workbook
    if not extraction.elements:
        raise DocumentRefused(RefusalReason.NO_TEXT, "there is no text in it")
    return extraction
