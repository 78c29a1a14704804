"""Groups of a realm by their own id, and which of them a path in somebody's rights means. Pure: no I/O.

A path is a name, and names are given away: a group can be renamed, moved, deleted and made anew, and a slash in a name
makes two paths one. So a right for a path means the group that had that path when Kustos first saw it, and goes on to
mean that one: whoever takes the path later gets nothing by it until an operator binds it anew (RM-04, RM-05). A group
under a name with a slash, its own or above it, is meant by no path at all (RM-02).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from rag.access import principals
from rag.access.principals import MAX_LENGTH, Principal
from rag.errors import BadPrincipal

Edge = tuple[Principal, Principal]
"""Member, and the group that holds it."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group as its realm has it. `parent` is the id of the group above it; None at the top."""

    id: str
    name: str
    path: str
    parent: str | None


@dataclass(frozen=True, slots=True)
class Drift:
    """A path whose group is not called so any more.

    Attributes:
        now: path of the group that rights for `path` mean; None where that group is gone.
        taken_by: id of another group that has the path now; None where none has.
    """

    path: str
    group_id: str
    now: str | None
    taken_by: str | None


@dataclass(frozen=True, slots=True)
class GroupTree:
    """All that is known of a realm's groups: each by its id, and for each path the id of the group that it means."""

    groups: Mapping[str, Group]
    bound: Mapping[str, str]

    def with_groups(self, found: Iterable[Group], *, whole: bool) -> GroupTree:
        """With these as they are now, and their paths bound where none was; `whole`: there are no others."""
        groups = {**({} if whole else self.groups), **{each.id: each for each in found}}
        tree = replace(self, groups=groups)
        named = {each.path: each.id for each in groups.values() if tree.is_named(each)}
        return replace(tree, bound={**named, **self.bound})

    def rebound(self, path: str) -> GroupTree:
        """With `path` meaning the group that has it now; meaning none where no group has."""
        bound = {each: group for each, group in self.bound.items() if each != path}
        return replace(self, bound=bound).with_groups((), whole=False)

    def agrees_with(self, group: Group) -> bool:
        """Whether the group is known exactly so: under this name, path and parent."""
        return self.groups.get(group.id) == group

    def is_named(self, group: Group) -> bool:
        """Whether the group's path can only be its own, and can be written as a principal."""
        above = list(self._upwards(group))
        names = [each.name for each in above]
        return (
            above[-1].parent is None
            and group.path == "/" + "/".join(reversed(names))
            and not any("/" in name for name in names)
            and _is_writable(group.path)
        )

    def edges(self, realm: str) -> set[Edge]:
        """What holds what: a group the groups below it, and each path the group that it means."""
        below = {
            (principals.group_by_id(realm, each.id), principals.group_by_id(realm, each.parent))
            for each in self.groups.values()
            if each.parent is not None
        }
        meant = {
            (principals.group_by_id(realm, group), principals.group(realm, path))
            for path, group in self.bound.items()
            if group in self.groups
        }
        return below | meant

    def why_in_vain(self, realm: str, principal: str) -> str | None:
        """Why nobody can hold this principal of Keycloak's, as far as its name and the groups say; None if some may."""
        ours = principals.user(realm, "*").removesuffix("user:*")
        of_group = f"{ours}group:"
        if principal.startswith("kc:") and not principal.startswith(ours):
            return f"is not of the realm {realm} (KUSTOS_REALM)"
        if not principal.startswith(of_group):
            return None
        meant = self.bound.get(principal.removeprefix(of_group))
        if meant is None:
            return "is none of Keycloak's groups; capitals and the leading slash count"
        return None if meant in self.groups else "means a group that is gone; see what kustos doctor says of its path"

    def drifts(self) -> list[Drift]:
        """Every path that means a group which is not called so any more, in order."""
        at = {each.path: each.id for each in self.groups.values() if self.is_named(each)}
        found = []
        for path, group in sorted(self.bound.items()):
            if at.get(path) != group:
                now = self.groups[group].path if group in self.groups else None
                found.append(Drift(path, group, now, at.get(path)))
        return found

    def _upwards(self, group: Group) -> Iterator[Group]:
        """The group, and those above it as far as they are known."""
        seen: set[str] = set()
        each: Group | None = group
        while each is not None and each.id not in seen:
            yield each
            seen.add(each.id)
            each = self.groups.get(each.parent) if each.parent else None


def _is_writable(path: str) -> bool:
    try:
        return len(principals.group("r", path)) <= MAX_LENGTH
    except BadPrincipal:
        return False
