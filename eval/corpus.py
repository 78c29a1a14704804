"""A corpus as a source: every document an item, `metadata.acl` as its governing place."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from connectors.base import AccessEntry, Item, Listing, Sink
from eval.datasets import CorpusDocument, DocumentAccess, User
from ingest.content import Content
from ingest.extraction import Element, ElementKind, Extraction, finished
from rag.access import principals
from rag.access.acl import Acl
from rag.access.principals import Principal

SOURCE = "corpus"
REALM = "eval"
EVERYONE = "everyone"
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class Corpus:
    """A connector (`connectors.base.Connector`) over documents in memory.

    With `open_to_all` everyone in the tenant may read everything; otherwise each document goes to whom its
    `metadata.acl` names, in the terms that `principal_of` and `memberships` give the users.
    """

    source = SOURCE

    def __init__(self, documents: Iterable[CorpusDocument], *, open_to_all: bool) -> None:
        self._documents = {each.id: each for each in documents}
        self._open_to_all = open_to_all

    @property
    def ids(self) -> Iterable[str]:
        """Ids of the documents, as the corpus has them."""
        return self._documents.keys()

    def list(self, cursor: str = "") -> Listing:
        """Every document, in the order of the corpus."""
        access = {self._place(each): self._entry(each) for each in self._documents.values()}
        return Listing(tuple(map(self._item, self._documents.values())), access)

    def fetch(self, item: Item, into: Sink) -> None:
        """The document as JSON, which `parse` reads."""
        into.write(_json(self._documents[item.item_id]))

    def watch(self, stop: threading.Event, interval_s: float) -> Iterator[None]:
        """Nothing: a corpus does not change."""
        return iter(())

    def _place(self, document: CorpusDocument) -> str:
        if self._open_to_all:
            return EVERYONE
        access = document.access
        return json.dumps([sorted(access.groups), sorted(access.users), sorted(access.deny)], ensure_ascii=False)

    def _entry(self, document: CorpusDocument) -> AccessEntry:
        acl = Acl.of(allow={principals.EVERYONE_IN_TENANT}) if self._open_to_all else acl_of(document.access)
        return AccessEntry(self._place(document), acl, origin="metadata.acl")

    def _item(self, document: CorpusDocument) -> Item:
        content = _json(document)
        return Item(
            item_id=document.id,
            uri=document.id,
            name=document.title or document.id,
            modified_at=_LONG_AGO,
            change_token=hashlib.sha256(content).hexdigest(),
            acl_reference=self._place(document),
        )


def parse(content: Content, name: str) -> Extraction:
    """A document of the corpus, its title as heading. Takes the place of the file parsers: there is no file format."""
    document = json.loads(content.read())
    heading = Element(ElementKind.HEADING, document["title"], level=1)
    text = Element(ElementKind.PARAGRAPH, document["text"])
    return finished(Extraction(name, (heading, text), "text/plain"))


def acl_of(access: DocumentAccess) -> Acl:
    """`metadata.acl` in principals. A name in `deny` may be a user's or a group's, so it denies both."""
    groups, users = set(map(_group, access.groups)), set(map(_user, access.users))
    return Acl.of(allow=groups | users, deny={form(each) for each in access.deny for form in (_group, _user)})


def principal_of(user: User) -> Principal:
    return _user(user.id)


def memberships(users: Sequence[User]) -> list[tuple[Principal, Principal]]:
    """Member and group, for the directory: rights are resolved at the question, as they are in service."""
    return [(_user(user.id), _group(group)) for user in users for group in sorted(user.groups)]


def _user(name: str) -> Principal:
    return principals.user(REALM, name)


def _group(name: str) -> Principal:
    return principals.group(REALM, f"/{name}")


def _json(document: CorpusDocument) -> bytes:
    return json.dumps({"title": document.title, "text": document.text}, ensure_ascii=False).encode()
