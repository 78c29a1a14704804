"""Electronic books (EPUB 2 and 3): chapters in the order of reading."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from urllib.parse import unquote

from ingest.extraction import Element, Extraction
from ingest.parsers.damage import damage, encrypted
from ingest.parsers.encoding import decode
from ingest.parsers.hypertext import html_elements
from ingest.parsers.kinds import FileKind
from ingest.parsers.markup import Node, attribute, parse_xml
from ingest.parsers.packages import Package
from ingest.parsers.properties import dublin_core

CONTAINER = "META-INF/container.xml"
CHAPTER_TYPES = {"application/xhtml+xml", "text/html"}
MAX_CHAPTERS = 5_000
FONT_OBFUSCATION = b"http://www.idpf.org/2008/embedding"


class EpubParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """Title and author of the book; headings, paragraphs, lists and tables of its chapters."""
        with Package(data) as package, damage("the book"):
            protection = package.find("META-INF/encryption.xml") or b""
            if b"EncryptedData" in protection and FONT_OBFUSCATION not in protection:
                raise encrypted("the book is protected against copying")
            root_file = next(parse_xml(package.require(CONTAINER)).iter("{*}rootfile"))
            path = attribute(root_file, "full-path")
            book = parse_xml(package.require(path))
            return dublin_core(book).describing(tuple(_chapters(package, path, book)), FileKind.EPUB)


def _chapters(package: Package, path: str, book: Node) -> Iterator[Element]:
    items = {attribute(each, "id"): each for each in book.iter("{*}item")}
    for reference in list(book.iter("{*}itemref"))[:MAX_CHAPTERS]:
        item = items.get(attribute(reference, "idref"))
        if item is None or attribute(item, "media-type") not in CHAPTER_TYPES:
            continue
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(attribute(item, "href"))))
        yield from html_elements(decode(package.find(target) or b"") or "")
