"""The access audit: does a service show each user everything that he may read, and nothing else?

Three things are compared that were made independently of each other: what the service finds and opens (`Service`), what
the rule over `metadata.acl` says (`eval.datasets.may_read`), and what the same ranking finds in a corpus that holds
nothing but what the user may read (`Ideal`), so that an access filter that costs good results shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from eval.datasets import AccessSuite, AccessTest, CorpusDocument, Query, User, may_read
from eval.measures import mean_measures
from rag.ports import OnProgress

FIRST = 10


class Opened(Enum):
    """How much reading by id shows of a document."""

    NOTHING = 0
    PARTS = 1
    EVERYTHING = 2


class Service(Protocol):
    """The service under audit, asked as one user after the other."""

    def found(self, user: User, query: Query) -> Sequence[str]:
        """Ids of all documents of the longest search result that the service gives a user, best first."""

    def opened(self, user: User, document: str) -> Opened:
        """What reading by id shows the user of the document."""


class Ideal(Protocol):
    """The same ranking over exactly the documents that a user may read, made without any access filter."""

    def found(self, user: User, query: Query) -> Sequence[str]:
        """Ids of documents, best first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `way` is how it came about: `found`, `opened`, `not found` or `not opened`."""

    way: str
    user: str
    document: str
    test: str | None = None


@dataclass(frozen=True, slots=True)
class AccessReport:
    """What an audit found; right is a report without leaks and without wrong denials.

    Attributes:
        leaks: documents found in a test or opened by id that the user may not read.
        wrongly_denied: gold documents of `allow` tests that do not open, or that the search leaves out of the first 10
            although the ideal has them there.
        recall: of the gold in the first 10, mean over the `allow` tests.
    """

    tests: int
    leaks: tuple[Finding, ...]
    wrongly_denied: tuple[Finding, ...]
    recall: float

    @property
    def clean(self) -> bool:
        return not self.leaks and not self.wrongly_denied

    def as_json(self) -> dict[str, object]:
        return {
            "tests": self.tests,
            "leaks": len(self.leaks),
            "wrongly_denied": len(self.wrongly_denied),
            "recall@10": self.recall,
        }


def audit(suite: AccessSuite, service: Service, ideal: Ideal, on_progress: OnProgress | None = None) -> AccessReport:
    """Runs every test of the suite, and opens every document as every user.

    Raises:
        KustosError: what the service raises; an audit that could not be finished says nothing.
    """
    documents = {each.id: each for each in suite.documents}
    leaks: list[Finding] = []
    denied: list[Finding] = []
    rankings: dict[str, Sequence[str]] = {}
    for user in suite.users:
        opened = {each: service.opened(user, each) for each in documents}
        leaks += [
            Finding("opened", user.id, each.id)
            for each in suite.documents
            if opened[each.id] is not Opened.NOTHING and not may_read(user, each.access)
        ]
        for test in _tests_of(user, suite):
            found = service.found(user, test.query)
            leaks += _leaks(test, found, documents)
            if test.allowed:
                rankings[test.id] = found
                denied += _denied(test, found, opened, ideal)
            if on_progress:
                on_progress(1)
    gold = {each.id: dict.fromkeys(each.gold, 1) for each in suite.tests if each.allowed}
    return AccessReport(len(suite.tests), tuple(leaks), tuple(denied), mean_measures(gold, rankings)["R@10"])


def _tests_of(user: User, suite: AccessSuite) -> Iterator[AccessTest]:
    return (each for each in suite.tests if each.user.id == user.id)


def _leaks(test: AccessTest, found: Sequence[str], documents: Mapping[str, CorpusDocument]) -> Iterator[Finding]:
    for each in found:
        if not may_read(test.user, documents[each].access):
            yield Finding("found", test.user.id, each, test.id)


def _denied(test: AccessTest, found: Sequence[str], opened: Mapping[str, Opened], ideal: Ideal) -> Iterator[Finding]:
    missed = [each for each in test.gold if each not in found[:FIRST]]
    expected = ideal.found(test.user, test.query)[:FIRST] if missed else ()
    for each in test.gold:
        if opened[each] is not Opened.EVERYTHING:
            yield Finding("not opened", test.user.id, each, test.id)
        elif each in missed and each in expected:
            yield Finding("not found", test.user.id, each, test.id)
