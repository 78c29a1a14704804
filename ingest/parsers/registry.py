"""Which parser reads which kind of file. The adapters are imported when their first file comes, in the child only."""

from __future__ import annotations

from importlib import import_module

from ingest.extraction import Extraction, finished
from ingest.parsers.base import Parser
from ingest.parsers.detection import detect
from ingest.parsers.kinds import IMAGES, FileKind
from ingest.parsers.options import PDF_READERS, ReadingOptions
from rag.errors import DocumentRefused, RefusalReason

PARSERS = {
    FileKind.PDF: ("ingest.parsers.pdf", "PdfParser"),
    FileKind.DOCX: ("ingest.parsers.word", "DocxParser"),
    FileKind.PPTX: ("ingest.parsers.slides", "PptxParser"),
    FileKind.XLSX: ("ingest.parsers.spreadsheet", "XlsxParser"),
    FileKind.DOC: ("ingest.parsers.legacy", "DocParser"),
    FileKind.PPT: ("ingest.parsers.legacy", "PptParser"),
    FileKind.XLSB: ("ingest.parsers.legacy", "XlsbParser"),
    FileKind.XLS: ("ingest.parsers.spreadsheet_97", "XlsParser"),
    FileKind.ODT: ("ingest.parsers.opendocument", "OdtParser"),
    FileKind.ODS: ("ingest.parsers.opendocument", "OdsParser"),
    FileKind.ODP: ("ingest.parsers.opendocument", "OdpParser"),
    FileKind.RTF: ("ingest.parsers.rtf", "RtfParser"),
    FileKind.EPUB: ("ingest.parsers.epub", "EpubParser"),
    FileKind.MSG: ("ingest.parsers.outlook", "MsgParser"),
    FileKind.EML: ("ingest.parsers.mail", "MailParser"),
    FileKind.MHTML: ("ingest.parsers.mail", "MhtmlParser"),
    FileKind.HTML: ("ingest.parsers.hypertext", "HtmlParser"),
    FileKind.MARKDOWN: ("ingest.parsers.hypertext", "MarkdownParser"),
    FileKind.RESTRUCTURED: ("ingest.parsers.restructured", "RestructuredParser"),
    FileKind.XML: ("ingest.parsers.structured", "XmlParser"),
    FileKind.JSON: ("ingest.parsers.structured", "JsonParser"),
    FileKind.CSV: ("ingest.parsers.plain", "CsvParser"),
    FileKind.TSV: ("ingest.parsers.plain", "TsvParser"),
    FileKind.TEXT: ("ingest.parsers.plain", "TextParser"),
    FileKind.ZIP: ("ingest.parsers.archive", "ZipParser"),
    FileKind.TAR: ("ingest.parsers.archive", "TarParser"),
    FileKind.GZIP: ("ingest.parsers.archive", "GzipParser"),
    FileKind.BZIP2: ("ingest.parsers.archive", "Bzip2Parser"),
    FileKind.XZ: ("ingest.parsers.archive", "XzParser"),
    **dict.fromkeys(IMAGES, ("ingest.parsers.image", "ImageParser")),
}
PAGED = IMAGES | {FileKind.PDF}
"""Read page by page, by recognition where there is no text; their parsers take the options."""
UNTITLED = frozenset({FileKind.XLSX, FileKind.XLSB, FileKind.XLS, FileKind.ODS, FileKind.ZIP, FileKind.TAR})
"""A sheet's name names no workbook, nor a member its archive."""
MAX_TEXT_CHARS = 20_000_000


def parse(data: bytes, name: str, options: ReadingOptions = ReadingOptions()) -> Extraction:  # noqa: B008  frozen
    """What the file holds, with clean texts. Nothing but DocumentRefused comes out, whatever goes in.

    Raises:
        DocumentRefused: with the reason an operator can act on.
    """
    try:
        return _checked(parser_for(detect(data, name), options).parse(data, name))
    except DocumentRefused:
        raise
    except MemoryError as error:
        raise DocumentRefused(RefusalReason.MEMORY_LIMIT, "reading it takes more memory than is allowed") from error
    except Exception as error:
        raise DocumentRefused(RefusalReason.PARSER_FAILED, f"the parser failed: {type(error).__name__}") from error


def parser_for(kind: FileKind, options: ReadingOptions = ReadingOptions()) -> Parser:  # noqa: B008  frozen
    module, name = PARSERS[kind]
    chosen = {FileKind.PDF: PDF_READERS[options.pdf_reader]}.get(kind, module)
    made = getattr(import_module(chosen), name)
    parser: Parser = made(options) if kind in PAGED else made()
    return parser


def _checked(found: Extraction) -> Extraction:
    if sum(len(element.text) for element in found.elements) > MAX_TEXT_CHARS:
        raise DocumentRefused(RefusalReason.TOO_LARGE, f"it holds more than {MAX_TEXT_CHARS:,} characters of text")
    extraction = finished(found, titled_by_heading=found.media_type not in UNTITLED)
    if not extraction.elements and not extraction.attachments:
        raise DocumentRefused(RefusalReason.NO_TEXT, "there is no text in it")
    return extraction
