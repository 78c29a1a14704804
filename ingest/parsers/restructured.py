"""reStructuredText through docutils, its only importer: no file is included, no raw markup is let through."""

from __future__ import annotations

from collections.abc import Iterator

from docutils import nodes  # type: ignore[import-untyped]
from docutils.core import publish_doctree  # type: ignore[import-untyped]
from docutils.utils import Reporter  # type: ignore[import-untyped]

from ingest.extraction import Element, ElementKind, Extraction
from ingest.parsers.damage import damage
from ingest.parsers.kinds import FileKind
from ingest.parsers.plain import paragraphs, text_of
from ingest.parsers.properties import Properties, iso_time
from ingest.parsers.reach import MAX_LINE_CHARS, READ_AS_PLAIN, is_tangled_restructured
from ingest.parsers.tables import table_text

SETTINGS = {
    "_disable_config": True,
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "report_level": Reporter.SEVERE_LEVEL + 1,
    "halt_level": Reporter.SEVERE_LEVEL + 1,
    "warning_stream": False,
    "line_length_limit": MAX_LINE_CHARS,
    "syntax_highlight": "none",
}
MARKUP_ONLY = (
    nodes.comment,
    nodes.system_message,
    nodes.substitution_definition,
    nodes.target,
    nodes.raw,
    nodes.pending,
)
PAIRS = (nodes.field, nodes.definition_list_item, nodes.option_list_item)
TEXTS = (nodes.paragraph, nodes.literal_block, nodes.doctest_block, nodes.line_block, nodes.attribution, nodes.rubric)


class RestructuredParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """Headings by section, paragraphs, lists, tables; directives that only Sphinx knows stay as written."""
        text = text_of(data)
        if is_tangled_restructured(text):
            return Extraction("", paragraphs(text), FileKind.RESTRUCTURED, notices=(READ_AS_PLAIN,))
        with damage("the document"):
            tree = publish_doctree(text, settings_overrides=SETTINGS)
            elements = tuple(_elements(tree, 1))
        author = next(iter(tree.findall(nodes.author)), None)
        date = next(iter(tree.findall(nodes.date)), None)
        return Properties(
            author=author.astext() if author else "", modified_at=iso_time(date.astext()) if date else None
        ).describing(elements, FileKind.RESTRUCTURED)


def _elements(parent: nodes.Element, level: int) -> Iterator[Element]:
    for node in parent.children:
        if isinstance(node, nodes.system_message):
            yield from _unknown_directive(node)
        elif isinstance(node, nodes.section):
            yield from _elements(node, level + _is_titled(parent))
        elif not isinstance(node, MARKUP_ONLY):
            yield from _element(node, level)


def _element(node: nodes.Node, level: int) -> Iterator[Element]:
    if isinstance(node, nodes.title | nodes.subtitle):
        yield Element(ElementKind.HEADING, node.astext(), level + isinstance(node, nodes.subtitle))
    elif isinstance(node, nodes.list_item):
        yield Element(ElementKind.LIST_ITEM, "\n".join(each.astext() for each in node.children))
    elif isinstance(node, PAIRS):
        yield Element(ElementKind.LIST_ITEM, ": ".join(filter(None, (each.astext() for each in node.children))))
    elif isinstance(node, nodes.table):
        yield Element(ElementKind.TABLE, _table(node))
    elif isinstance(node, nodes.footnote):
        yield Element(ElementKind.OTHER, "Footnote " + ": ".join(each.astext() for each in node.children))
    elif isinstance(node, TEXTS) or not isinstance(node, nodes.Element):
        yield Element(ElementKind.PARAGRAPH, node.astext())
    else:
        yield from _elements(node, level)


def _unknown_directive(message: nodes.system_message) -> Iterator[Element]:
    """The source of a directive that only Sphinx knows; other complaints are for writers, not for readers."""
    if "Unknown directive" in message.astext():
        for source in message.findall(nodes.literal_block):
            yield Element(ElementKind.PARAGRAPH, source.astext())


def _is_titled(node: nodes.Element) -> bool:
    return any(isinstance(child, nodes.title) for child in node.children)


def _table(table: nodes.table) -> str:
    rows = [[entry.astext() for entry in row.children] for row in table.findall(nodes.row)]
    head = sum(len(list(each.findall(nodes.row))) for each in table.findall(nodes.thead))
    title = next((each.astext() for each in table.findall(nodes.title)), "")
    return "\n".join(filter(None, (title, table_text(rows, header_rows=head))))
