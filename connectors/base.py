"""What a source looks like from the inside: one port, and the frozen values that cross it.

A connector lists a source with its rights and reads single items. It knows nothing of catalog, index or callers. Rules:

1. Listing and rights come together: every item names the place that governs it, every place has an ACL.
2. Unknown means nobody: rights that are missing, unreadable or not understood are `Acl.nobody()` with a problem beside.
3. Unavailable is not empty: a source that cannot be listed raises, and nothing is concluded from it; a part of a source
   that cannot be listed is named in `Listing.unavailable`, its items are kept and shown to nobody.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from typing import Protocol

from rag.access.acl import Acl
from rag.errors import KustosError


class ItemChanged(KustosError):
    """The item is not what the listing saw, or changed under the reader. Its next listing tells."""

    code = "item_changed"


class ItemGone(KustosError):
    """The item vanished between listing and reading. Its next listing tells whether for good."""

    code = "item_gone"


@dataclass(frozen=True, slots=True)
class Item:
    """One document as its source lists it.

    Attributes:
        item_id: the source's own id of it, encodable as UTF-8; see the connector for what it survives.
        uri: what a reader sees as its place; never a path or address of the server.
        name: for display, Unicode NFC; never an identity.
        change_token: opaque; differs whenever the content may have changed.
        acl_reference: the place that governs it, a key of `Listing.access`. Many items share one, because taking a
            right away is one row in the catalog per governing place (`rag.documents.acl_id`).
    """

    item_id: str
    uri: str
    name: str
    modified_at: datetime
    change_token: str
    acl_reference: str


@dataclass(frozen=True, slots=True)
class AccessEntry:
    """The rights of one governing place, inheritance already applied.

    Attributes:
        origin: what in the source they come from, nearest first; for `explain` and for administrators.
        problem: why they are not what the source may have meant; with a problem the ACL is always nobody's.
    """

    reference: str
    acl: Acl
    origin: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the source that an administrator should look at. `where` is a place in the source."""

    where: str
    detail: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A whole source at one moment.

    Attributes:
        access: governing places by reference, with every `Item.acl_reference` among them.
        unavailable: prefixes of item ids that could not be listed, each to the reference (of nobody) that governs what
            is known there. Absence below such a prefix means nothing.
        cursor: to be kept with the work that this listing causes and given to the next `Connector.list`.
    """

    items: tuple[Item, ...]
    access: Mapping[str, AccessEntry]
    problems: tuple[Problem, ...] = ()
    unavailable: Mapping[str, str] = field(default_factory=dict)
    cursor: str = ""

    def acl(self, reference: str) -> Acl:
        """Rights of a place; nobody's where the listing does not know it."""
        entry = self.access.get(reference)
        return entry.acl if entry else Acl.nobody()

    def fingerprint(self) -> str:
        """sha256 hex over items, places and cursor: a listing with the same one asks for the same work."""
        items = [(each.item_id, each.change_token, each.acl_reference) for each in self.items]
        places = [(each.reference, each.acl.fingerprint(), each.origin, each.problem) for each in self.access.values()]
        told = json.dumps((items, sorted(places, key=itemgetter(0)), sorted(self.unavailable.items()), self.cursor))
        return hashlib.sha256(told.encode()).hexdigest()

    def unavailable_place(self, item_id: str) -> str | None:
        """Reference that governs an item which could not be listed; None where the listing covers the item."""
        return next((place for prefix, place in self.unavailable.items() if item_id.startswith(prefix)), None)


class Sink(Protocol):
    """Where the content of an item goes."""

    def write(self, piece: bytes, /) -> object:
        """Takes the next piece."""


class Connector(Protocol):
    """One source of documents with rights. Stateless between calls; safe to use from several threads."""

    @property
    def source(self) -> str:
        """Name of the source, unique in the tenant."""

    def list(self, cursor: str = "") -> Listing:
        """Everything in the source, now.

        Args:
            cursor: `Listing.cursor` of the last listing that was applied; empty the first time.

        Raises:
            SourceUnavailable: the source cannot be listed, or looks like something else than what was listed before.
        """

    def fetch(self, item: Item, into: Sink) -> None:
        """Writes the content of exactly the state that was listed, piece by piece. Pieces before an error are void.

        Raises:
            ItemChanged: it changed since the listing, or while it was read.
            ItemGone: it is not there any more.
            DocumentRefused: larger than the limit (TOO_LARGE), or this process may not read it (UNREADABLE).
            SourceUnavailable: the source as a whole does not answer.
        """

    def watch(self, stop: threading.Event, interval_s: float) -> Iterator[None]:
        """Yields when a new listing may be worth while: after changes, and every `interval_s` seconds in any case.

        Yields at once when it has begun to watch, and whenever it has begun anew: what changed before, no watch saw.
        Only a hint, because watches lose events and see nothing of remote changes; the listing is the truth. Ends soon
        after `stop` is set.

        Raises:
            SourceUnavailable: the source cannot be watched.
        """
