"""A content file: a YAML head and a small Markdown body, read into blocks that every format can render."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

_BOLD = re.compile(r"\*\*(.+?)\*\*")
_KINDS = ((re.compile(r"#{1,3} "), "heading"), (re.compile(r"- "), "list"), (re.compile(r"\d+\. "), "numbered"))


@dataclass(frozen=True, slots=True)
class Block:
    """One heading, paragraph, list, table, note or set of lines.

    Attributes:
        kind: heading, text, list, numbered, table, note (speaker notes), or lines (kept apart, as in an address).
        lines: paragraph as one line, or one line per list entry.
        rows: cells of a table, the first row is its head.
        level: of a heading, from 1.
    """

    kind: str
    lines: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    level: int = 0

    @property
    def text(self) -> str:
        return " ".join(self.lines)


@dataclass(frozen=True, slots=True)
class Source:
    """One document to be made: where it goes, what its head says, and its blocks."""

    path: Path
    head: dict[str, Any]
    blocks: tuple[Block, ...] = field(default=())

    @property
    def file(self) -> Path:
        return Path(self.head["file"])

    @property
    def title(self) -> str:
        return str(self.head["title"])

    @property
    def author(self) -> str:
        return str(self.head.get("author", "Hansekai Logistik GmbH"))

    @property
    def language(self) -> str:
        return str(self.head.get("language", "de"))

    @property
    def layout(self) -> str:
        return str(self.head.get("layout", "plain"))

    @property
    def moment(self) -> datetime:
        """The document's date at nine o'clock UTC: the only clock that the files know."""
        day = self.head["date"]
        if not isinstance(day, date):
            raise TypeError(f"{self.path}: date must be written as YYYY-MM-DD")
        return datetime(day.year, day.month, day.day, 9, tzinfo=UTC)


def read(path: Path) -> Source:
    """The content file at `path`."""
    _, head, body = path.read_text(encoding="utf-8").split("---\n", 2)
    return Source(path, yaml.safe_load(head), tuple(blocks(body)))


def blocks(body: str) -> Iterator[Block]:
    """The blocks of a body; blank lines separate them."""
    for part in re.split(r"\n\s*\n", body.strip("\n")):
        if "\\\n" in part:
            yield Block("lines", tuple(line.rstrip("\\").strip() for line in part.splitlines()))
        else:
            yield from _block(part.splitlines())


def spans(text: str) -> Iterator[tuple[str, bool]]:
    """Pieces of a line with whether they are bold."""
    for number, piece in enumerate(_BOLD.split(text)):
        if piece:
            yield piece, number % 2 == 1


def plain(text: str) -> str:
    """The line without marks."""
    return _BOLD.sub(r"\1", text)


def _block(lines: list[str]) -> Iterator[Block]:
    for kind, group in groupby(lines, key=_kind):
        found = list(group)
        if kind == "heading":
            yield from (Block(kind, (line.lstrip("#").strip(),), level=_level(line)) for line in found)
        elif kind == "table":
            yield Block(kind, rows=tuple(_cells(line) for line in found if not re.fullmatch(r"[|\-: ]+", line)))
        elif kind in {"list", "numbered"}:
            yield Block(kind, tuple(line.split(" ", 1)[1] for line in found))
        else:
            yield Block(kind, tuple(line.removeprefix(">").strip() for line in found))


def _kind(line: str) -> str:
    for pattern, kind in _KINDS:
        if pattern.match(line):
            return kind
    return {"|": "table", ">": "note"}.get(line[:1], "text")


def _level(line: str) -> int:
    return len(line) - len(line.lstrip("#"))


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))
