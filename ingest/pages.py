"""Pictures of pages, drawn from the source's own bytes for a document that the gate has just released.

Kustos keeps no copy of a document. So the source is read again, through the same connector, and only the very version
that the catalog knows is drawn: a page that was changed meanwhile is never shown under rights that were decided for
another one. Pictures of the same version are drawn once for each person: how fast one comes would otherwise tell what
colleagues have looked at.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Lock

from connectors.base import Connector, Item, ItemChanged, ItemGone
from ingest.content import Content, collected, content_of
from ingest.reading import Parse, file_inside
from rag.documents import Box, Document
from rag.errors import DocumentRefused, NotFound
from rag.stores.catalog_writing import CatalogWriter

PAGED = ("application/pdf", "image/")
"""Media types, or how they begin, of documents that have pages to look at."""
KEPT_BYTES = 64_000_000

Render = Callable[[Content, int, int, Sequence[Box]], bytes]
"""Document, page from 1, width in pixels and boxes to mark: a PNG. Raises DocumentRefused."""
OpenSource = Callable[[str, Path], Connector]
"""Name and root of a source to its connector."""


class PageImages:
    """Draws pages. Decides nothing: it is given documents that the gate released to `viewer`."""

    def __init__(self, catalog: CatalogWriter, open_source: OpenSource, *, parse: Parse, render: Render) -> None:
        self._catalog = catalog
        self._open_source = open_source
        self._parse = parse
        self._render = render
        self._pictures = _Pictures(KEPT_BYTES)

    def png(self, viewer: str, document: Document, page: int, width: int, marked: Sequence[Box] = ()) -> bytes:
        """The page, `width` pixels wide, with `marked` places highlighted.

        Raises:
            NotFound: the document has no such page, or its source has another version now.
            SourceUnavailable, Unavailable: the source or the parsers do not answer.
        """
        if not document.media_type.startswith(PAGED):
            raise NotFound(f"document {document.id!r} has no pages to look at")
        # Also of the document: a picture that is there already would tell of an equal document that one may not read.
        key = (viewer, document.id, document.version, page, width, tuple(marked))
        picture = self._pictures.get(key)
        if picture is None:
            picture = self._draw(document, page, width, marked)
            self._pictures.put(key, picture)
        return picture

    def _draw(self, document: Document, page: int, width: int, marked: Sequence[Box]) -> bytes:
        try:
            with self._content(document) as content:
                return self._render(content, page, width, marked)
        except DocumentRefused as refusal:
            raise NotFound(f"page {page} of document {document.id!r} cannot be drawn: {refusal.detail}") from refusal

    @contextmanager
    def _content(self, document: Document) -> Iterator[Content]:
        listed = self._catalog.listed(document.parent_id or document.id)
        if listed is None or not listed.root:
            raise NotFound(f"the source of document {document.id!r} keeps no pages")
        item = Item(listed.item_id, listed.uri, listed.name, _THEN, listed.change_token, "")
        connector = self._open_source(document.source, Path(listed.root))
        with ExitStack() as stack:
            try:
                content = stack.enter_context(collected(partial(connector.fetch, item)))
                if document.parent_id:
                    outer = replace(document, id=document.parent_id, uri=listed.uri)
                    data = file_inside(self._parse, outer, listed.name, content, document)
                    content = stack.enter_context(content_of(data))
            except (ItemChanged, ItemGone, DocumentRefused) as error:
                raise _another_version(document) from error
            if content.sha256 != document.version:
                raise _another_version(document)
            yield content


class _Pictures:
    """The pictures asked for last, in memory only: what leaves the source leaves no copy on this machine's disk."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable) -> bytes | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, picture: bytes) -> None:
        with self._lock:
            self._room += len(self._kept.pop(key, b"")) - len(picture)
            self._kept[key] = picture
            while self._room < 0:
                self._room += len(self._kept.popitem(last=False)[1])


_THEN = datetime(1970, 1, 1, tzinfo=UTC)


def _another_version(document: Document) -> NotFound:
    return NotFound(f"the source has another version of document {document.id!r} now; the next sync takes it in")
