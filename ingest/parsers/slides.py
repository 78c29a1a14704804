"""Presentations (ECMA-376 PresentationML) through python-pptx, its only importer."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

from pptx.enum.shapes import PP_PLACEHOLDER
from pptx.package import Package

from ingest.extraction import SPEAKER_NOTES, Element, ElementKind, Extraction
from ingest.parsers.damage import damage, damaged
from ingest.parsers.kinds import FileKind
from ingest.parsers.markup import attribute, find_text, parse_xml
from ingest.parsers.properties import Properties, in_utc
from ingest.parsers.tables import Covered, table_text

Shape = Any  # python-pptx types its shapes by what they may be, which would need a cast at every step
BULLET = "{http://schemas.openxmlformats.org/drawingml/2006/main}bu"
CHART = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
BODY = {PP_PLACEHOLDER.BODY, PP_PLACEHOLDER.OBJECT}
FURNITURE = {PP_PLACEHOLDER.DATE, PP_PLACEHOLDER.FOOTER, PP_PLACEHOLDER.HEADER, PP_PLACEHOLDER.SLIDE_NUMBER}
COMMENTS = "/relationships/comments"
MAX_POINTS = 2_000
ABOUT_A_ROW = 0.1  # of the lower of two boxes


class PptxParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """One heading per slide, its texts, tables, charts, notes and comments; pages are slides."""
        with damage("the presentation"):
            part: Shape = Package.open(io.BytesIO(data)).main_document_part
            if not hasattr(part, "presentation"):
                raise damaged("the package holds no presentation")
            deck = part.presentation
            elements = tuple(each for n, slide in enumerate(deck.slides, 1) for each in _slide(slide, n))
            found = deck.core_properties
            properties = Properties(found.title, found.author, in_utc(found.created), in_utc(found.modified))
            return properties.describing(elements, FileKind.PPTX)


def _slide(slide: Shape, page: int) -> Iterator[Element]:
    title = slide.shapes.title
    if title is not None and title.has_text_frame:
        yield Element(ElementKind.HEADING, title.text_frame.text.replace("\v", " "), 1, page)
    for shape in _in_order(slide.shapes):
        if title is None or shape.shape_id != title.shape_id:
            yield from _shape(shape, page)
    if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) is not None and notes.text.strip():
        yield Element(ElementKind.OTHER, f"{SPEAKER_NOTES}{notes.text}", page=page)
    yield from _comments(slide, page)


def _in_order(shapes: Iterable[Shape]) -> list[Shape]:
    """From top to bottom, in rows from left to right; groups, which are drawings, after the texts that they illustrate.

    Nobody puts boxes at exactly the same height: what begins about where the first of a row does stands in that row.
    """
    rows: list[list[Shape]] = []
    for shape in sorted(shapes, key=lambda each: (hasattr(each, "shapes"), each.top or 0)):
        first = rows[-1][0] if rows else None
        if first is not None and hasattr(first, "shapes") == hasattr(shape, "shapes") and _is_beside(first, shape):
            rows[-1].append(shape)
        else:
            rows.append([shape])
    return [shape for row in rows for shape in sorted(row, key=lambda each: each.left or 0)]


def _is_beside(first: Shape, other: Shape) -> bool:
    height = min(first.height or 0, other.height or 0)
    return bool((other.top or 0) - (first.top or 0) <= height * ABOUT_A_ROW)


def _shape(shape: Shape, page: int) -> Iterator[Element]:
    if hasattr(shape, "shapes"):
        for each in _in_order(shape.shapes):
            yield from _shape(each, page)
    elif getattr(shape, "has_table", False):
        yield Element(ElementKind.TABLE, _table(shape.table), page=page)
    elif getattr(shape, "has_chart", False):
        yield from _chart(shape.chart, page)
    elif shape.has_text_frame and not _is_furniture(shape):
        yield from _texts(shape, page)
    elif relation := _diagram(shape):
        yield from _diagram_texts(shape.part.related_part(relation).blob, page)


def _is_furniture(shape: Shape) -> bool:
    return shape.is_placeholder and shape.placeholder_format.type in FURNITURE


def _texts(shape: Shape, page: int) -> Iterator[Element]:
    paragraphs = [paragraph for paragraph in shape.text_frame.paragraphs if paragraph.text.strip()]
    is_body = shape.is_placeholder and shape.placeholder_format.type in BODY and len(paragraphs) > 1
    for paragraph in paragraphs:
        kind = ElementKind.LIST_ITEM if _is_bulleted(paragraph, is_body) else ElementKind.PARAGRAPH
        yield Element(kind, paragraph.text.replace("\v", "\n"), page=page)


def _is_bulleted(paragraph: Shape, by_default: bool) -> bool:
    properties = paragraph._p.pPr
    marks = {each.tag.removeprefix(BULLET) for each in properties} if properties is not None else set()
    return bool(marks & {"Char", "AutoNum", "Blip"}) or (by_default and "None" not in marks)


def _table(table: Shape) -> str:
    """The text of merged cells stands in every place they cover."""
    grid: list[list[str]] = []
    for row in table.rows:
        texts: list[str] = []
        for column, cell in enumerate(row.cells):
            tc = cell._tc
            if tc.hMerge and texts:
                texts.append(Covered(texts[-1]))
            elif tc.vMerge and grid and column < len(grid[-1]):
                texts.append(Covered(grid[-1][column]))
            else:
                texts.append(cell.text.replace("\v", " "))
        grid.append(texts)
    return table_text(grid, header=table.first_row and len(grid) > 1 and len(set(grid[0])) == len(grid[0]))


def _chart(chart: Shape, page: int) -> Iterator[Element]:
    """The title, and the numbers as a table with a column per series."""
    if chart.has_title and chart.chart_title.has_text_frame:
        yield Element(ElementKind.PARAGRAPH, chart.chart_title.text_frame.text, page=page)
    series = list(chart._chartSpace.iter(f"{CHART}ser"))
    columns = [(_name(each), _points(each, "val") or _points(each, "yVal")) for each in series]
    labels = (_points(series[0], "cat") or _points(series[0], "xVal")) if series else {}
    places = sorted({place for _, values in columns for place in values})[:MAX_POINTS]
    rows = [[labels.get(place, ""), *(values.get(place, "") for _, values in columns)] for place in places]
    if rows:
        yield Element(
            ElementKind.TABLE, table_text([["", *(name for name, _ in columns)], *rows], header=True), page=page
        )


def _name(series: Shape) -> str:
    found = series.find(f"{CHART}tx")
    return "" if found is None else find_text(found, "v")


def _points(series: Shape, name: str) -> dict[str, str]:
    """Values that PowerPoint keeps beside the workbook they come from, by their place."""
    found = series.find(f"{CHART}{name}")
    return (
        {}
        if found is None
        else {each.get("idx", "").zfill(6): find_text(each, "v") for each in found.iter(f"{CHART}pt")}
    )


def _diagram(shape: Shape) -> str:
    """Relation to the data of a SmartArt diagram; empty where the shape is none."""
    ids = next(shape._element.iter("{http://schemas.openxmlformats.org/drawingml/2006/diagram}relIds"), None)
    return "" if ids is None else attribute(ids, "dm")


def _diagram_texts(data: bytes, page: int) -> Iterator[Element]:
    for point in parse_xml(data).iter("{*}pt"):
        if text := "".join(
            each.text or "" for each in point.iter("{http://schemas.openxmlformats.org/drawingml/2006/main}t")
        ):
            yield Element(ElementKind.LIST_ITEM, text, page=page)


def _comments(slide: Shape, page: int) -> Iterator[Element]:
    """Comments of both kinds that PowerPoint writes; authors are kept elsewhere under numbers and left out."""
    for relation in slide.part.rels.values():
        if relation.is_external or not relation.reltype.endswith(COMMENTS):
            continue
        for comment in parse_xml(relation.target_part.blob).iter("{*}cm", "{*}reply"):
            if text := find_text(comment, "text") or find_text(comment, "txBody"):
                yield Element(ElementKind.OTHER, f"Comment: {text}", page=page)
