"""From blocks in reading order to elements: headings, list items, footnotes, captions, paragraphs. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from ingest.extraction import Element, ElementKind
from ingest.parsers.layout import Block, Line, Sheet, around

HEADING_RATIO = 1.12
MAX_HEADING_CHARS = 160
MAX_HEADING_LEVELS = 5
MAX_HEADING_SHARE = 0.4

BULLET = re.compile(r"^\s*([•‣▪●○◦∙·\uf0b7\uf0a7–-]\s+|\(?(\d{1,2}|[a-z])[.)]\s+(?=\S))")
CAPTION = re.compile(
    r"(abbildung|abb\.|tabelle|tab\.|bild|figure|fig\.|table|diagramm|chart|listing|grafik)\s*\d[\d.–-]*\s*([:.–-]|\s\S)",
    re.IGNORECASE,
)
FOOTNOTE = re.compile(r"\s*(\d{1,3}\)?|[*†‡§]{1,3}|\(\d{1,2}\)|\[\d{1,2}\])\s*[^\W\d_]")
FOOTNOTES_FROM = 0.55  # share of the page's height
FOOTNOTE_RATIO = 0.92  # of the body's size
WORD = re.compile(r"[^\W\d_]{2}")

DOT_LEADER = re.compile(r"(?<!\.)(?<!\.\s)\s?(?:\.\s?){5,}+(?=(?:\d{1,4}|[ivxlc]{1,7})?\s*$)")
HYPHEN_AT_END = re.compile(r"(?<=[^\W\d_])[-\u00ad\u2010]$")
RANGE_AT_END = re.compile(r"(?<=\d)[-–]$")
LAST_LETTERS = re.compile(r"[^\W\d_]{1,60}+(?=.$)")
FIRST_LETTERS = re.compile(r"[^\W\d_]{1,60}+")
COMPOUND = re.compile(r"(?<![^\W\d_])([^\W\d_]{1,60}+)-(?=([^\W\d_]{1,60}+))")
VOWEL = re.compile(r"[aeiouy]", re.IGNORECASE)
JOINED_BY_HYPHEN = re.compile(r"(und|oder|bzw|sowie|and|or)\b")

_T = TypeVar("_T")


def body_size(lines: Iterable[Line]) -> float:
    """Size in which most of the text is set, in points; 0 where there is none."""
    weights: Counter[float] = Counter()
    for line in lines:
        weights[line.size] += len(line.text)
    return weights.most_common(1)[0][0] if weights else 0.0


def footnotes_last(blocks: Sequence[Block], body: float) -> list[Block]:
    """The page's blocks with its footnotes behind the text that they interrupt, and marked as what they are."""
    noted = [block._replace(kind=ElementKind.OTHER) if _is_footnote(block, body) else block for block in blocks]
    foot = [block for block in noted if block.in_foot and block.kind is not ElementKind.OTHER]
    notes = [block for block in noted if block.kind is ElementKind.OTHER]
    return [block for block in noted if block not in foot and block not in notes] + notes + foot if notes else [*blocks]


def _is_footnote(block: Block, body: float) -> bool:
    if not block.lines or block.box.top < FOOTNOTES_FROM * block.sheet.height:
        return False
    small = max(line.size for line in block.lines) <= FOOTNOTE_RATIO * body
    return small and FOOTNOTE.match(block.lines[0].text) is not None


def elements(blocks: Sequence[Block]) -> tuple[Element, ...]:
    """Headings by size and weight of their type, list items by their marks, paragraphs joined from their lines."""
    lines = [line for block in blocks for line in block.lines]
    compounds = _compounds(line.text for line in lines)
    level_of = _heading_levels(lines)
    found = (element for block in blocks for element in _block_elements(block, level_of, compounds))
    return tuple(_with_whole_words(found, compounds))


def _compounds(lines: Iterable[str]) -> frozenset[str]:
    """Pairs of words that a hyphen joins within a line, in lower case."""
    divided = (line for line in lines if "-" in line)
    return frozenset(f"{first}-{second}".lower() for line in divided for first, second in COMPOUND.findall(line))


def _with_whole_words(found: Iterable[Element], compounds: Container[str]) -> list[Element]:
    """A word divided between two columns or pages stands whole where it begins."""
    kept: list[Element] = []
    before: int | None = None
    for element in found:
        text = element.text
        if element.kind is ElementKind.PARAGRAPH and before is not None and _goes_on(kept[before], text):
            rest, _, text = text.partition(" ")
            kept[before] = replace(kept[before], text=joined((kept[before].text, rest), compounds))
        if element.kind in {ElementKind.PARAGRAPH, ElementKind.LIST_ITEM, ElementKind.HEADING}:
            before = len(kept)
        kept.append(element if text == element.text else replace(element, text=text))
    return kept


def _goes_on(before: Element, text: str) -> bool:
    divided = before.kind is not ElementKind.HEADING and HYPHEN_AT_END.search(before.text, len(before.text) - 1)
    return bool(divided) and text[:1].islower() and not JOINED_BY_HYPHEN.match(text)


def _heading_levels(lines: Sequence[Line]) -> Callable[[Line], int]:
    """Heading level of a line, 0 for none. The commonest size is the body's; larger ones are ranked, then bold."""
    weights: Counter[float] = Counter()
    for line in lines:
        weights[line.size] += len(line.text)
    body = weights.most_common(1)[0][0] if weights else 0.0
    larger = sorted((size for size in weights if size >= body * HEADING_RATIO), reverse=True)
    levels = {size: min(rank, MAX_HEADING_LEVELS) for rank, size in enumerate(larger, start=1)}
    bold_level = min(len(larger) + 1, MAX_HEADING_LEVELS)

    def level(line: Line) -> int:
        return levels.get(line.size, bold_level if line.bold and line.size >= body else 0)

    marked = sum(len(line.text) for line in lines if level(line))
    return level if marked <= MAX_HEADING_SHARE * weights.total() else lambda line: levels.get(line.size, 0)


def _block_elements(block: Block, level_of: Callable[[Line], int], compounds: Container[str]) -> Iterator[Element]:
    sheet = block.sheet
    if block.whole:
        yield Element(block.kind, block.whole, page=sheet.number, box=sheet.share(block.box))
        return
    if block.kind is ElementKind.OTHER:
        yield _element(ElementKind.OTHER, block.lines, sheet, compounds)
        return
    in_margin = block.in_margin
    for level, lines in _runs(block.lines, level_of):
        may_be = level and not (in_margin and level > 1)
        found = _element(ElementKind.HEADING, lines, sheet, compounds, level) if may_be else None
        if found and _reads_like_a_heading(found.text):
            yield found
        else:
            yield from _items(lines, sheet, compounds)


def _reads_like_a_heading(text: str) -> bool:
    return len(text) <= MAX_HEADING_CHARS and WORD.search(text) is not None and not CAPTION.match(text)


def _element(
    kind: ElementKind, lines: Sequence[Line], sheet: Sheet, compounds: Container[str], level: int = 0
) -> Element:
    text = joined((line.text for line in lines), compounds)
    return Element(kind, text, level, sheet.number, sheet.share(around(line.box for line in lines)), _confidence(lines))


def _confidence(lines: Sequence[Line]) -> float | None:
    """Mean over the recognised characters; None where nothing was recognised."""
    known = [(line.confidence, len(line.text)) for line in lines if line.confidence is not None]
    if not known:
        return None
    return sum(confidence * chars for confidence, chars in known) / sum(chars for _, chars in known)


def _runs(items: Sequence[_T], key: Callable[[_T], int]) -> Iterator[tuple[int, list[_T]]]:
    run: list[_T] = []
    current = 0
    for item in items:
        its = key(item)
        if run and its != current:
            yield current, run
            run = []
        current = its
        run.append(item)
    if run:
        yield current, run


def _items(lines: Sequence[Line], sheet: Sheet, compounds: Container[str]) -> Iterator[Element]:
    """A line with a bullet or number starts a list item; without any, the lines are one paragraph."""
    starts = [index for index, line in enumerate(lines) if BULLET.match(line.text)]
    for begin, end in zip([0, *starts], [*starts, len(lines)], strict=True):
        if begin < end:
            kind = ElementKind.LIST_ITEM if begin in starts else ElementKind.PARAGRAPH
            yield _element(kind, lines[begin:end], sheet, compounds)


def joined(lines: Iterable[str], compounds: Container[str] = frozenset()) -> str:
    """Printed lines as one. A divided word is closed up, `UN-` + `Nummer` keeps its hyphen, `Ein-` + `und` a space.

    So does `Kfz-` + `ähnlich`, and what is among the document's own `compounds`, as `well-known` may be.
    """
    text = ""
    for raw in lines:
        line = " ".join(raw.split())
        if "....." in line or ". . . . ." in line:
            line = DOT_LEADER.sub(" … ", line).rstrip()
        if not text:
            text = line
        elif HYPHEN_AT_END.search(text, len(text) - 1) and not JOINED_BY_HYPHEN.match(line):
            text = (text[:-1] if _is_division(text, line, compounds) else text) + line
        elif RANGE_AT_END.search(text, len(text) - 1) and _follows_a_figure(line):
            text += line
        else:
            text = f"{text} {line}"
    return text


def _is_division(text: str, line: str, compounds: Container[str]) -> bool:
    """Whether the hyphen at the end divides a word, and does not belong to it."""
    if not line[:1].islower():
        return False
    before, after = LAST_LETTERS.search(text, max(0, len(text) - 61)), FIRST_LETTERS.match(line)
    if text.endswith("\u00ad") or before is None or after is None:
        return True
    return not _is_abbreviation(before[0]) and f"{before[0]}-{after[0]}".lower() not in compounds


def _is_abbreviation(letters: str) -> bool:
    """`UN`, `GmbH`, `Kfz`, and the `e` of `e-mail`: no syllable, before which alone a word is divided, looks so."""
    return len(letters) == 1 or letters[1:] != letters[1:].lower() or (letters.isascii() and not VOWEL.search(letters))


def _follows_a_figure(line: str) -> bool:
    return line[:1].isdigit() or (line[:1].islower() and not JOINED_BY_HYPHEN.match(line))
