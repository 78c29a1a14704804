"""The kinds of files that can be read. Pure: the parent of a parser process knows them too."""

from __future__ import annotations

from enum import StrEnum


class FileKind(StrEnum):
    """Kinds that can be read; the value is the media type."""

    PDF = "application/pdf"
    DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
    XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    DOC = "application/msword"
    PPT = "application/vnd.ms-powerpoint"
    XLS = "application/vnd.ms-excel"
    XLSB = "application/vnd.ms-excel.sheet.binary.macroenabled.12"
    ODT = "application/vnd.oasis.opendocument.text"
    ODS = "application/vnd.oasis.opendocument.spreadsheet"
    ODP = "application/vnd.oasis.opendocument.presentation"
    RTF = "application/rtf"
    EPUB = "application/epub+zip"
    MSG = "application/vnd.ms-outlook"
    EML = "message/rfc822"
    MHTML = "multipart/related"
    HTML = "text/html"
    XML = "application/xml"
    JSON = "application/json"
    MARKDOWN = "text/markdown"
    RESTRUCTURED = "text/x-rst"
    CSV = "text/csv"
    TSV = "text/tab-separated-values"
    TEXT = "text/plain"
    ZIP = "application/zip"
    TAR = "application/x-tar"
    GZIP = "application/gzip"
    BZIP2 = "application/x-bzip2"
    XZ = "application/x-xz"
    PNG = "image/png"
    JPEG = "image/jpeg"
    TIFF = "image/tiff"
    GIF = "image/gif"
    WEBP = "image/webp"
    BMP = "image/bmp"


IMAGES = frozenset({FileKind.PNG, FileKind.JPEG, FileKind.TIFF, FileKind.GIF, FileKind.WEBP, FileKind.BMP})
