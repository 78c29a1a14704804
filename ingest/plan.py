"""What has to be done so that the catalog equals a listing, pure: known state and listing in, plan out.

The plan is carried out in the order of `Plan`'s fields, and may stop anywhere:

1. Rights only shrink until every document lies where it belongs; then what is gone leaves; only then rights grow.
2. No step gives anybody a document that the listing does not give him.
3. Content that was replaced in the source is never shown to a reader who did not have it before: where content and
   rights changed together, and somebody gains, the old version leaves before the new one is read (RC-13).
4. Documents that a listing could not look at, and mass deletions that nobody confirmed (FT-14), are kept and moved to
   a place of nobody, so nothing is lost and nothing is shown; they return without being read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from connectors.base import Item, Listing
from rag.access.acl import Acl
from rag.documents import KnownItem

UNCONFIRMED = "unconfirmed-deletion"
"""Reference of the place that holds documents whose deletion waits for a confirmation. Nobody reads there."""

_FEW = 10  # so many documents may always vanish; small sources could hardly be tidied otherwise


@dataclass(frozen=True, slots=True)
class AccessChange:
    """The new rights of one governing place.

    Attributes:
        tightening: gives nobody anything that he did not have; a place that is new counts, as nothing lies there yet.
    """

    reference: str
    acl: Acl
    tightening: bool


@dataclass(frozen=True, slots=True)
class Regoverned:
    """A document whose content stays and which now lies under another place."""

    document_id: str
    reference: str


@dataclass(frozen=True, slots=True)
class Changed:
    """A known document to be read again. Its old version may stay until the new one is in."""

    document_id: str
    item: Item


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, field by field from the top; see the module for what the order holds.

    Attributes:
        tightening: places that lose readers, and places that are new.
        regoverned: documents to be moved under another place.
        gone: ids of documents to be removed. One of them can come back in `new`: its old version has to leave first.
        loosening: places that gain readers.
        changed, new: items to be read; slow, so they come last.
        unchanged: number of documents whose content and place stay.
        still_refused: number of items that stay as they were refused.
        unavailable: number of known documents that the listing could not look at.
        unconfirmed: number of known documents whose deletion waits for a confirmation.
    """

    tightening: tuple[AccessChange, ...]
    regoverned: tuple[Regoverned, ...]
    gone: tuple[str, ...]
    loosening: tuple[AccessChange, ...]
    changed: tuple[Changed, ...]
    new: tuple[Item, ...]
    unchanged: int
    still_refused: int
    unavailable: int
    unconfirmed: int

    @property
    def access(self) -> tuple[AccessChange, ...]:
        return self.tightening + self.loosening


def plan(
    known: Iterable[KnownItem],
    known_access: Mapping[str, Acl],
    listing: Listing,
    *,
    confirm_deletions: bool = False,
) -> Plan:
    """The plan that turns what the catalog holds of one source into `listing`.

    Args:
        known: the source's documents in the catalog.
        known_access: the source's governing places in the catalog, by reference.
        confirm_deletions: an operator has confirmed that what is missing was deleted.
    """
    documents = tuple(known)
    # A place that documents name and the catalog lacks is a place of nobody.
    held = {document.acl_reference: Acl.nobody() for document in documents} | dict(known_access)
    items = {item.item_id: item for item in listing.items}
    sorting = _Sorting(held, listing)
    for document in documents:
        sorting.add(document, items.pop(document.item_id, None))
    sorting.bury(confirm_deletions, len(documents))
    sorting.new.extend(items.values())
    return sorting.plan()


@dataclass(slots=True)
class _Sorting:
    """Puts every known document where it belongs in the plan."""

    held: Mapping[str, Acl]
    listing: Listing
    missing: list[KnownItem] = field(default_factory=list)
    regoverned: list[Regoverned] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    changed: list[Changed] = field(default_factory=list)
    new: list[Item] = field(default_factory=list)
    unchanged: int = 0
    still_refused: int = 0
    unavailable: int = 0
    unconfirmed: int = 0

    def add(self, document: KnownItem, item: Item | None) -> None:
        if item is not None:
            self._listed(document, item)
        elif (place := self.listing.unavailable_place(document.item_id)) is not None:
            self.unavailable += 1
            self._move(document, place)
        else:
            self.missing.append(document)

    def _listed(self, document: KnownItem, item: Item) -> None:
        differs = document.change_token != item.change_token
        if (differs or document.refused) and not self._only_narrows(document, item):
            self.gone.append(document.document_id)
            self.new.append(item)
            return
        moved = self._move(document, item.acl_reference)
        if differs:
            self.changed.append(Changed(document.document_id, item))
        elif document.refused:
            self.still_refused += 1
        elif not moved:
            self.unchanged += 1

    def _only_narrows(self, document: KnownItem, item: Item) -> bool:
        return narrows(self.listing.acl(item.acl_reference), self.held[document.acl_reference])

    def _move(self, document: KnownItem, reference: str) -> bool:
        if document.acl_reference == reference:
            return False
        self.regoverned.append(Regoverned(document.document_id, reference))
        return True

    def bury(self, confirmed: bool, known: int) -> None:
        """Decides about the documents that are missing. What once waited for a confirmation goes on waiting for it."""
        waiting = sum(document.acl_reference == UNCONFIRMED for document in self.missing)
        fresh = len(self.missing) - waiting
        suspicious = fresh > _FEW and fresh * 2 > known - waiting
        for document in self.missing:
            if confirmed or not (suspicious or document.acl_reference == UNCONFIRMED):
                self.gone.append(document.document_id)
            else:
                self.unconfirmed += 1
                self._move(document, UNCONFIRMED)

    def plan(self) -> Plan:
        tightening, loosening = self._access_changes()
        return Plan(
            tightening=tightening,
            regoverned=tuple(self.regoverned),
            gone=tuple(self.gone),
            loosening=loosening,
            changed=tuple(self.changed),
            new=tuple(self.new),
            unchanged=self.unchanged,
            still_refused=self.still_refused,
            unavailable=self.unavailable,
            unconfirmed=self.unconfirmed,
        )

    def _access_changes(self) -> tuple[tuple[AccessChange, ...], tuple[AccessChange, ...]]:
        """Rights that partly shrink and partly grow appear in both: first the overlap, later the new rights."""
        tightening: list[AccessChange] = []
        loosening: list[AccessChange] = []
        for reference in self._places():
            new = self.listing.acl(reference)
            old = self.held.get(reference)
            first = new if old is None else _overlap(old, new)
            if first != old:
                tightening.append(AccessChange(reference, first, tightening=True))
            if new != first:
                loosening.append(AccessChange(reference, new, tightening=False))
        return tuple(tightening), tuple(loosening)

    def _places(self) -> list[str]:
        """Every place of before and after. One that the listing no longer has becomes nobody's."""
        named = {move.reference for move in self.regoverned} | {item.acl_reference for item in self.listing.items}
        return sorted({*self.held, *self.listing.access, *named})


def narrows(new: Acl, old: Acl) -> bool:
    """Whether `new` permits nobody whom `old` does not permit; by entries, so a false "no" is possible."""
    return not new.allow or (new.allow <= old.allow and new.deny >= old.deny)


def _overlap(old: Acl, new: Acl) -> Acl:
    """Rights that both grant: narrows either."""
    return new if narrows(new, old) else Acl(old.allow & new.allow, old.deny | new.deny)
