"""A source in memory, a parser of lines, and parts that tell what was asked of them: for tests of the writing path."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

from connectors.base import AccessEntry, Connector, Item, ItemGone, Listing, Sink
from ingest.chunking import Chunker
from ingest.content import Content
from ingest.extraction import Attachment, Element, ElementKind, Extraction, finished
from rag.access.acl import Acl
from rag.errors import DocumentRefused, RefusalReason

SOURCE = "share"
UNREADABLE = "?"
_THEN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class MemorySource:
    """Documents by name, each under a place with rights (`connectors.base.Connector`).

    Attributes:
        failures: what fetching a document raises, by name.
        unavailable: folders ("name/") that cannot be listed; what is known there goes to nobody.
        down: what listing raises.
    """

    source: str = SOURCE
    rights: dict[str, Acl] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)
    unavailable: list[str] = field(default_factory=list)
    down: Exception | None = None
    fetched: list[str] = field(default_factory=list)
    _items: dict[str, tuple[Item, bytes]] = field(default_factory=dict)
    _edits: int = 0

    def write(self, name: str, text: str, place: str = "p", *, inside: Iterable[str] = ()) -> None:
        """`inside`: lines made by `attached`."""
        self._edits += 1
        text = "\n".join((text, *inside))
        token, data = str(self._edits), text.encode()
        item = Item(name, f"file://{self.source}/{name}", name, _THEN, token, place)
        self._items[name] = (item, data)
        self.rights.setdefault(place, Acl.nobody())

    def move(self, name: str, place: str) -> None:
        """Under another place, with the content and the change token as they were."""
        token = self._items[name][0].change_token
        self.write(name, self._items[name][1].decode(), place)
        item, data = self._items[name]
        self._items[name] = (_with_token(item, token), data)

    def delete(self, name: str) -> None:
        del self._items[name]

    def list(self, cursor: str = "") -> Listing:
        if self.down is not None:
            raise self.down
        listed = [item for name, (item, _) in self._items.items() if not name.startswith(tuple(self.unavailable))]
        access = {place: AccessEntry(place, acl, place) for place, acl in self.rights.items()}
        closed = {each: AccessEntry(each, Acl.nobody(), each, "cannot be opened") for each in self.unavailable}
        return Listing(tuple(listed), access | closed, unavailable={each: each for each in self.unavailable})

    def fetch(self, item: Item, into: Sink) -> None:
        self.fetched.append(item.item_id)
        if item.item_id in self.failures:
            raise self.failures[item.item_id]
        if item.item_id not in self._items:
            raise ItemGone(item.item_id)
        into.write(self._items[item.item_id][1])

    def watch(self, stop: threading.Event, interval_s: float) -> Iterator[None]:
        return iter(())


def _with_token(item: Item, token: str) -> Item:
    return Item(item.item_id, item.uri, item.name, item.modified_at, token, item.acl_reference)


def parse_lines(content: Content, name: str) -> Extraction:
    """Every line a paragraph, an attachment (`attached`) or, after a minus, what is left unread; `UNREADABLE` is."""
    text = content.read().decode()
    if text == UNREADABLE:
        raise DocumentRefused(RefusalReason.DAMAGED, name)
    lines = text.splitlines()
    inside = tuple(Attachment(*json.loads(line)) for line in lines if line.startswith("["))
    attachments = tuple(replace(each, data=str(each.data).encode()) for each in inside)
    paragraphs = tuple(Element(ElementKind.PARAGRAPH, line) for line in lines if not line.startswith(("[", "-")))
    notices = tuple(line[1:] for line in lines if line.startswith("-"))
    return finished(Extraction("", paragraphs, "text/plain", attachments=attachments, notices=notices))


def attached(name: str, *lines: str) -> str:
    """A line of a document that stands for a file inside it, with these lines."""
    return json.dumps([name, "\n".join(lines)])


def chunker_by_line() -> Chunker:
    """One chunk a line: two lines never fit."""
    return Chunker(lambda part: 40 * sum(bool(line.strip()) for line in part.splitlines()), max_tokens=64)


def fetched(connector: Connector, item: Item) -> bytes:
    """All that the connector writes of an item."""
    into = BytesIO()
    connector.fetch(item, into)
    return into.getvalue()


class Watched:
    """A part of the product, passed on call by call; `before` and `after` hear of each and may raise."""

    def __init__(self, part: Any, before: Callable[[str, Any], None], after: Callable[[str, Any], None]) -> None:
        self._part = part
        self._before = before
        self._after = after

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._part, name)
        if not callable(inner) or name == "count_tokens":  # counting happens in reader threads, in no fixed order
            return inner

        def call(*arguments: Any) -> Any:
            self._before(name, arguments)
            result = inner(*arguments)
            self._after(name, arguments)
            return result

        return call
