"""What the directory remembers of callers, and what it forgets."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Set
from dataclasses import dataclass, field

from rag.access.directory import Directory
from rag.access.principals import EVERYONE_IN_TENANT, Principal, group, user
from rag.access.scope import Caller


@dataclass
class Edges:
    """Nobody is in any group. `asked` tells how many principals each question was about."""

    changes: int = 0
    asked: list[int] = field(default_factory=list)

    def revision(self, tenant: str) -> int:
        return self.changes

    def containers(self, tenant: str, principals: Set[Principal]) -> frozenset[Principal]:
        self.asked.append(len(principals))
        return frozenset()


def caller(name: str, principals: int) -> Caller:
    """Somebody with so many principals, in a set that nobody else holds."""
    groups = (group("acme", f"/{number}") for number in range(principals - 1))
    return Caller("main", name, frozenset([user("acme", name), *groups]))


def test_a_caller_who_comes_again_is_remembered() -> None:
    edges = Edges()
    directory = Directory(edges)
    for name in ("ann", "bob", "ann", "bob"):
        assert directory.widen(caller(name, 3)) == caller(name, 3).principals | {EVERYONE_IN_TENANT}
    assert edges.asked == [3, 3]


def test_what_is_held_is_bounded_by_principals_and_not_by_callers() -> None:
    edges = Edges()
    directory = Directory(edges, most_remembered=2_000)
    sets = []
    for number in range(100):
        who = caller(f"caller {number}", 100)
        sets.append(weakref.ref(who.principals))
        directory.widen(who)
    del who
    gc.collect()
    assert sum(2 * 100 + 1 for each in sets if each() is not None) in range(1_500, 2_001)
    directory.widen(caller("caller 99", 100))
    assert len(edges.asked) == 100


def test_one_caller_with_more_than_is_held_is_widened_each_time() -> None:
    edges = Edges()
    directory = Directory(edges, most_remembered=100)
    for _ in range(2):
        assert len(directory.widen(caller("ann", 60))) == 61
    assert edges.asked == [60, 60]


def test_what_was_remembered_before_a_change_of_memberships_is_let_go() -> None:
    edges = Edges()
    directory = Directory(edges)
    before = caller("ann", 3)
    held = weakref.ref(before.principals)
    directory.widen(before)
    del before
    gc.collect()
    assert held() is not None
    edges.changes += 1
    directory.widen(caller("bob", 3))
    gc.collect()
    assert held() is None
