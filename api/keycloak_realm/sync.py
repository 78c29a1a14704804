"""Keeps the catalog's directory true to the realm: all of it once, then by what its administrators did.

What this brings decides nothing on its own. A person's groups and roles are asked of Keycloak at the question
(introspection, `api.admission.subjects`); from here come the edges between groups, which `memberships` holds against
what Keycloak says at that moment, and the history of who held what, which only explanations read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Protocol

from api.keycloak_realm.administration import Account, AdminEvent, KeycloakAccounts
from rag.access import principals
from rag.access.groups import Group
from rag.access.principals import Principal
from rag.errors import BadPrincipal
from rag.settings import Settings
from rag.stores.catalog_realm import CatalogRealm, Followed

log = logging.getLogger(__name__)

FULL_EVERY = timedelta(days=1)
"""So often everything is read though the events have no gap: what people change themselves, or a directory server
behind Keycloak brings, is no act of an administrator."""
FULL_WITHOUT_EVENTS = timedelta(minutes=10)
OF_SUBJECTS = frozenset({"USER", "GROUP_MEMBERSHIP", "REALM_ROLE_MAPPING", "CLIENT_ROLE_MAPPING"})
ROLES = frozenset({"REALM_ROLE", "CLIENT_ROLE"})
OF_EVERYTHING = frozenset({"REALM", "CLIENT", "COMPONENT"})
"""Kinds of events, by what has to be read again."""
OVERLAP_MS = 10_000
"""So far back events are looked at again: one may be recorded after another that happened later."""
MOST_EVENTS = 10_000
"""Beyond so many it is quicker to read everything."""


class RealmSource(Protocol):
    """A realm, as it is at this moment. Each method raises NotAllowed or Unavailable, iterators in the middle too."""

    def account(self, subject: str) -> Account | None:
        """The account with this id; None if there is none."""

    def groups(self) -> list[Group]:
        """Every group of the realm."""

    def people(self) -> Iterator[list[Account]]:
        """Every account that is enabled, a page at a time."""

    def events_are_kept(self) -> bool:
        """Whether the realm records what its administrators do."""

    def newest_event(self) -> AdminEvent | None:
        """What administrators did last; None where nothing is recorded."""

    def events(self, since_ms: int) -> Iterator[AdminEvent]:
        """What administrators did from that moment of Keycloak's clock on (included), oldest first."""


@dataclass(frozen=True, slots=True)
class Synced:
    """What a sync did: why everything was read (empty if only events were followed), and how much there was."""

    full_because: str
    groups: int
    people: int
    changed: int
    events: int = 0


@dataclass(frozen=True, slots=True)
class Names:
    """What qualifies the principals of a realm: its name in rights, and the client whose roles count."""

    realm: str
    client: str

    def user(self, subject: str) -> Principal:
        return principals.user(self.realm, subject)

    def subject(self, person: Principal) -> str:
        return person.removeprefix(self.user("*").removesuffix("*"))

    def held(self, account: Account) -> frozenset[Principal]:
        """What the account holds beside himself: effective roles, and the groups that he is in, by id.

        Raises:
            BadPrincipal: one of them cannot be written.
        """
        return frozenset(
            {
                *(principals.realm_role(self.realm, name) for name in account.realm_roles),
                *(principals.client_role(self.realm, self.client, name) for name in account.client_roles),
                *(principals.group_by_id(self.realm, group.id) for group in account.groups),
            }
        )


@dataclass(frozen=True, slots=True)
class Work:
    """What has to be read again because of events."""

    everything: bool
    groups: bool
    everybody: bool
    subjects: frozenset[str]


def work_of(events: Collection[AdminEvent]) -> Work:
    """What these events concern. An event says where to look, never what is there: it may be old or out of order."""
    kinds = {each.kind for each in events if each.kind not in ROLES or _changes_a_role(each)}
    beneath = [each.path.split("/") for each in events if each.kind in OF_SUBJECTS]
    of_groups = any(parts[0] == "groups" for parts in beneath)
    return Work(
        everything=bool(kinds & OF_EVERYTHING),
        groups="GROUP" in kinds,
        everybody=of_groups or bool(kinds & ROLES),
        subjects=frozenset(parts[1] for parts in beneath if parts[0] == "users" and len(parts) > 1),
    )


def _changes_a_role(event: AdminEvent) -> bool:
    """A role that has just been made is nobody's yet."""
    return event.operation != "CREATE" or event.path.endswith("/composites")


class RealmSync:
    """Brings one realm into the catalog.

    `forget` is told each subject (`Caller.subject`) whose rights may have changed, or None for everybody's, before the
    catalog follows.
    """

    def __init__(
        self,
        source: RealmSource,
        kept: CatalogRealm,
        names: Names,
        forget: Callable[[str | None], None] = lambda _subject: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._source = source
        self._kept = kept
        self._names = names
        self._forget = forget
        self._clock = clock
        self._seen: frozenset[str] = frozenset()
        self._followed: Followed | None = None  # by this process; each has something of its own to forget

    def run(self, *, full: bool = False) -> Synced:
        """Follows what happened since the last time, or reads everything if that cannot tell.

        Raises:
            NotAllowed, Unavailable: Keycloak or the catalog does not answer; what was not finished is done next time.
        """
        followed = self._so_far()
        if followed is None or full:
            return self._full("asked for" if full else "it was never read")
        age = self._clock() - followed.full_at
        if age >= FULL_EVERY:
            return self._full("a day has passed")
        if self._source.events_are_kept():
            return self._follow(replace(followed, followed_at=self._clock()), self._events(followed.event_ms))
        if age >= FULL_WITHOUT_EVENTS:
            return self._full("the realm keeps no events of its administrators")
        return Synced("", 0, 0, 0)

    def groups(self) -> int:
        """Reads all groups, and no people. How many there are.

        Raises:
            NotAllowed, Unavailable: as above.
        """
        found = self._source.groups()
        self._kept.set_groups(found, whole=True)
        return len(found)

    def _so_far(self) -> Followed | None:
        """How far this process has followed; at first, how far any has. A full reading counts whoever did it."""
        kept = self._kept.followed()
        if kept is None or self._followed is None:
            return kept
        return replace(self._followed, full_at=max(self._followed.full_at, kept.full_at))

    def _full(self, because: str) -> Synced:
        began, newest = self._clock(), self._source.newest_event()
        # From the last event on, and not from now on: Keycloak's clock may be behind this one.
        events = self._events(newest.at_ms) if newest else []
        self._forget(None)
        groups = self.groups()
        people, changed = self._everybody()
        self._note(events, Followed("", 0, began, began))
        return Synced(because, groups, people, changed)

    def _follow(self, followed: Followed, events: list[AdminEvent]) -> Synced:
        """`followed_at` is from before the events were read."""
        names = [each.id for each in events]
        if len(events) > MOST_EVENTS:
            return self._full(f"more than {MOST_EVENTS} events have passed")
        if followed.event_id and followed.event_id not in names:
            return self._full("the last event that was followed is no longer kept")
        if followed.event_id and not self._seen:  # it was the process before this one
            self._seen = frozenset(names[: names.index(followed.event_id) + 1])
        new = [each for each in events if each.id not in self._seen]
        work = work_of(new)
        if work.everything:
            return self._full("the realm itself was changed")
        groups = self.groups() if work.groups else 0
        if work.everybody:
            self._forget(None)
            people, changed = self._everybody()
        else:
            people, changed = len(work.subjects), self._these(work.subjects)
        self._note(events, followed)
        return Synced("", groups, people, changed, len(new))

    def _events(self, since_ms: int) -> list[AdminEvent]:
        return list(islice(self._source.events(max(0, since_ms - OVERLAP_MS)), MOST_EVENTS + 1))

    def _note(self, events: list[AdminEvent], followed: Followed) -> None:
        """What was read before these events' work began is true up to the last of them."""
        self._seen = frozenset(each.id for each in events)
        if events:
            followed = replace(followed, event_id=events[-1].id, event_ms=events[-1].at_ms)
        self._followed = followed
        self._kept.set_followed(followed)

    def _everybody(self) -> tuple[int, int]:
        """Reads all accounts, one page in memory at a time. How many hold something, and how many had changed."""
        seen: set[Principal] = set()
        changed = 0
        for page in self._source.people():
            held = {self._names.user(each.id): self._held(each) for each in page}
            changed += self._kept.set_people(held)
            seen |= held.keys()
        # A page shifts when somebody before it leaves, and then one is missed: so who is missing is asked about.
        missing = [self._names.subject(each) for each in self._kept.people() - seen]
        changed += self._these(missing)
        return len(self._kept.people()), changed

    def _these(self, subjects: Iterable[str]) -> int:
        changed = 0
        for subject in sorted(subjects):
            person = self._names.user(subject)
            self._forget(person)
            account = self._source.account(subject)
            held = self._held(account) if account and account.enabled else frozenset()
            changed += self._kept.set_people({person: held})
        return changed

    def _held(self, account: Account) -> frozenset[Principal]:
        try:
            return self._names.held(account)
        except BadPrincipal as error:
            log.warning("what the account %s holds cannot be written, so he reads nothing: %s", account.id, error)
            return frozenset()


def open_sync(
    settings: Settings, kept: CatalogRealm, forget: Callable[[str | None], None] = lambda _subject: None
) -> RealmSync:
    """For the realm of the settings' provider.

    Raises:
        Misconfigured: there is none, or a setting of it is missing or unsafe.
    """
    return RealmSync(KeycloakAccounts.of(settings), kept, Names(settings.realm, settings.audience), forget)
