"""OpenDocument texts, sheets and presentations (ISO/IEC 26300), as packages or as one XML file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ingest.extraction import SPEAKER_NOTES, Element, ElementKind, Extraction
from ingest.parsers.damage import damage, encrypted
from ingest.parsers.grids import Budget, Cells, hidden_sheets, sheet_elements
from ingest.parsers.kinds import FileKind
from ingest.parsers.markup import Node, attribute, children, local_name, parse_xml, text_content
from ingest.parsers.packages import Package
from ingest.parsers.properties import Properties, dublin_core
from ingest.parsers.tables import Covered, table_text

MAX_REPEATED = 200
"""Programs fill rows and columns of a sheet by one cell that is said to be repeated a million times (IN-04)."""
MAX_LEVEL = 10  # of headings (19.850)
SKIPPED = frozenset(
    [
        "tracked-changes",
        "forms",
        "sequence-decls",
        "variable-decls",
        "user-field-decls",
        "table-of-content-source",
        "index-title-template",
        "shapes",
        "settings",
        "annotation-end",
        "thumbnail",
    ]
)
NOTES = {"note", "annotation"}
TABLE_PARTS = {"table-row-group", "table-rows", "table-header-rows"}


class OpenDocumentParser:
    """Of one kind of OpenDocument.

    Args:
        kind: what the package says it is.
    """

    kind = FileKind.ODT

    def parse(self, data: bytes, name: str) -> Extraction:
        """Headings by level, lists, tables, notes and comments; one heading per sheet; slides are pages."""
        with Package(data) as package, damage("the document"):
            if b"encryption-data" in (package.find("META-INF/manifest.xml") or b""):
                raise encrypted("the document is protected by a password")
            meta = package.find("meta.xml")
            properties = dublin_core(parse_xml(meta)) if meta else Properties()
            return _described(properties, parse_xml(package.require("content.xml")), self.kind)


class OdtParser(OpenDocumentParser):
    kind = FileKind.ODT


class OdsParser(OpenDocumentParser):
    kind = FileKind.ODS


class OdpParser(OpenDocumentParser):
    kind = FileKind.ODP


def flat_document(root: Node, kind: FileKind) -> Extraction:
    """Of a document that is one XML file (.fodt, .fods, .fodp)."""
    return _described(dublin_core(next(root.iter("{*}meta"), root)), root, kind)


def _described(properties: Properties, root: Node, kind: FileKind) -> Extraction:
    hidden = _hidden_sheets(root)
    elements = tuple(_document(root, hidden))
    return replace(properties.describing(elements, kind), notices=hidden_sheets(len(hidden)))


def _hidden_sheets(root: Node) -> list[Node]:
    """Sheets whose style says that they are not shown (17.15, 19.600)."""
    styles = {
        attribute(style, "name")
        for style in root.iter("{*}style")
        if any(attribute(each, "display") == "false" for each in children(style, "table-properties"))
    }
    sheets = (table for each in root.iter("{*}spreadsheet") for table in children(each, "table"))
    return [table for table in sheets if attribute(table, "style-name") in styles]


def _document(root: Node, hidden: Sequence[Node]) -> Iterator[Element]:
    body = next(root.iter("{*}body"), root)
    for content in body:
        match local_name(content):
            case "spreadsheet":
                yield from _sheets(content, [each for each in children(content, "table") if each not in hidden])
            case "presentation" | "drawing":
                for number, page in enumerate(children(content, "page"), 1):
                    yield from _slide(page, number)
            case _:
                yield from _blocks(content, None)


def _blocks(container: Iterable[Node], page: int | None) -> Iterator[Element]:
    for child in container:
        name = local_name(child)
        match name:
            case "h":
                level = attribute(child, "outline-level")
                yield Element(ElementKind.HEADING, _text(child), _level(level), page)
            case "p":
                yield Element(_kind_of(child), _text(child), page=page)
                yield from _beside(child, page)
            case "list":
                yield from _list(child, page)
            case "table":
                yield Element(ElementKind.TABLE, _table(child), page=page)
            case "annotation":
                yield _note(child, page)
            case _ if name not in SKIPPED:
                yield from _blocks(child, page)


def _level(text: str) -> int:
    return min(int(text), MAX_LEVEL) if text.isdecimal() and len(text) < 9 else 1


def _kind_of(paragraph: Node) -> ElementKind:
    return ElementKind.HEADING if attribute(paragraph, "style-name") == "Title" else ElementKind.PARAGRAPH


def _list(node: Node, page: int | None) -> Iterator[Element]:
    for item in node:
        if any(local_name(child) == "h" for child in item):
            yield from _blocks(item, page)
            continue
        for child in item:
            match local_name(child):
                case "list":
                    yield from _list(child, page)
                case "p":
                    yield Element(ElementKind.LIST_ITEM, _text(child), page=page)
                    yield from _beside(child, page)


def _beside(paragraph: Node, page: int | None) -> Iterator[Element]:
    """Notes, comments and text boxes anchored in a paragraph, each once: those inside a box come with its blocks."""
    for child in paragraph:
        name = local_name(child)
        if name == "text-box":
            yield from _blocks(child, page)
            continue
        if name in NOTES:
            yield _note(child, page)
        yield from _beside(child, page)


def _note(node: Node, page: int | None) -> Element:
    if local_name(node) == "annotation":
        author = " ".join(text_content(each).strip() for each in children(node, "creator"))
        text = " ".join(_text(each) for each in _paragraphs(node))
        return Element(ElementKind.OTHER, f"Comment ({author}): {text}" if author else f"Comment: {text}", page=page)
    body = next(children(node, "note-body"), node)
    citation = " ".join(text_content(each).strip() for each in children(node, "note-citation"))
    label = f"{attribute(node, 'note-class') or 'note'} {citation}".capitalize().strip()
    return Element(ElementKind.OTHER, f"{label}: {' '.join(map(_text, _paragraphs(body)))}", page=page)


def _paragraphs(container: Node, *, boxes: bool = False, inside: bool = False) -> Iterator[Node]:
    """Paragraphs and headings below, none inside another and none of a note; with `boxes` also those of text boxes."""
    for child in container:
        name = local_name(child)
        is_box = name == "text-box"
        if name in NOTES or (is_box and not boxes):
            continue
        is_paragraph = name in {"p", "h"} and not inside
        if is_paragraph:
            yield child
        yield from _paragraphs(child, boxes=boxes, inside=not is_box and (inside or is_paragraph))


def _text(node: Node) -> str:
    pieces: list[str] = []
    _collect(node, pieces)
    return "".join(pieces)


def _collect(node: Node, pieces: list[str]) -> None:
    """Text with its blanks and breaks, without what is only anchored in it. Blanks in a row count once (6.1.2)."""
    pieces.append(node.text or "")
    for child in node:
        match local_name(child):
            case "s":
                count = attribute(child, "c")
                pieces.append(" " * min(int(count) if count.isdecimal() else 1, MAX_REPEATED))
            case "tab":
                pieces.append("\t")
            case "line-break":
                pieces.append("\n")
            case name if name not in NOTES and name != "text-box" and name not in SKIPPED:
                _collect(child, pieces)
        pieces.append(child.tail or "")


def _repeated(node: Node, what: str) -> int:
    count = attribute(node, f"number-{what}-repeated")
    return max(1, int(count)) if count.isdecimal() and len(count) < 9 else 1


def _rows(table: Node) -> Iterator[tuple[Node, bool]]:
    """Rows, and whether they belong to the head."""
    for child in table:
        name = local_name(child)
        if name == "table-row":
            yield child, local_name(table) == "table-header-rows"
        elif name in TABLE_PARTS:
            yield from _rows(child)


def _cells_of(row: Node) -> Iterator[tuple[Node, str, int]]:
    """Cells with their text and how often they are repeated."""
    for cell in row:
        if local_name(cell) in {"table-cell", "covered-table-cell"}:
            yield cell, "\n".join(map(_text, _paragraphs(cell, boxes=True))), _repeated(cell, "columns")


def _table(table: Node) -> str:
    grid: list[list[str]] = []
    header_rows = 0
    for row, is_head in _rows(table):
        texts: list[str] = []
        for cell, text, repeated in _cells_of(row):
            covered = local_name(cell) == "covered-table-cell"
            value = Covered(texts[-1]) if covered and texts and not text else text
            texts += [value] * min(repeated, MAX_REPEATED - len(texts))
        grid.append(texts)
        header_rows += is_head
    return table_text(grid, header_rows=header_rows)


def _sheets(spreadsheet: Node, shown: Iterable[Node]) -> Iterator[Element]:
    budget = Budget()
    for table in shown:
        yield from sheet_elements(attribute(table, "name"), _cells(table, budget), budget)
        for note in table.iter("{*}annotation"):
            yield _note(note, None)
    if lines := [_named(each) for each in spreadsheet.iter("{*}named-range")]:
        yield Element(ElementKind.OTHER, "\n".join(["Named ranges", *lines]))


def _named(node: Node) -> str:
    return f"{attribute(node, 'name')}: {attribute(node, 'cell-range-address').replace('$', '')}"


def _cells(table: Node, budget: Budget) -> Cells:
    texts: defaultdict[int, dict[int, str]] = defaultdict(dict)
    row_number = 0
    for row, _ in _rows(table):
        rows = _repeated(row, "rows")
        column = 0
        for cell, text, columns in _cells_of(row):
            if text.strip():
                spread = min(max(columns, _spanned(cell)), MAX_REPEATED)
                budget.spend(text)
                for y in range(row_number, row_number + min(rows, MAX_REPEATED)):
                    for x in range(column, column + spread):
                        is_first = (y, x) == (row_number, column)
                        value = text if is_first else budget.repeat(text)
                        texts[y][x] = value if x < column + columns else Covered(value)
            column += columns
        row_number += rows
    return texts


def _spanned(cell: Node) -> int:
    count = attribute(cell, "number-columns-spanned")
    return int(count) if count.isdecimal() and len(count) < 9 else 1


def _slide(page: Node, number: int) -> Iterator[Element]:
    """Title first, then the texts in their order, then the notes."""
    frames = [frame for frame in page if local_name(frame) != "notes"]
    titles = [frame for frame in frames if attribute(frame, "class") == "title"]
    others = [frame for frame in frames if attribute(frame, "class") != "title"]
    for frame in titles:
        yield Element(ElementKind.HEADING, " ".join(map(_text, _paragraphs(frame, boxes=True))), 1, number)
    yield from _blocks(others, number)
    for notes in children(page, "notes"):
        for frame in notes:
            if said := "\n".join(each.text for each in _blocks(frame, number) if attribute(frame, "class") != "page"):
                yield Element(ElementKind.OTHER, f"{SPEAKER_NOTES}{said}", page=number)
