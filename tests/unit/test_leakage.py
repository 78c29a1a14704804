"""The audit finds every leak and every wrong denial that is planted, and no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from eval.corpus import acl_of, memberships, principal_of
from eval.datasets import AccessSuite, AccessTest, CorpusDocument, DocumentAccess, Query, User, may_read
from eval.leakage import Finding, Opened, audit
from rag.access.acl import permits

EVA, TOM = User("eva", frozenset({"staff", "hr"})), User("tom", frozenset({"staff"}))
OPEN, PAY, SECRET = (
    CorpusDocument("open", "", "canteen", DocumentAccess(groups=frozenset({"staff"}))),
    CorpusDocument("pay", "", "salaries", DocumentAccess(groups=frozenset({"hr"}))),
    CorpusDocument("secret", "", "nobody's"),
)
FOOD, MONEY = Query("food", "what do we eat?"), Query("money", "who earns what?")
SUITE = AccessSuite(
    "small",
    (OPEN, PAY, SECRET),
    (EVA, TOM),
    (
        AccessTest("eva-money", MONEY, EVA, True, ("pay",)),
        AccessTest("tom-money", MONEY, TOM, False, ("pay",)),
        AccessTest("tom-food", FOOD, TOM, True, ("open",)),
    ),
)
RIGHT = {("eva", "money"): ["pay", "open"], ("tom", "money"): ["open"], ("tom", "food"): ["open"]}
OPENED = dict.fromkeys([("eva", "open"), ("eva", "pay"), ("tom", "open")], Opened.EVERYTHING)


@dataclass
class Fake:
    """A service, or an ideal, that answers from tables."""

    finds: Mapping[tuple[str, str], Sequence[str]] = field(default_factory=lambda: RIGHT)
    openable: Mapping[tuple[str, str], Opened] = field(default_factory=lambda: OPENED)

    def found(self, user: User, query: Query) -> Sequence[str]:
        return self.finds[user.id, query.id]

    def opened(self, user: User, document: str) -> Opened:
        return self.openable.get((user.id, document), Opened.NOTHING)


def test_a_right_service_is_clean() -> None:
    report = audit(SUITE, Fake(), Fake())
    assert report.clean
    assert report.as_json() == {"tests": 3, "leaks": 0, "wrongly_denied": 0, "recall@10": 1.0}


def test_a_closed_document_in_a_search_is_a_leak_even_at_rank_50() -> None:
    deep = [*["open"] * 49, "pay"]
    report = audit(SUITE, Fake(RIGHT | {("tom", "food"): deep}), Fake())
    assert report.leaks == (Finding("found", "tom", "pay", "tom-food"),)


def test_a_document_for_nobody_is_a_leak_for_everybody() -> None:
    report = audit(SUITE, Fake(RIGHT | {("eva", "money"): ["pay", "secret"]}), Fake())
    assert report.leaks == (Finding("found", "eva", "secret", "eva-money"),)


@pytest.mark.parametrize("shown", [Opened.PARTS, Opened.EVERYTHING])
def test_a_closed_document_that_opens_by_id_is_a_leak_though_no_test_asks_for_it(shown: Opened) -> None:
    report = audit(SUITE, Fake(openable=OPENED | {("tom", "secret"): shown}), Fake())
    assert report.leaks == (Finding("opened", "tom", "secret"),)


@pytest.mark.parametrize("shown", [Opened.NOTHING, Opened.PARTS])
def test_gold_that_does_not_open_is_wrongly_denied(shown: Opened) -> None:
    report = audit(SUITE, Fake(openable=OPENED | {("eva", "pay"): shown}), Fake())
    assert report.wrongly_denied == (Finding("not opened", "eva", "pay", "eva-money"),)
    assert not report.clean


def test_gold_that_the_filter_costs_is_wrongly_denied_and_lowers_recall() -> None:
    report = audit(SUITE, Fake(RIGHT | {("eva", "money"): ["open"]}), Fake())
    assert report.wrongly_denied == (Finding("not found", "eva", "pay", "eva-money"),)
    assert report.recall == 0.5


def test_gold_behind_the_first_ten_is_wrongly_denied_where_the_ideal_has_it_among_them() -> None:
    late = [*(f"other-{n}" for n in range(10)), "open"]
    suite = AccessSuite("late", (*SUITE.documents, *_open_documents(late[:10])), SUITE.users, SUITE.tests)
    report = audit(suite, Fake(RIGHT | {("tom", "food"): late}), Fake())
    assert report.wrongly_denied == (Finding("not found", "tom", "open", "tom-food"),)


def test_gold_that_the_ranking_itself_misses_is_not_denied_but_costs_recall() -> None:
    missing = Fake(RIGHT | {("eva", "money"): ["open"]})
    report = audit(SUITE, missing, missing)
    assert (report.wrongly_denied, report.recall) == ((), 0.5)


def test_the_other_half_of_a_deny_test_may_be_found() -> None:
    both = AccessTest("tom-both", FOOD, TOM, False, ("open", "pay"))
    report = audit(AccessSuite("both", SUITE.documents, SUITE.users, (*SUITE.tests, both)), Fake(), Fake())
    assert report.clean


def _open_documents(ids: Sequence[str]) -> list[CorpusDocument]:
    return [CorpusDocument(each, "", "", OPEN.access) for each in ids]


RULES = {
    "group": (DocumentAccess(groups=frozenset({"hr"})), True, False),
    "user": (DocumentAccess(users=frozenset({"tom"})), False, True),
    "group or user": (DocumentAccess(groups=frozenset({"hr"}), users=frozenset({"tom"})), True, True),
    "group without a user": (DocumentAccess(groups=frozenset({"staff"}), deny=frozenset({"tom"})), True, False),
    "group without a group": (DocumentAccess(groups=frozenset({"staff"}), deny=frozenset({"hr"})), False, True),
    "user denied by name": (DocumentAccess(users=frozenset({"tom"}), deny=frozenset({"tom"})), False, False),
    "a group with a user's name": (DocumentAccess(groups=frozenset({"tom"})), False, False),
    "a user with a group's name": (DocumentAccess(users=frozenset({"staff"})), False, False),
    "nobody": (DocumentAccess(), False, False),
}


@pytest.mark.parametrize(("access", "eva", "tom"), RULES.values(), ids=RULES.keys())
def test_the_reference_rule_and_the_rights_given_to_the_service_say_the_same(
    access: DocumentAccess, eva: bool, tom: bool
) -> None:
    assert (may_read(EVA, access), may_read(TOM, access)) == (eva, tom)
    for user, expected in ((EVA, eva), (TOM, tom)):
        held = {principal_of(user), *(group for member, group in memberships([user]))}
        assert permits(held, acl_of(access)).allowed is expected
