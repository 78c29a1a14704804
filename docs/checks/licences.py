"""Keeps docs/licences.md in step with what is installed: one row for each pinned runtime dependency.

    python -m docs.checks.licences            says what is missing or out of date; exit status 1 if anything is
    python -m docs.checks.licences --write    writes the table anew

Licences come from the installed packages' own metadata. A package that is not installed here, because its marker is for
another system, keeps the row it has. A licence that is not known to be permissive needs a reason in `RESTRICTED`.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "licences.md"
PINNED = ROOT / "requirements.txt"
BEGIN = "<!-- table: made by docs/checks/licences.py -->"
END = "<!-- end of table -->"

_PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", re.MULTILINE)
_ROW = re.compile(r"^\| ([a-z0-9._-]+) \| ([^|]+) \| ([^|]+) \| ([^|]*) \|$", re.MULTILINE)

PERMISSIVE = {
    "0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python", "ISC", "LLVM-exception",
    "MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Unlicense", "Zlib",
}  # fmt: skip

RESTRICTED = {
    "certifi": "MPL-2.0 covers its own files only; it is used unchanged",
    "jwcrypto": "LGPL-3.0 asks that it can be exchanged; it is an ordinary package of the environment, used unchanged",
    "psycopg": "LGPL-3.0 asks that it can be exchanged; it is an ordinary package of the environment, used unchanged",
    "psycopg-binary": "as psycopg",
    "pymupdf": "AGPL-3.0 or commercial: read the note above",
    "pymupdf-layout": "an empty package that pymupdf 2 requires",
    "pymupdf4llm": "an empty package that pymupdf 2 requires",
    "tqdm": "MPL-2.0 covers its own files only; it is used unchanged",
}

# Metadata that says nothing, or two things: read in the package's LICENSE file or, for the empty ones, its project's.
STATED = {
    "langdetect": "Apache-2.0",
    "py-rust-stemmers": "MIT",
    "pymupdf-layout": "AGPL-3.0",
    "pymupdf4llm": "AGPL-3.0",
    "win32-setctime": "MIT",
}

_SPELLINGS = [
    (r"dual licensed - gnu affero gpl 3\.0.*", "AGPL-3.0 or commercial"),
    (r"bsd-3-clause, apache-2\.0, dependency licenses", "BSD-3-Clause AND Apache-2.0"),
    (r"(the )?apache( software)?( license)?(, version)?[ -]?(2\.0|v2)?", "Apache-2.0"),
    (r"(the )?mit( license)?( \(mit\))?", "MIT"),
    (r"psfl|python software foundation license", "PSF-2.0"),
    (r"(bsd 3-clause license|3-clause bsd license)", "BSD-3-Clause"),
    (r"bsd 2-clause license", "BSD-2-Clause"),
    (r"bsd( license)?", "BSD"),
    (r"isc license( \(iscl\))?", "ISC"),
    (r"mozilla public license 2\.0 \(mpl 2\.0\)", "MPL-2.0"),
]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    versions: str
    licence: str
    note: str

    def __str__(self) -> str:
        return f"| {self.name} | {self.versions} | {self.licence} | {self.note} |"

    @property
    def explained(self) -> bool:
        """Whether the licence is permissive, or what it asks for is written down."""
        parts = set(re.findall(r"[A-Za-z0-9][\w.-]*", self.licence)) - {"AND", "OR", "WITH", "or"}
        return parts <= PERMISSIVE or bool(self.note)


def pins(requirements: str) -> dict[str, str]:
    """Versions of every package in a requirements file; several where they depend on the interpreter."""
    versions: dict[str, list[str]] = defaultdict(list)
    for name, version in _PIN.findall(requirements):
        versions[name].append(version)
    return {name: ", ".join(found) for name, found in sorted(versions.items())}


def licence_in(package: PackageMetadata) -> str:
    """SPDX expression in a package's metadata, as far as it can be made out; empty where it says nothing."""
    if expression := _field(package, "License-Expression"):
        return expression
    classifiers = [c.rsplit(" :: ", 1)[-1] for c in package.get_all("Classifier") or [] if c.startswith("License ::")]
    candidates = [_field(package, "License").split("\n")[0], *classifiers]
    return next((found for text in candidates if (found := _spdx(text))), "")


def _field(package: PackageMetadata, name: str) -> str:
    return package[name] if name in package else ""  # noqa: SIM401 - its type has no get


def _spdx(text: str) -> str:
    short = text.strip()
    known = next((spdx for pattern, spdx in _SPELLINGS if re.fullmatch(pattern, short, re.IGNORECASE)), "")
    is_expression = re.fullmatch(r"[A-Z0-9][\w.-]*-[\w.-]+( (AND|OR) [A-Z0-9][\w.-]*)*", short)
    return known or (short if is_expression else "")


def installed_licence(name: str) -> str | None:
    """Licence of an installed package; None where it is not installed."""
    try:
        return STATED.get(name) or licence_in(metadata(name))
    except PackageNotFoundError:
        return STATED.get(name)


def rows(pinned: Mapping[str, str], page: str) -> list[Row]:
    """The table that `page` should hold."""
    there = {name: licence.strip() for name, _, licence, _ in _ROW.findall(page)}
    found = {name: installed_licence(name) for name in pinned}
    licences = {name: there.get(name, "") if licence is None else licence for name, licence in found.items()}
    return [Row(name, pinned[name], licences[name], RESTRICTED.get(name, "")) for name in pinned]


def faults(table: Iterable[Row], page: str) -> list[str]:
    """What is wrong with the page, one sentence each."""
    table = list(table)
    unknown = [f"{row.name}: its licence is not known; write it into STATED" for row in table if not row.licence]
    unexplained = [f"{row.name}: {row.licence} needs a reason in RESTRICTED" for row in table if not row.explained]
    shown = page.partition(BEGIN)[2].partition(END)[0].splitlines()
    missing = [f"{row.name} {row.versions}: no such row, or another one" for row in table if str(row) not in shown]
    extra = [f"{name}: is not pinned any more" for name in _names(shown) if name not in {row.name for row in table}]
    return unknown + unexplained + missing + extra


def _names(lines: Iterable[str]) -> list[str]:
    return [match[1] for line in lines if (match := _ROW.match(line))][2:]  # two lines of heading


def written(table: Iterable[Row], page: str) -> str:
    """`page` with its table replaced."""
    head, _, rest = page.partition(BEGIN)
    lines = ["| package | version | licence | what it asks for |", "| --- | --- | --- | --- |", *map(str, table)]
    return "\n".join([head.rstrip(), "", BEGIN, *lines, END]) + rest.partition(END)[2]


def main(arguments: list[str]) -> int:
    """Runs the check, or writes the page; exit status."""
    page = PAGE.read_text(encoding="utf-8")
    table = rows(pins(PINNED.read_text(encoding="utf-8")), page)
    if "--write" in arguments:
        page = written(table, page)
        PAGE.write_text(page, encoding="utf-8")
    for fault in (found := faults(table, page)):
        print(f"docs/licences.md: {fault}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
