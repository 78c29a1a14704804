"""Paragraph styles and automatic numbers of Word documents (ECMA-376 part 1, 17.7 and 17.9)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ingest.parsers.markup import Node

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
MAX_STYLE_DEPTH = 20
MAX_LEVELS = 9
HEADING_NAME = re.compile(r"heading (\d)$")
ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
         (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip
MAX_ROMAN = 5000
UNLABELLED = {"bullet", "none"}
Numbered = tuple[str, int]
"""Id of a list (`w:numId`) and level in it, from 0."""


@dataclass(frozen=True, slots=True)
class Style:
    name: str = ""
    outline: int | None = None  # 0 for a heading of the first level
    numbered: Numbered | None = None


class Styles:
    """Paragraph styles with what they inherit."""

    def __init__(self, roots: Iterable[Node]) -> None:
        self._nodes = {each.get(f"{W}styleId", ""): each for root in roots for each in root.iterchildren(f"{W}style")}
        self._known: dict[str, Style] = {}
        self.default = next((key for key, node in self._nodes.items() if _is_default_paragraph(node)), "")

    def of(self, style_id: str) -> Style:
        if style_id not in self._known:
            self._known[style_id] = self._resolved(style_id)
        return self._known[style_id]

    def _resolved(self, style_id: str) -> Style:
        name, outline, numbered = "", None, None
        for depth in range(MAX_STYLE_DEPTH):
            node = self._nodes.get(style_id)
            if node is None:
                break
            if depth == 0:
                name = value(node, "name").lower()
            properties = node.find(f"{W}pPr")
            if properties is not None:
                outline = outline_level(properties) if outline is None else outline
                numbered = numbered or numbering_of(properties)
            style_id = value(node, "basedOn")
        if heading := HEADING_NAME.match(name):
            outline = int(heading[1]) - 1
        return Style(name, outline, numbered)


def _is_default_paragraph(style: Node) -> bool:
    return style.get(f"{W}type") == "paragraph" and style.get(f"{W}default") in {"1", "true"}


def value(node: Node, name: str) -> str:
    """`w:val` of the child `name`; empty where there is none."""
    child = node.find(f"{W}{name}")
    return "" if child is None else child.get(f"{W}val", "")


def number(text: str, default: int = 0) -> int:
    return int(text) if text.isdecimal() and len(text) < 9 else default


def outline_level(properties: Node) -> int | None:
    text = value(properties, "outlineLvl")
    return int(text) if text.isdecimal() and int(text) < MAX_LEVELS else None


def numbering_of(properties: Node) -> Numbered | None:
    found = properties.find(f"{W}numPr")
    if found is None:
        return None
    return value(found, "numId"), min(number(value(found, "ilvl")), MAX_LEVELS - 1)


@dataclass(slots=True)
class _List:
    """One abstract list: its levels and how far each has been counted."""

    levels: dict[int, Node]
    counts: dict[int, int] = field(default_factory=dict)


class Numbering:
    """Counts the paragraphs of a document's lists, in reading order."""

    def __init__(self, roots: Iterable[Node]) -> None:
        self._lists: dict[str, _List] = {}
        self._list_of: dict[str, str] = {}
        self._restarts: dict[str, dict[int, int]] = {}
        for root in roots:
            for each in root.iterchildren(f"{W}abstractNum"):
                self._lists[each.get(f"{W}abstractNumId", "")] = _List(_levels(each))
            for each in root.iterchildren(f"{W}num"):
                self._add(each.get(f"{W}numId", ""), each)

    def _add(self, num_id: str, node: Node) -> None:
        self._list_of[num_id] = value(node, "abstractNumId")
        overrides = list(node.iterchildren(f"{W}lvlOverride"))
        self._restarts[num_id] = {
            number(each.get(f"{W}ilvl", "")): number(value(each, "startOverride"), 1)
            for each in overrides
            if each.find(f"{W}startOverride") is not None
        }

    def label(self, numbered: Numbered) -> str:
        """What Word shows in front of the next paragraph of this list and level; empty for bullets."""
        num_id, level = numbered
        found = self._lists.get(self._list_of.get(num_id, ""))
        if found is None:
            return ""
        self._count(found, level, self._restarts[num_id])
        node = found.levels.get(level)
        if node is None or value(node, "numFmt") in UNLABELLED:
            return ""
        return re.sub(r"%(\d)", lambda match: _shown(found, int(match[1]) - 1), value(node, "lvlText")).strip()

    def _count(self, found: _List, level: int, restarts: dict[int, int]) -> None:
        restart = restarts.pop(level, None)
        start = _start(found, level)
        found.counts[level] = restart if restart is not None else found.counts.get(level, start - 1) + 1
        for above in range(level):
            found.counts.setdefault(above, _start(found, above))
        for below in [each for each in found.counts if each > level]:
            del found.counts[below]


def _levels(abstract: Node) -> dict[int, Node]:
    return {number(each.get(f"{W}ilvl", "")): each for each in abstract.iterchildren(f"{W}lvl")}


def _start(found: _List, level: int) -> int:
    node = found.levels.get(level)
    return 1 if node is None else number(value(node, "start"), 1)


def _shown(found: _List, level: int) -> str:
    node = found.levels.get(level)
    return numeral(found.counts.get(level, 1), "decimal" if node is None else value(node, "numFmt"))


def numeral(count: int, style: str) -> str:
    """`count` as Word writes it in the number format `style` (17.18.59); unknown formats are decimal."""
    match style:
        case "lowerLetter" | "upperLetter" if count > 0:
            text = chr(ord("a") + (count - 1) % 26) * min((count - 1) // 26 + 1, 9)
        case "lowerRoman" | "upperRoman" if 0 < count < MAX_ROMAN:
            text = _roman(count)
        case "decimalZero":
            text = f"{count:02}"
        case _:
            text = str(count)
    return text.upper() if style.startswith("upper") else text


def _roman(count: int) -> str:
    text = ""
    for worth, letters in ROMAN:
        text += letters * (count // worth)
        count %= worth
    return text
