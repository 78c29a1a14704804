"""Oracle O2: who may read what, said a second time, from the manual and in other words.

Shares nothing with the product: principals are plain texts, memberships plain pairs, a place is the path that an access
file governs ("" for the root, "a/" for a folder, "a/x.txt" for a file).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

EVERYONE = "sys:everyone-in-tenant"


@dataclass(frozen=True)
class Rights:
    allow: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Sidecar:
    """What an access file says; one that cannot be used is None wherever this type stands."""

    inherit: bool
    rights: Rights


def may_read(own: Set[str], memberships: Iterable[tuple[str, str]], rights: Rights) -> bool:
    """Whether someone with the principals `own` may read; `memberships` are pairs of member and group."""
    held, edges = set(own), tuple(memberships)
    while further := {group for member, group in edges if member in held} - held:
        held |= further
    if held:
        held.add(EVERYONE)
    return not held & rights.deny and bool(held & rights.allow)


def rights_of(path: str, sidecars: Mapping[str, Sidecar | None]) -> Rights:
    """The rights of a document: from the root down, each access file adds to what is above it or begins anew."""
    rights, unknown = Rights(), False
    folders = [path[: at + 1] for at, letter in enumerate(path) if letter == "/"]
    for said in (sidecars[place] for place in ("", *folders, path) if place in sidecars):
        if said is None or (said.inherit and unknown):
            rights, unknown = Rights(), True
        elif said.inherit:
            rights = Rights(rights.allow | said.rights.allow, rights.deny | said.rights.deny)
        else:
            rights, unknown = said.rights, False
    return rights
