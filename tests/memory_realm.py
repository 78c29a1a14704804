"""A realm in memory: people, groups and the events of its administrators, as Keycloak would tell of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from api.keycloak_realm.administration import Account, AdminEvent
from rag.access.groups import Group
from rag.errors import Unavailable

PAGE = 2


@dataclass
class MemoryRealm:
    """Changes through its methods leave an event, as an administrator's do. `asked` tells what was read.

    Attributes:
        keeps_events: whether changes leave one.
        down: whether every question fails.
        hidden: ids that the next listing of people leaves out, as a shifted page does.
        broken: what every question raises, where it is a fault of ours.
    """

    accounts: dict[str, Account] = field(default_factory=dict)
    groups_by_id: dict[str, Group] = field(default_factory=dict)
    recorded: list[AdminEvent] = field(default_factory=list)
    keeps_events: bool = True
    down: bool = False
    broken: Exception | None = None
    hidden: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    now_ms: int = 1_795_000_000_000
    made: int = 0

    def group(self, name: str, parent: str | None = None, identifier: str = "") -> str:
        """A new group; its id."""
        self.made += 1
        made = Group(identifier or f"g{self.made}", name, "", parent)
        self.groups_by_id[made.id] = made
        self._path()
        self._happened("GROUP", "CREATE", f"groups/{made.id}")
        return made.id

    def rename(self, identifier: str, name: str) -> None:
        self.groups_by_id[identifier] = replace(self.groups_by_id[identifier], name=name)
        self._path()
        self._happened("GROUP", "UPDATE", f"groups/{identifier}")

    def move(self, identifier: str, parent: str | None) -> None:
        self.groups_by_id[identifier] = replace(self.groups_by_id[identifier], parent=parent)
        self._path()
        self._happened("GROUP", "UPDATE", f"groups/{parent}/children" if parent else "groups")

    def drop(self, identifier: str) -> None:
        del self.groups_by_id[identifier]
        for each in self.accounts.values():
            left = tuple(group for group in each.groups if group.id != identifier)
            self.accounts[each.id] = replace(each, groups=left)
        self._happened("GROUP", "DELETE", f"groups/{identifier}")

    def person(self, subject: str, *groups: str, roles: tuple[str, ...] = ()) -> None:
        held = tuple(self.groups_by_id[each] for each in groups)
        self.accounts[subject] = Account(subject, f"name-{subject}", True, frozenset(roles), frozenset(), held)
        self._happened("USER", "CREATE", f"users/{subject}")

    def join(self, subject: str, group: str) -> None:
        self._change(subject, groups=(*self.accounts[subject].groups, self.groups_by_id[group]))
        self._happened("GROUP_MEMBERSHIP", "CREATE", f"users/{subject}/groups/{group}")

    def leave(self, subject: str, group: str) -> None:
        self._change(subject, groups=tuple(each for each in self.accounts[subject].groups if each.id != group))
        self._happened("GROUP_MEMBERSHIP", "DELETE", f"users/{subject}/groups/{group}")

    def disable(self, subject: str) -> None:
        self._change(subject, enabled=False)
        self._happened("USER", "UPDATE", f"users/{subject}")

    def dismiss(self, subject: str) -> None:
        del self.accounts[subject]
        self._happened("USER", "DELETE", f"users/{subject}")

    def give_to_group(self, role: str, group: str) -> None:
        """A role for everybody in a group, which Keycloak counts among theirs."""
        for each in self.accounts.values():
            if group in {held.id for held in each.groups}:
                self._change(each.id, realm_roles=each.realm_roles | {role})
        self._happened("REALM_ROLE_MAPPING", "CREATE", f"groups/{group}/role-mappings/realm")

    def _change(self, subject: str, **changes: object) -> None:
        self.accounts[subject] = replace(self.accounts[subject], **changes)  # type: ignore[arg-type]

    def _path(self) -> None:
        for each in list(self.groups_by_id.values()):
            names, above = [each.name], each.parent
            while above:
                names.append(self.groups_by_id[above].name)
                above = self.groups_by_id[above].parent
            self.groups_by_id[each.id] = replace(each, path="/" + "/".join(reversed(names)))
        for account in list(self.accounts.values()):
            self._change(account.id, groups=tuple(self.groups_by_id[each.id] for each in account.groups))

    def happened(self, kind: str, operation: str = "UPDATE", path: str = "") -> None:
        """An event of any kind."""
        self._happened(kind, operation, path)

    def _happened(self, kind: str, operation: str, path: str) -> None:
        self.now_ms += 1
        if self.keeps_events:
            self.recorded.append(AdminEvent(f"event {self.now_ms}", self.now_ms, kind, operation, path))

    def account(self, subject: str) -> Account | None:
        self._ask(f"account {subject}")
        return self.accounts.get(subject)

    def named(self, name: str) -> str | None:
        self._ask(f"named {name}")
        return next((each.id for each in self.accounts.values() if each.name == name), None)

    def groups(self) -> list[Group]:
        self._ask("groups")
        return list(self.groups_by_id.values())

    def groups_of(self, subject: str) -> list[Group]:
        self._ask(f"groups of {subject}")
        return list(self.accounts[subject].groups) if subject in self.accounts else []

    @contextmanager
    def asking_groups_of(self, subject: str) -> Iterator[Callable[[], list[Group]]]:
        yield lambda: self.groups_of(subject)

    def upwards(self, identifiers: Iterable[str]) -> list[Group]:
        found: dict[str, Group] = {}
        for each in identifiers:
            self._ask(f"upwards {each}")
            at = self.groups_by_id.get(each)
            while at:
                found[at.id] = at
                at = self.groups_by_id[at.parent] if at.parent else None
        return list(found.values())

    def people(self) -> Iterator[list[Account]]:
        self._ask("people")
        listed = [each for each in self.accounts.values() if each.enabled and each.id not in self.hidden]
        self.hidden.clear()
        for at in range(0, len(listed), PAGE):
            self._ask("page of people")
            yield listed[at : at + PAGE]

    def events_are_kept(self) -> bool:
        self._ask("events are kept")
        return self.keeps_events

    def newest_event(self) -> AdminEvent | None:
        self._ask("newest event")
        return self.recorded[-1] if self.recorded else None

    def events(self, since_ms: int) -> Iterator[AdminEvent]:
        self._ask("events")
        yield from (each for each in self.recorded if each.at_ms >= since_ms)

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.broken:
            raise self.broken
        if self.down:
            raise Unavailable("Keycloak cannot be asked")
