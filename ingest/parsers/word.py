"""Word documents (ECMA-376 WordprocessingML), with text boxes, notes, comments and the numbers of lists.

What a reader of the printed page sees is read. Deleted and hidden text, field codes and macros are not. Headers and
footers come once, at the end; notes and comments behind the paragraph they belong to.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from ingest.extraction import Element, ElementKind, Extraction, clean
from ingest.parsers.damage import damage, damaged
from ingest.parsers.kinds import FileKind
from ingest.parsers.markup import Node, attribute, local_name, parse_xml
from ingest.parsers.opc import OfficePackage
from ingest.parsers.tables import Covered, table_text
from ingest.parsers.word_lists import Numbering, Styles, W, number, numbering_of, outline_level, value

SKIPPED = frozenset(
    [
        "del",
        "moveFrom",
        "pPr",
        "rPr",
        "instrText",
        "delText",
        "delInstrText",
        "sdtPr",
        "rubyPr",
        "rt",
        "Fallback",
        "sectPr",
        "tblPr",
        "tblGrid",
        "altChunk",
    ]
)
CHARACTERS = {"tab": "\t", "cr": "\n", "noBreakHyphen": "-", "ptab": "\t"}
TITLE_STYLE = "title"
BULLETED_STYLES = ("list bullet", "list number")
CONTENTS_STYLE = "toc "
PAGE_NUMBER = re.compile(r"(?:Page|Seite)?+[\W\d]*+(?:of|von)?+[\W\d]*+", re.IGNORECASE)
OFF = {"0", "false", "none"}
MAX_COLUMNS = 200


class DocxParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """Headings by style, lists with their numbers, tables, text boxes, notes and comments.

        Pages are counted by the breaks that Word left in the file; None where it left none.
        """
        with OfficePackage(data) as package, damage("the document"):
            part = package.main_part()
            content = package.require(part)
            body = next(parse_xml(content).iterchildren(f"{W}body"), None)
            if body is None:
                raise damaged("the document has no body")
            reader = _Reader(package, part, content)
            elements = (*reader.blocks(body), *reader.furniture())
            return package.properties().describing(elements, FileKind.DOCX)


class _Reader:
    """Walks one document in reading order."""

    def __init__(self, package: OfficePackage, part: str, content: bytes) -> None:
        self._package, self._part = package, part
        self._styles = Styles(package.related(part, "styles"))
        self._numbering = Numbering(package.related(part, "numbering"))
        self._notes = {
            f"{kind}Reference": {
                each.get(f"{W}id", ""): each for root in package.related(part, f"{kind}s") for each in root
            }
            for kind in ("footnote", "endnote", "comment")
        }
        self._breaks_left_by_word = b"lastRenderedPageBreak" in content
        self._page = 1 if self._breaks_left_by_word or b'w:type="page"' in content else None
        self._page_of_text: int | None = None
        self._pieces: list[str] = []
        self._floating: list[Node] = []
        self._referenced: list[tuple[str, Node]] = []
        self._numbers: Counter[str] = Counter()

    def blocks(self, container: Node) -> Iterator[Element]:
        """What paragraphs, tables and whatever wraps them hold."""
        for child in container:
            match local_name(child):
                case "p":
                    yield from self._paragraph(child)
                case "tbl":
                    yield from self._table(child)
                case "AlternateContent":
                    yield from self.blocks(next(child.iterchildren("{*}Choice"), child))
                case name if name not in SKIPPED:
                    yield from self.blocks(child)

    def furniture(self) -> Iterator[Element]:
        """Each header and footer once; they come once per section, and mostly the same."""
        self._page = None
        seen: set[str] = set()
        for kind in ("header", "footer"):
            for root in self._package.related(self._part, kind):
                text = clean("\n".join(element.text for element in self.blocks(root)))
                if text not in seen and not PAGE_NUMBER.fullmatch(text):
                    yield Element(ElementKind.OTHER, text)
                seen.add(text)

    def _paragraph(self, node: Node) -> Iterator[Element]:
        text = self._text(node)
        element = self._styled(node, text) if text.strip() else None
        page = self._page_of_text
        if element is not None:
            yield element
        yield from self._beside(page)

    def _beside(self, page: int | None) -> Iterator[Element]:
        """Text boxes anchored in the last paragraph or table, then the notes and comments it refers to."""
        floating, self._floating = self._floating, []
        referenced, self._referenced = self._referenced, []
        for box in floating:
            yield from self.blocks(box)
        for label, note in referenced:
            text = " ".join(element.text for element in self.blocks(note))
            yield Element(ElementKind.OTHER, f"{label}: {text}", page=page)

    def _styled(self, node: Node, text: str) -> Element:
        properties = node.find(f"{W}pPr")
        style_id = value(properties, "pStyle") if properties is not None else ""
        style = self._styles.of(style_id or self._styles.default)
        outline = outline_level(properties) if properties is not None else None
        numbered = (numbering_of(properties) if properties is not None else None) or style.numbered
        label = self._numbering.label(numbered) if numbered else ""
        element = Element(ElementKind.PARAGRAPH, f"{label} {text.strip()}".strip(), page=self._page_of_text)
        level = style.outline if outline is None else outline
        if style.name == TITLE_STYLE:
            return replace(element, kind=ElementKind.HEADING, level=1)
        if level is not None:
            return replace(element, kind=ElementKind.HEADING, level=level + 1)
        if style.name.startswith(CONTENTS_STYLE):
            return replace(element, kind=ElementKind.OTHER)
        listed = numbered is not None and numbered[0] not in {"", "0"}
        return (
            replace(element, kind=ElementKind.LIST_ITEM)
            if listed or style.name.startswith(BULLETED_STYLES)
            else element
        )

    def _text(self, paragraph: Node) -> str:
        self._pieces, self._page_of_text = [], None
        self._inline(paragraph)
        self._page_of_text = self._page_of_text or self._page
        return "".join(self._pieces)

    def _inline(self, container: Node) -> None:
        for child in container:
            name = local_name(child)
            if name == "t":
                self._write(child.text or "")
            elif name == "r" and _is_hidden(child):
                continue
            elif name in CHARACTERS:
                self._pieces.append(CHARACTERS[name])
            elif name not in SKIPPED:
                self._special(name, child)

    def _special(self, name: str, child: Node) -> None:
        if name == "lastRenderedPageBreak" or (name == "br" and child.get(f"{W}type") == "page"):
            self._break_page(name)
        elif name == "br":
            self._pieces.append("\n")
        elif name == "txbxContent":
            self._floating.append(child)
        elif name in self._notes:
            note = self._notes[name].pop(child.get(f"{W}id", ""), None)  # each once: notes may name one another
            if note is not None:
                self._referenced.append((self._label(child, note), note))
        elif name == "AlternateContent":
            self._inline(next(child.iterchildren("{*}Choice"), child))
        else:
            self._inline(child)

    def _label(self, reference: Node, note: Node) -> str:
        """Kind and number of a note: as printed, they are counted in the order in which the text refers to them."""
        kind = local_name(note).capitalize()
        if kind == "Comment":
            by = ", ".join(filter(None, (attribute(note, "author"), attribute(note, "date")[:10])))
            return f"{kind} ({by})" if by else kind
        if reference.get(f"{W}customMarkFollows", "0") not in OFF:
            return kind
        self._numbers[kind] += 1
        return f"{kind} {self._numbers[kind]}"

    def _write(self, text: str) -> None:
        if text.strip() and self._page_of_text is None:
            self._page_of_text = self._page
        self._pieces.append(text)

    def _break_page(self, name: str) -> None:
        """Word also marks where the page after a hard break began: these marks alone are counted if there are any."""
        self._pieces.append("\n")
        if self._page is not None and (name == "lastRenderedPageBreak") == self._breaks_left_by_word:
            self._page += 1

    def _table(self, node: Node) -> Iterator[Element]:
        page = self._page
        rows = list(_rows(node))
        if len(rows) == 1 and sum(1 for _ in _cells(rows[0])) == 1:  # a frame, no table
            yield from self.blocks(next(_cells(rows[0])))
            return
        header_rows = next((i for i, row in enumerate(rows) if not _is_header(row)), 0)
        grid: list[list[str]] = []
        for row in rows:
            grid.append(self._row(row, grid[-1] if grid else []))
        yield Element(ElementKind.TABLE, table_text(grid, header_rows=header_rows), page=page)
        yield from self._beside(page)

    def _row(self, row: Node, above: list[str]) -> list[str]:
        """One row, with the text of merged cells in every place they cover."""
        properties = row.find(f"{W}trPr")
        before = number(value(properties, "gridBefore")) if properties is not None else 0
        texts = [""] * min(before, MAX_COLUMNS)
        for cell in _cells(row):
            properties = cell.find(f"{W}tcPr")
            span, continues = _merged(properties) if properties is not None else (1, False)
            text = self._cell_text(cell)
            if continues and len(texts) < len(above):
                text = Covered(above[len(texts)])
            texts += [text, *[Covered(text)] * (span - 1)][: MAX_COLUMNS - len(texts)]
        return texts

    def _cell_text(self, cell: Node) -> str:
        floating, self._floating = self._floating, []
        referenced, self._referenced = self._referenced, []
        text = " ".join(element.text for element in self._inside(cell))
        self._floating, self._referenced = floating + self._floating, referenced + self._referenced
        return text

    def _inside(self, cell: Node) -> Iterator[Element]:
        """Blocks of a cell; what belongs to its paragraphs from outside waits for the end of the table."""
        for node in _paragraphs(cell):
            text = self._text(node)
            if text.strip():
                yield self._styled(node, text)


def _paragraphs(node: Node) -> Iterator[Node]:
    """Paragraphs of a cell and of the tables in it, but not of its text boxes."""
    for child in node:
        name = local_name(child)
        if name == "p":
            yield child
        elif name not in SKIPPED:
            yield from _paragraphs(child)


def _rows(table: Node) -> Iterator[Node]:
    yield from _wrapped(table, "tr")


def _cells(row: Node) -> Iterator[Node]:
    yield from _wrapped(row, "tc")


def _wrapped(node: Node, name: str) -> Iterator[Node]:
    """Children `name`, also inside content controls and tracked changes."""
    for child in node:
        found = local_name(child)
        if found == name and not _is_deleted(child):
            yield child
        elif found in {"sdt", "sdtContent", "customXml", "ins"}:
            yield from _wrapped(child, name)


def _is_deleted(row: Node) -> bool:
    properties = row.find(f"{W}trPr")
    return properties is not None and properties.find(f"{W}del") is not None


def _is_header(row: Node) -> bool:
    properties = row.find(f"{W}trPr")
    return properties is not None and _is_on(properties, "tblHeader")


def _is_hidden(run: Node) -> bool:
    properties = run.find(f"{W}rPr")
    return properties is not None and _is_on(properties, "vanish")


def _is_on(properties: Node, name: str) -> bool:
    found = properties.find(f"{W}{name}")
    return found is not None and found.get(f"{W}val", "1") not in OFF


def _merged(properties: Node) -> tuple[int, bool]:
    """How many columns a cell covers, and whether it goes on from the row above."""
    span = min(max(1, number(value(properties, "gridSpan"), 1)), MAX_COLUMNS)
    merge = properties.find(f"{W}vMerge")
    return span, merge is not None and merge.get(f"{W}val", "continue") == "continue"
