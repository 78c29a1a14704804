"""Which groups somebody is in at this moment, by their ids, with a directory that is true for them.

Keycloak names the groups that a person is a direct member of; what holds those groups, and which paths mean them, is in
the catalog. What the catalog has may be older than the answer, and an edge that Keycloak no longer has must not give
anything back. So each group of the answer is held against the catalog: one that is not known in exactly this place is
read anew, with all above it, before anything is decided. What is unknown to Keycloak is held by nobody.

The answer's path shows whatever is moved or renamed above a group, but not another group put there under the same name.
That comes with the events. Where they were not followed for `BEHIND`, what is above a group is read at the question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Protocol

from api.keycloak_realm.live_groups import LiveGroups
from rag.access import principals
from rag.access.groups import Group
from rag.access.principals import Principal
from rag.settings import Settings
from rag.stores.catalog_realm import CatalogRealm

TIMEOUT_S = 2
MOST_SINGLY = 20
"""Beyond so many groups of one person it is quicker to read all that there are."""
BEHIND = timedelta(seconds=60)
"""What is above a group was so that long ago at most."""


class Groups(Protocol):
    """The groups of one realm, as it has them at this moment. Each method raises NotAllowed or Unavailable."""

    def asking_groups_of(self, subject: str) -> AbstractContextManager[Callable[[], Sequence[Group]]]:
        """Asks; what the block is given waits for the groups that the account with this id is a direct member of.

        They are none if there is no such account.
        """

    def upwards(self, identifiers: Iterable[str]) -> Sequence[Group]:
        """The groups with these ids and all above them; ids that there are not are left out."""

    def groups(self) -> Sequence[Group]:
        """Every group of the realm."""


class Memberships:
    """The groups of a realm's people, as principals."""

    def __init__(
        self,
        groups: Groups,
        kept: CatalogRealm,
        realm: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._groups = groups
        self._kept = kept
        self._realm = realm
        self._clock = clock
        self._read_at: dict[str, datetime] = {}  # groups, with all above them, while the directory is behind
        self._mending = Lock()

    @contextmanager
    def asked(self, subject: str) -> Iterator[Callable[[], frozenset[Principal]]]:
        """Asks; what the block is given waits for the groups that the account with this id is in now.

        Raises:
            NotAllowed, Unavailable: Keycloak or the catalog does not say; on asking and on waiting.
        """
        with self._groups.asking_groups_of(subject) as answer:
            yield lambda: self.held(answer())

    def held(self, groups: Sequence[Group]) -> frozenset[Principal]:
        """These groups by their ids, once the catalog has them where Keycloak does.

        Raises:
            NotAllowed, Unavailable: Keycloak or the catalog does not say where they are.
        """
        gone = self._mend(groups) if self._unknown(groups) else set()
        return frozenset(principals.group_by_id(self._realm, each.id) for each in groups if each.id not in gone)

    def _unknown(self, groups: Sequence[Group]) -> list[Group]:
        """Those that the catalog does not have in this place, or in one that nobody has looked at for `BEHIND`."""
        tree = self._kept.tree()
        unseen = self._unseen({each.id for each in groups if each.parent})
        return [each for each in groups if each.id in unseen or not tree.agrees_with(each)]

    def _unseen(self, nested: set[str]) -> set[str]:
        since = self._clock() - BEHIND
        followed = self._kept.followed() if nested else None
        if followed and followed.followed_at > since:
            return set()
        return {each for each in nested if self._read_at.get(each, since) <= since}

    def _mend(self, groups: Sequence[Group]) -> set[str]:
        """Reads those that are unknown anew into the catalog. Those that there are none of any more."""
        with self._mending:
            unknown = self._unknown(groups)  # another thread may have read them meanwhile
            if not unknown:
                return set()
            began, whole = self._clock(), len(unknown) > MOST_SINGLY
            found = self._groups.groups() if whole else self._groups.upwards(each.id for each in unknown)
            tree = self._kept.tree()
            if whole or not all(map(tree.agrees_with, found)):
                self._kept.set_groups(found, whole=whole)
            lately = {each: at for each, at in self._read_at.items() if at > began - BEHIND}
            self._read_at = {**lately, **dict.fromkeys((each.id for each in found), began)}
        return {each.id for each in unknown} - {each.id for each in found}


def open_memberships(settings: Settings, kept: CatalogRealm) -> Memberships | None:
    """Those of the settings' provider; None without one. Asks nobody yet.

    Raises:
        Misconfigured: a setting of the provider is missing or unsafe.
    """
    if not settings.issuer:
        return None
    return Memberships(LiveGroups.of(settings, TIMEOUT_S), kept, settings.realm)
