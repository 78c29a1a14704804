"""The catalogue of attacks and faults (cases.toml), and which tests execute which of its cases.

A test executes the cases that its name begins with, wherever it stands: `test_fb_04_and_fb_13_the_server_is_asked_strictly`.
There is nothing else to register.
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parents[1]
LISTED = Path(__file__).with_name("cases.toml")

_NAMED = re.compile(r"test_((?:(?:and_)?[a-z]{2}_\d\d_)+)")
_DEFINED = re.compile(r"^ *(?:async )?def (test_\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """One attack or fault. `waits` and `lacks` are for the part that brings it whole: "part: reason", or nothing."""

    id: str
    family: str
    title: str
    waits: str = ""
    lacks: str = ""


def cases(listed: str | None = None) -> dict[str, Case]:
    """Every case by its id, in the order of the catalogue."""
    table = tomllib.loads(LISTED.read_text(encoding="utf-8") if listed is None else listed)
    waiting, partly = table.pop("waiting"), table.pop("partly")
    found = {}
    for family, entries in table.items():
        about = entries.pop("about")
        for number, title in entries.items():
            name = f"{family}-{number}"
            found[name] = Case(name, about, title, waiting.pop(name, ""), partly.pop(name, ""))
    if waiting or partly:
        raise KeyError(f"no cases, but waited for: {sorted({*waiting, *partly})}")
    return found


def named(test: str) -> tuple[str, ...]:
    """The ids at the beginning of a test's name; none for a test that stands for itself."""
    match = _NAMED.match(test)
    ids = re.findall(r"([a-z]{2})_(\d\d)_", match[1]) if match else []
    return tuple(f"{family.upper()}-{number}" for family, number in ids)


def executing(tests: Path = TESTS) -> Mapping[str, list[str]]:
    """Files of tests by the case that they execute, read from the source of all tests."""
    found = defaultdict[str, list[str]](list)
    for path in sorted(tests.rglob("test_*.py")):
        where = path.relative_to(tests.parent).as_posix()
        for name in dict.fromkeys(_ids_in(path)):
            found[name].append(where)
    return found


def _ids_in(path: Path) -> Iterator[str]:
    for test in _DEFINED.findall(path.read_text(encoding="utf-8")):
        yield from named(test)


def faults(catalogue: Mapping[str, Case], executed: Mapping[str, object]) -> list[str]:
    """What is wrong between catalogue and tests, one sentence each."""
    unknown = [
        f"{name}: a test is named after it, and there is no such case" for name in executed if name not in catalogue
    ]
    silent = [
        f"{each.id}: no test is named after it, and [waiting] does not say why"
        for each in catalogue.values()
        if each.id not in executed and not each.waits
    ]
    stale = [
        f"{each.id}: [waiting] is out of date" for each in catalogue.values() if each.id in executed and each.waits
    ]
    return sorted(unknown) + silent + stale
