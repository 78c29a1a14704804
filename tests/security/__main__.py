"""Executes the catalogue of attacks and faults, and prints what came of each case.

    make security [LONG=1]
    .venv/bin/python -m tests.security [options of pytest]

Runs every test of `tests/` that is named after a case, and no other. Writes build/security.md and build/security.json. The exit
status is 1 if a test fails, if a case is executed by no test and does not say why, or if all tests of a case were skipped.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.security.catalogue import Case, cases, faults, named

BUILD = Path("build")
SIDE_BY_SIDE = ("-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder")
"""A file stays in one process, and files go out in their order: sorted by number of tests, the longest test would begin last."""


class Executed:
    """A plugin of pytest that remembers what came of each test, and why some were skipped."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.reasons = Counter[str]()

    @property
    def cases(self) -> Mapping[str, tuple[str, ...]]:
        """Cases by the test that executes them."""
        return {each: named(each.partition("[")[0].rpartition("::")[2]) for each in self.outcomes}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        worst = {"passed": 0, "skipped": 1, "failed": 2}
        outcome = self.outcomes.get(report.nodeid, "passed")
        self.outcomes[report.nodeid] = max(outcome, report.outcome, key=worst.__getitem__)
        if report.skipped and isinstance(report.longrepr, tuple | list):
            self.reasons[str(report.longrepr[2])] += 1


@dataclass(frozen=True)
class Row:
    """What came of one case."""

    case: Case
    outcomes: Mapping[str, int]
    files: tuple[str, ...]

    @property
    def result(self) -> str:
        if not self.outcomes:
            return "waits" if self.case.waits else "NOT EXECUTED"
        if self.outcomes.get("failed"):
            return "FAILED"
        return "passed" if self.outcomes.get("passed") else "SKIPPED"

    @property
    def counts(self) -> str:
        counted = [f"{number} {outcome}" for outcome, number in sorted(self.outcomes.items())]
        return ", ".join(counted)

    @property
    def where(self) -> str:
        note = self.case.waits or (f"lacks {self.case.lacks}" if self.case.lacks else "")
        return "; ".join([*self.files, *([note] if note else [])])


def rows(catalogue: Mapping[str, Case], executed: Executed) -> list[Row]:
    """The matrix, one row for each case of the catalogue."""
    outcomes, files = defaultdict[str, Counter[str]](Counter), defaultdict[str, set[str]](set)
    for test, ids in executed.cases.items():
        for name in ids:
            outcomes[name][executed.outcomes[test]] += 1
            files[name].add(test.partition("::")[0])
    return [Row(each, outcomes[each.id], tuple(sorted(files[each.id]))) for each in catalogue.values()]


def page(matrix: Iterable[Row]) -> str:
    """The matrix as Markdown."""
    head = ["| case | what | result | tests | where |", "| --- | --- | --- | --- | --- |"]
    lines = [
        f"| {each.case.id} | {each.case.title} | {each.result} | {each.counts} | {each.where} |" for each in matrix
    ]
    return "\n".join([*head, *lines, ""])


def _write(matrix: list[Row]) -> None:
    BUILD.mkdir(exist_ok=True)
    (BUILD / "security.md").write_text(page(matrix), encoding="utf-8")
    told = [
        {
            "case": each.case.id,
            "title": each.case.title,
            "result": each.result,
            "tests": each.outcomes,
            "where": each.where,
        }
        for each in matrix
    ]
    (BUILD / "security.json").write_text(json.dumps(told, indent=1), encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Runs, prints and writes; exit status."""
    executed = Executed()
    chosen = ["-q", "--no-header", "-p", "tests.security.selecting", *SIDE_BY_SIDE, *arguments]
    status = int(pytest.main(chosen, plugins=[executed]))
    catalogue = cases()
    matrix = rows(catalogue, executed)
    _write(matrix)
    print()
    for each in matrix:
        print(f"{each.case.id}  {each.result:<12}  {each.case.title}  [{each.counts or each.where}]")
    for reason, number in executed.reasons.most_common():
        print(f"{number} skipped: {reason}")
    wrong = faults(catalogue, {name for ids in executed.cases.values() for name in ids})
    wrong += [f"{each.case.id}: {each.result}" for each in matrix if each.result in ("FAILED", "SKIPPED")]
    print("\n".join([*wrong, f"{Counter(each.result for each in matrix)}; the matrix is in {BUILD / 'security.md'}"]))
    return 1 if wrong else status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
