"""From one item of a source to the versions that it becomes: fetched, parsed, cut into chunks, with what is inside it.

A file inside a file (an attachment, a member of an archive) becomes a document of its own. It is listed by nobody: it
comes, changes, moves and goes with the item that it was in, and lies under the same governing place, so its rights are
never wider.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from connectors.base import Connector, Item, ItemChanged, ItemGone
from ingest.content import Content, collected, content_of
from ingest.extraction import Attachment, Extraction, clean
from rag.documents import INSIDE, Chunk, Document, acl_id, attachment_id, document_id
from rag.errors import DocumentRefused, RefusalReason
from rag.ports import LanguageDetector
from rag.stores.catalog_known import Today
from rag.stores.catalog_writing import NewVersion, Refusal

if TYPE_CHECKING:
    from ingest.chunking import Chunker  # LlamaIndex takes long to load, and who draws pages needs none of it

MAX_NESTING = 5  # a mail in a mail in an archive and so on
MAX_INSIDE = 1_000  # files inside one item, over all levels
MAX_NAME_CHARS = 200
ITEM_S = 1_800.0  # for one item with all that is inside it; a hostile archive could take the limit of each file in turn

Parse = Callable[[Content, str], Extraction]
"""Content and name of a file to what is in it; raises DocumentRefused."""


@dataclass(frozen=True, slots=True)
class Read:
    """One item after reading: a version with all that is inside it, a refusal, or neither, for the next run."""

    item: Item
    version: NewVersion | None = None
    refusal: Refusal | None = None

    @property
    def refusals(self) -> Sequence[Refusal]:
        """The item's own refusal, or those of files inside it."""
        return (self.refusal,) if self.refusal else self.version.refused if self.version else ()

    @property
    def passages(self) -> int:
        """Number of passages of the version and of everything inside it."""
        return sum(len(each.chunks) for each in self.version.family) if self.version else 0


@dataclass(frozen=True, slots=True)
class _File:
    """A file about to be parsed: the item itself, or one inside it."""

    id: str
    uri: str
    name: str
    modified_at: datetime | None
    item_id: str | None


@dataclass(slots=True)
class _Family:
    """What becomes of one item: versions of the files inside it, and what could not be read."""

    item: Item
    source: str
    root: str = ""
    until: float = inf
    inside: list[NewVersion] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    seen: int = 0


class DocumentReader:
    """Reads items of one tenant's sources. Safe to use from several threads.

    Args:
        today: what reads documents and decides whether they can be read.
    """

    def __init__(
        self,
        tenant: str,
        parse: Parse,
        chunker: Chunker,
        detector: LanguageDetector,
        *,
        today: Today = Today(),  # noqa: B008  frozen
        item_s: float = ITEM_S,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._tenant = tenant
        self._parse = parse
        self._chunker = chunker
        self._detector = detector
        self.today = today
        self._item_s = item_s
        self._clock = clock

    def read(self, connector: Connector, item: Item) -> Read:
        """What becomes of the item.

        Raises:
            SourceUnavailable, Unavailable: the source or the parsers do not answer; this says nothing of the item.
        """
        identifier = document_id(self._tenant, connector.source, item.item_id)
        family = _Family(item, connector.source, identifier, self._clock() + self._item_s)
        try:
            file = _File(identifier, item.uri, item.name, item.modified_at, item.item_id)
            with collected(partial(connector.fetch, item)) as content:
                version = self._version(file, content, family, nesting=0)
        except (ItemChanged, ItemGone):
            return Read(item)
        except DocumentRefused as refusal:
            return Read(item, refusal=self._refusal(identifier, item.uri, item.item_id, family, refusal))
        return Read(item, replace(version, inside=tuple(family.inside), refused=tuple(family.refused)))

    def _version(self, file: _File, content: Content, family: _Family, nesting: int) -> NewVersion:
        extraction = self._parse(content, file.name)
        chunks = self._chunker.chunk(file.id, extraction, self._detector.detect)
        if not chunks and not extraction.attachments:
            raise DocumentRefused(RefusalReason.NO_TEXT, "there is no text in it")
        about = Document(
            id=file.id,
            tenant=self._tenant,
            source=family.source,
            uri=file.uri,
            title=extraction.title or one_line(file.name),
            media_type=extraction.media_type,
            language=_main_language(chunks) if chunks else "",
            version=content.sha256,
            acl_id=acl_id(self._tenant, family.source, family.item.acl_reference),
            bytes=content.size,
            modified_at=extraction.modified_at or file.modified_at,
            passages=len(chunks),
            author=extraction.author,
            created_at=extraction.created_at,
            parent_id=None if file.id == family.root else family.root,
        )
        for inner, data in _inside(file, extraction.attachments):
            self._read_inside(inner, data, family, nesting + 1)
        return NewVersion(
            about,
            file.item_id,
            family.item.change_token,
            chunks,
            name=file.name,
            read_by=self.today.read_by,
            decided_by=self.today.decided_by,
            unread="; ".join(extraction.notices),
        )

    def _read_inside(self, file: _File, data: bytes, family: _Family, nesting: int) -> None:
        """Adds the file, and all inside it, to the family; one that cannot be read costs only itself."""
        family.seen += 1
        try:
            self._refuse_endless(family, nesting)
            with content_of(data) as content:
                family.inside.append(self._version(file, content, family, nesting))
        except DocumentRefused as refusal:
            family.refused.append(self._refusal(file.id, file.uri, None, family, refusal))

    def _refuse_endless(self, family: _Family, nesting: int) -> None:
        if nesting > MAX_NESTING:
            raise DocumentRefused(RefusalReason.TOO_LARGE, f"it lies more than {MAX_NESTING} files deep")
        if family.seen > MAX_INSIDE:
            raise DocumentRefused(RefusalReason.TOO_LARGE, f"more than {MAX_INSIDE:,} files are in one")
        if self._clock() > family.until:
            told = f"what comes before it in the same file took {self._item_s:.0f} s to read"
            raise DocumentRefused(RefusalReason.TIME_LIMIT, told)

    def _refusal(
        self, identifier: str, uri: str, item_id: str | None, family: _Family, refusal: DocumentRefused
    ) -> Refusal:
        return Refusal(
            document_id=identifier,
            source=family.source,
            item_id=item_id,
            uri=uri,
            change_token=family.item.change_token,
            acl_id=acl_id(self._tenant, family.source, family.item.acl_reference),
            reason=refusal.reason,
            detail=refusal.detail,
            decided_by=self.today.decided_by,
            parent_id=None if identifier == family.root else family.root,
        )


def file_inside(parse: Parse, outer: Document, name: str, content: Content, wanted: Document) -> bytes:
    """The bytes of the document `wanted` inside the listed document `outer`, whose file name and content these are.

    Only the files on the way to it are read: their addresses are the beginning of its own.

    Raises:
        DocumentRefused: there is no such file in it, or it cannot be read any more.
    """
    found = _search(parse, _File(outer.id, outer.uri, name, None, None), content, wanted, nesting=1)
    if found is None:
        raise DocumentRefused(RefusalReason.DAMAGED, "the file is not inside its document any more")
    return found


def _search(parse: Parse, file: _File, content: Content, wanted: Document, nesting: int) -> bytes | None:
    for each, data in _inside(file, parse(content, file.name).attachments):
        if each.id == wanted.id:
            return data
        if nesting < MAX_NESTING and wanted.uri.startswith(each.uri + INSIDE):
            with content_of(data) as inner:
                found = _search(parse, each, inner, wanted, nesting + 1)
            if found is not None:
                return found
    return None


def _inside(file: _File, attachments: Sequence[Attachment]) -> Iterator[tuple[_File, bytes]]:
    """The attachments and their bytes, under ids that depend on names and not on the order, which edits change."""
    occurrences: Counter[str] = Counter()
    for each in attachments:
        name = one_line(each.name)[:MAX_NAME_CHARS] or "unnamed"
        occurrences[name] += 1
        shown = name if occurrences[name] == 1 else f"{name} ({occurrences[name]})"
        identifier = attachment_id(file.id, name, occurrences[name])
        yield _File(identifier, f"{file.uri}{INSIDE}{shown}", name, None, None), each.data


def one_line(name: str) -> str:
    """A file's name without what would disguise it where it is shown (IN-16)."""
    return " ".join(clean(name).split())


def _main_language(chunks: Sequence[Chunk]) -> str:
    lengths: Counter[str] = Counter()
    for chunk in chunks:
        lengths[chunk.language] += len(chunk.text)
    return max(sorted(lengths), key=lambda language: lengths[language])
