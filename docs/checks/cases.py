"""Holds the table of docs/security.md in step with the catalogue of attacks and the tests; exit status 1 if it is not.

python -m docs.checks.cases [--write]
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

from tests.security.catalogue import Case, cases, executing, faults

PAGE = Path(__file__).parents[1] / "security.md"
BEGIN, END = "<!-- cases -->", "<!-- end of cases -->"


def state(case: Case, executed: bool) -> str:
    """What the table says of a case."""
    if not executed:
        return f"waits for {case.waits}" if case.waits else "not executed"
    return f"executed; lacks {case.lacks}" if case.lacks else "executed"


def table(catalogue: Iterable[Case], executed: Mapping[str, object]) -> Iterator[str]:
    """The lines between the markers, a heading and a table for each family."""
    for family, members in groupby(catalogue, key=lambda each: each.family):
        yield from ["", f"### {family}", "", "| case | what | state |", "| --- | --- | --- |"]
        for each in members:
            yield f"| {each.id} | {each.title} | {state(each, each.id in executed)} |"
    yield ""


def written(page: str, lines: Iterable[str]) -> str:
    """`page` with its tables replaced."""
    head, _, rest = page.partition(BEGIN)
    return "\n".join([head + BEGIN, *lines, END]) + rest.partition(END)[2]


def main(arguments: list[str]) -> int:
    """Runs the check, or writes the page; exit status."""
    catalogue, executed = cases(), executing()
    page = PAGE.read_text(encoding="utf-8")
    right = written(page, table(catalogue.values(), executed))
    found = faults(catalogue, executed)
    if "--write" in arguments:
        PAGE.write_text(right, encoding="utf-8")
    elif right != page:
        found.append("docs/security.md: the table is out of date; run .venv/bin/python -m docs.checks.cases --write")
    print("\n".join(found) or f"Catalogue: {len(catalogue)} cases, {len(executed)} of them executed.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
