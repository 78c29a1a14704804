"""XML through lxml, its only importer: entities are never resolved, nothing is fetched, depth and size are bounded."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from lxml import etree  # type: ignore[import-untyped]

from ingest.parsers.damage import damage, damaged

Node = Any  # lxml has no types
MAX_ATTRIBUTES = 1_000
STRICT = b"http://purl.oclc.org/ooxml/"
STRICT_TO_TRANSITIONAL = (
    (
        b"http://purl.oclc.org/ooxml/wordprocessingml/main",
        b"http://schemas.openxmlformats.org/wordprocessingml/2006/main",
    ),
    (
        b"http://purl.oclc.org/ooxml/officeDocument/relationships",
        b"http://schemas.openxmlformats.org/officeDocument/2006/relationships",
    ),
)  # ECMA-376 part 4


def parse_xml(data: bytes) -> Node:
    """The root element.

    Raises:
        DocumentRefused: it is not well-formed, or declares entities (IN-07).
    """
    if STRICT in data:
        for strict, transitional in STRICT_TO_TRANSITIONAL:
            data = data.replace(strict, transitional)
    with damage("its XML"):
        root = etree.fromstring(data, _parser())
        internal = root.getroottree().docinfo.internalDTD
        declares = internal is not None and any(True for _ in internal.iterentities())
    if declares:
        raise damaged("its XML declares entities, which may hide a bomb or another file")
    return root


def _parser() -> Node:
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_pis=True,
        remove_comments=True,
    )


def local_name(node: Node) -> str:
    """The tag without its namespace; empty for what is no element."""
    return node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""


def attribute(node: Node, name: str) -> str:
    """The attribute `name` of whatever namespace; empty where it is not given."""
    key = next((key for key in node.attrib if key.rpartition("}")[2] == name), None)
    return "" if key is None else node.get(key, "")


def attributes(node: Node) -> Iterator[tuple[str, str]]:
    """The first `MAX_ATTRIBUTES` with their names: lxml looks for each value from the first attribute on."""
    for key in islice(node.attrib, MAX_ATTRIBUTES):
        yield key.rpartition("}")[2], node.get(key, "")


def text_content(node: Node) -> str:
    """All text below a node."""
    return "".join(node.itertext())


def find_text(node: Node, name: str) -> str:
    """Text of the first descendant `name` in any namespace; empty where there is none."""
    found = next(node.iter("{*}" + name), None)
    return "" if found is None else text_content(found).strip()


def children(node: Node, name: str) -> Iterator[Node]:
    """Child elements `name` of whatever namespace."""
    yield from node.iterchildren("{*}" + name)
