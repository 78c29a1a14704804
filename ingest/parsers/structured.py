"""JSON and XML as text: each value with the names that lead to it, records of one kind as tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from ingest.extraction import Element, ElementKind, Extraction
from ingest.parsers.damage import damaged
from ingest.parsers.hypertext import html_extraction
from ingest.parsers.kinds import FileKind
from ingest.parsers.markup import Node, attribute, attributes, local_name, parse_xml, text_content
from ingest.parsers.opendocument import flat_document
from ingest.parsers.plain import paragraphs, text_of
from ingest.parsers.tables import table_text
from rag.errors import DocumentRefused

MAX_DEPTH = 60
MAX_COLUMNS = 40
PATH_SEPARATOR = "."
FLAT_OPENDOCUMENT = {
    "application/vnd.oasis.opendocument.text": FileKind.ODT,
    "application/vnd.oasis.opendocument.spreadsheet": FileKind.ODS,
    "application/vnd.oasis.opendocument.presentation": FileKind.ODP,
}
Value = object
"""What JSON knows: mappings, sequences, texts, numbers, truth values, nothing."""


class JsonParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """One paragraph per object with a line per value; lists of objects as tables; no JSON is text."""
        text = text_of(data)
        try:
            value = _loaded(text)
        except RecursionError as error:
            raise damaged("its lists and objects are nested too deeply") from error
        except ValueError:
            return Extraction("", paragraphs(text), FileKind.TEXT)
        title = value.get("title", "") if isinstance(value, dict) else ""
        return Extraction(title if isinstance(title, str) else "", tuple(_elements(value, "", 0)), FileKind.JSON)


def _loaded(text: str) -> Value:
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        return [json.loads(line) for line in lines]  # one document per line (JSON Lines)


def _elements(value: Value, path: str, depth: int) -> Iterator[Element]:
    if depth > MAX_DEPTH:
        raise damaged("its lists and objects are nested too deeply")
    if isinstance(value, dict):
        yield from _object(value, path, depth)
    elif isinstance(value, list) and (rows := _records(value)):
        yield Element(ElementKind.TABLE, "\n".join(filter(None, (path, table_text(rows, header=True)))))
    elif isinstance(value, list):
        simple = [_shown(each) for each in value if not isinstance(each, dict | list)]
        if simple:
            yield Element(ElementKind.PARAGRAPH, _line(path, ", ".join(simple)))
        for each in value:
            if isinstance(each, dict | list):
                yield from _elements(each, path, depth + 1)
    else:
        yield Element(ElementKind.PARAGRAPH, _line(path, _shown(value)))


def _object(value: Mapping[str, Value], path: str, depth: int) -> Iterator[Element]:
    lines = [_line(_joined(path, key), _flat(each)) for key, each in value.items() if _is_flat(each)]
    yield Element(ElementKind.PARAGRAPH, "\n".join(line for line in lines if line))
    for key, each in value.items():
        if not _is_flat(each):
            yield from _elements(each, _joined(path, key), depth + 1)


def _records(value: Sequence[Value]) -> list[list[str]]:
    """A table of objects whose values are simple and whose names repeat; empty where they are none."""
    if len(value) < 2 or not all(isinstance(each, dict) and all(map(_is_flat, each.values())) for each in value):
        return []
    objects = [each for each in value if isinstance(each, dict)]
    names = list(dict.fromkeys(key for each in objects for key in each))
    if not names or len(names) > MAX_COLUMNS:
        return []
    return [names, *([_flat(each.get(name, "")) for name in names] for each in objects)]


def _is_flat(value: Value) -> bool:
    return not isinstance(value, dict | list) or (
        isinstance(value, list) and not any(isinstance(each, dict | list) for each in value)
    )


def _flat(value: Value) -> str:
    return ", ".join(map(_shown, value)) if isinstance(value, list) else _shown(value)


def _shown(value: Value) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _joined(path: str, key: str) -> str:
    return f"{path}{PATH_SEPARATOR}{key}" if path else key


def _line(name: str, text: str) -> str:
    return f"{name}: {text}" if name and text else text


class XmlParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """Texts with the names of their elements, records as tables; web pages and OpenDocument files as what they are.

        What is not well-formed is read as text; what declares entities is refused.
        """
        try:
            root = parse_xml(data)
        except DocumentRefused as refusal:
            if "entities" in refusal.detail or b"<!ENTITY" in data.replace(b"\0", b""):
                raise damaged("its XML declares entities, which may hide a bomb or another file") from refusal
            return Extraction("", paragraphs(text_of(data)), FileKind.TEXT)
        return _special(root, data) or Extraction("", tuple(_nodes(root, 0)), FileKind.XML)


def _special(root: Node, data: bytes) -> Extraction | None:
    """Documents that are XML by their letters only."""
    special: dict[str, Callable[[], Extraction]] = {"html": lambda: html_extraction(text_of(data))}
    if make := special.get(local_name(root)):
        return make()
    kind = FLAT_OPENDOCUMENT.get(attribute(root, "mimetype"))
    return flat_document(root, kind) if kind else None


def _nodes(node: Node, depth: int) -> Iterator[Element]:
    if depth > MAX_DEPTH:
        raise damaged("its elements are nested too deeply")
    below = [child for child in node if local_name(child)]
    if not below or (node.text or "").strip() or any((child.tail or "").strip() for child in below):
        yield Element(ElementKind.PARAGRAPH, _line(local_name(node), " ".join(text_content(node).split())))
        return
    if rows := _record_rows(below):
        yield Element(ElementKind.TABLE, "\n".join((local_name(node), table_text(rows, header=True))))
        return
    leaves = [child for child in below if not len(child)]
    yield Element(ElementKind.PARAGRAPH, "\n".join(filter(None, [_attributes(node), *map(_leaf, leaves)])))
    for child in below:
        if len(child):
            yield from _nodes(child, depth + 1)


def _record_rows(below: Sequence[Node]) -> list[list[str]]:
    """A table of siblings of one name that hold nothing but leaves; empty where they are none."""
    if len(below) < 2 or len({child.tag for child in below}) > 1 or not all(map(_is_record, below)):
        return []
    names = list(dict.fromkeys(local_name(leaf) for child in below for leaf in child))
    if len(names) > MAX_COLUMNS:
        return []
    found = [{local_name(leaf): (leaf.text or "").strip() for leaf in child} for child in below]
    return [names, *([each.get(name, "") for name in names] for each in found)]


def _is_record(node: Node) -> bool:
    names = [local_name(leaf) for leaf in node]
    return bool(names) and all(names) and len(set(names)) == len(names) and not any(len(leaf) for leaf in node)


def _leaf(node: Node) -> str:
    text = " ".join((node.text or "").split()) or _attributes(node)
    return _line(local_name(node), text)


def _attributes(node: Node) -> str:
    return ", ".join(f"{key}: {value}" for key, value in attributes(node) if value.strip())
