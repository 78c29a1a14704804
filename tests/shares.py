"""Folders to list, and what a listing says of them."""

from __future__ import annotations

import os
from pathlib import Path

from connectors.base import Item, Listing
from connectors.filesystem import FilesystemConnector
from rag.access.acl import Acl
from rag.access.principals import Principal

LIMIT = 10_000
SECRET = b"secret of the outside"
SALES = Principal("kc:r:group:/sales")
EVERYONE = "kustos_access: 1\nallow: [everyone]\n"
ONLY_SALES = 'kustos_access: 1\ninherit: false\nallow: [{principal: "kc:r:group:/sales"}]\n'


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def connector(root: Path, *, cross_mounts: bool = False) -> FilesystemConnector:
    return FilesystemConnector("share", root, max_bytes=LIMIT, cross_mounts=cross_mounts)


def listed(root: Path) -> Listing:
    return connector(root).list()


def ids(listing: Listing) -> list[str]:
    return [item.item_id for item in listing.items]


def acls(listing: Listing) -> dict[str, Acl]:
    return {item.item_id: listing.acl(item.acl_reference) for item in listing.items}


def problem(listing: Listing, where: str) -> str:
    (detail,) = [each.detail for each in listing.problems if each.where == where]
    return detail


def only(listing: Listing) -> Item:
    (item,) = listing.items
    return item


def into_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)
