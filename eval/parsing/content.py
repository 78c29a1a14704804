"""What was read, in a form in which readers and references can be compared: paragraphs, and tables as rows of cells."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ingest.extraction import SPEAKER_NOTES, Element, ElementKind, Extraction
from ingest.parsers.kinds import FileKind
from ingest.parsers.tables import CELL_SEPARATOR, NAME_SEPARATOR, VALUE_SEPARATOR

SHEETS = frozenset({FileKind.XLSX, FileKind.XLSB, FileKind.XLS, FileKind.ODS})
SPELLINGS = str.maketrans({**dict.fromkeys("‘’‚", "'"), **dict.fromkeys("“”„", '"'), **dict.fromkeys("‐‑‒–—", "-")})
"""One form for quotation marks and dashes: writers of references and readers change them as they like."""

_MARKER = re.compile(r"^(?:[-*•◦▪‣·○●❖➢]|\(?\d{1,2}[.)]|(?:\d{1,2}\.)+\d{1,2}[.)]?|[a-zA-Z][.)])(?:\s+|$)")
_MARKER_IN_CELL = re.compile(r"(?:^|(?<=\s))(?:[-*•◦▪]|\d{1,2}[.)])(?=\s)")
_WHITESPACE = re.compile(r"\s+")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_REMARK = re.compile(r"^\[author: .*?\]: ")
_CHART = re.compile(r"\w+ chart")
_OWN_REMARK = re.compile(r"^(?:Comment(?: on [A-Z]+\d+)?|Reply)(?: \(.*?\))?: ")
_BREAK = re.compile(r"<br\s*/?>")

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of text, or a table: `rows` of cells. Texts are normalised, cells of a row that repeat stand once."""

    text: str = ""
    rows: tuple[Row, ...] = ()

    @property
    def lines(self) -> Sequence[str]:
        """The text, or that of every row."""
        return [" ".join(row) for row in self.rows] if self.rows else [self.text]


Content = tuple[Block, ...]
"""Blocks in reading order."""


def paragraph(text: str) -> Content:
    """One block, none for nothing. What marks a list item or numbers a heading is no text: it is often not written."""
    words = _normalised(_MARKER.sub("", text.strip().translate(SPELLINGS)))
    return (Block(words),) if words else ()


def table(rows: Iterable[Iterable[str]]) -> Content:
    """One block, none for nothing. One single cell is text: whether there is a border around it says little."""
    kept = tuple(row for cells in rows if (row := _row(cells)))
    if sum(len(row) for row in kept) < 2:
        return tuple(block for row in kept for block in paragraph(row[0]))
    return (Block(rows=kept),)


def full_text(content: Content) -> str:
    """All of it in one line: where readers break lines says nothing about what they read."""
    return " ".join(line for block in content for line in block.lines)


def extracted(extraction: Extraction) -> Content:
    """What Kustos read, without what it adds: names of columns in each row of a table, who made a remark where.

    And without what references hold or not as their makers like: what a sheet is called, and what no page and no slide
    shows (titles in the head of a web page, speaker notes).
    """
    return tuple(block for each in extraction.elements if _is_compared(each, extraction) for block in _blocks(each))


def _is_compared(element: Element, extraction: Extraction) -> bool:
    in_head = element.kind is ElementKind.TITLE and extraction.media_type == FileKind.HTML
    names_sheet = element.kind is ElementKind.HEADING and extraction.media_type in SHEETS
    return not (in_head or names_sheet or element.text.startswith(SPEAKER_NOTES))


def _blocks(element: Element) -> Content:
    if element.kind is ElementKind.TABLE:
        return table(table_rows(element.text))
    return tuple(block for line in element.text.split("\n") for block in paragraph(_OWN_REMARK.sub("", line)))


def table_rows(text: str) -> list[Row]:
    """Undoes `ingest.parsers.tables.table_text`, but for empty cells."""
    names: set[str] = set()
    rows: list[Row] = []
    for line in text.split("\n"):
        cells = tuple(line.split(CELL_SEPARATOR))
        values = tuple(_value(cell, names) for cell in cells)
        if values == cells:
            names.update(cells)
        rows.append(values)
    if all(len(row) == 1 for row in rows):  # name and value, without a head
        return [tuple(part for part in row[0].split(VALUE_SEPARATOR, 1) if part) for row in rows]
    return rows


def _value(cell: str, names: set[str]) -> str:
    for separator in re.finditer(VALUE_SEPARATOR, cell):
        name = cell[: separator.start()]
        if name in names or (NAME_SEPARATOR in name and names.issuperset(name.split(NAME_SEPARATOR))):
            return cell[separator.end() :]
    return cell


def markdown(text: str, *, of_sheets: bool = False) -> Content:
    """A reference in Markdown, without what its maker put in: comments, names of pictures, who made a remark when.

    `of_sheets`: its headings are names of sheets.
    """
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    return tuple(_markdown_blocks(tokens, of_sheets))


def _markdown_blocks(tokens: Sequence[Token], of_sheets: bool) -> Iterator[Block]:
    rows: list[list[str]] | None = None
    before = opened = ""
    for token in tokens:
        if token.type == "table_open":
            rows = []
        elif token.type == "table_close":
            yield from table(rows or ())
            rows = None
        elif token.type == "tr_open" and rows is not None:
            rows.append([])
        elif token.type == "inline" and rows is not None:
            rows[-1].append(_inline(token))
        elif token.type == "inline" and not (of_sheets and opened == "heading_open"):
            text = _inline(token)
            if not (_CHART.fullmatch(text) and _COMMENT.search(before)):
                yield from (block for line in text.split("\n") for block in paragraph(_REMARK.sub("", line)))
        elif token.type in {"fence", "code_block"}:
            yield from (block for line in token.content.split("\n") for block in paragraph(line))
        if token.content:
            before = token.content
        opened = token.type


def _inline(token: Token) -> str:
    parts = []
    for each in token.children or ():
        if each.type in {"softbreak", "hardbreak"} or _BREAK.fullmatch(each.content):
            parts.append("\n")
        elif each.type in {"text", "code_inline"}:
            parts.append(each.content)
    return "".join(parts).strip()


def plain_text(text: str) -> Content:
    """A reference, or a reader's answer, that is nothing but text: every line a block."""
    return tuple(block for line in text.splitlines() for block in paragraph(line))


def _row(cells: Iterable[str]) -> Row:
    """Merged cells are told once or repeated, so what repeats counts once; lists in cells have lost their lines."""
    texts = (_normalised(_MARKER_IN_CELL.sub(" ", cell.translate(SPELLINGS))) for cell in cells)
    return tuple(text for text, _ in groupby(text for text in texts if text))


def _normalised(text: str) -> str:
    return _WHITESPACE.sub(" ", unicodedata.normalize("NFKC", text)).strip()
