"""Excel workbooks (ECMA-376 SpreadsheetML) through openpyxl, its only importer. Macros are neither run nor read."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import openpyxl  # type: ignore[import-untyped]
from openpyxl.comments.comment_sheet import CommentSheet  # type: ignore[import-untyped]
from openpyxl.worksheet._reader import WorksheetReader  # type: ignore[import-untyped]
from openpyxl.worksheet.cell_range import CellRange, MultiCellRange  # type: ignore[import-untyped]

from ingest.extraction import Element, ElementKind, Extraction
from ingest.parsers.damage import damage
from ingest.parsers.grids import Budget, Cells, hidden_sheets, sheet_elements, shown
from ingest.parsers.kinds import FileKind
from ingest.parsers.markup import Node, children, find_text, parse_xml
from ingest.parsers.opc import OfficePackage
from ingest.parsers.tables import Covered, table_text

MAX_MERGED_CELLS = 10_000
MAX_NAMES = 1_000
MAX_POINTS = 2_000
THREADED = re.compile(r"^\[(?:Threaded comment|Kommentarthread)\].*?(?:Comment|Kommentar):\s*", re.DOTALL)
WITHOUT_VALUE = re.compile(
    rb"""<(?:\w{1,9}:)?c\b(?![^<>]{0,300}t=["']str)[^<>]{0,300}+>\s*+"""
    rb"""<(?:\w{1,9}:)?f\b(?:[^<>/]{0,300}+/>|[^<>]{0,300}+>[^<]*+</(?:\w{1,9}:)?f>)\s*+"""
    rb"""(?:<(?:\w{1,9}:)?v\s*+(?:/>|></(?:\w{1,9}:)?v>)\s*+)?+</(?:\w{1,9}:)?c>"""
)
"""A cell with a formula and no value; an empty text is a value."""
SINGLE_CELL = re.compile(r"\$?[A-Za-z]{1,3}\$?\d{1,7}")
Sheet = Any  # openpyxl has no types


class XlsxParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """One heading per sheet, its tables with the names of their columns in each row, comments, named ranges."""
        with damage("the workbook"):
            book = openpyxl.load_workbook(io.BytesIO(data), data_only=True, keep_links=False)
            with OfficePackage(data) as package:
                properties = package.properties()  # openpyxl puts the present where a date is missing
                shown_as_formulas = _show_formulas(book, data) if _lacks_values(package) else 0
                threads = _threads(package)
            elements = (*_sheets(book, threads), *_names(book))
            hidden = sum(not _is_shown(each) for each in (*book.worksheets, *book.chartsheets))
        titled = [each for each in elements if each.kind is not ElementKind.HEADING]
        found = properties.describing(elements if titled else (), FileKind.XLSX)
        notices = hidden_sheets(hidden)
        if shown_as_formulas:
            notices += (f"{shown_as_formulas:,} formulas without a stored value are shown as formulas",)
        return replace(found, notices=notices)


def _lacks_values(package: OfficePackage) -> bool:
    """Whether there are formulas whose values the program that wrote the file did not work out."""
    sheets = (name for name in package.names if name.startswith("xl/worksheets/"))
    return any(WITHOUT_VALUE.search(package.read(name)) for name in sheets)


def _show_formulas(book: Sheet, data: bytes) -> int:
    """Puts formulas where their values are missing; returns how many."""
    formulas = openpyxl.load_workbook(io.BytesIO(data), keep_links=False)
    count = 0
    for sheet in book.worksheets:
        for place, cell in formulas[sheet.title]._cells.items():
            if cell.data_type == "f" and sheet._cells[place].value is None:
                sheet._cells[place].value = str(getattr(cell.value, "text", cell.value))
                count += 1
    return count


def _sheets(book: Sheet, threads: Mapping[str, Sequence[str]]) -> Iterator[Element]:
    budget = Budget()
    for sheet in filter(_is_shown, book.worksheets):
        heads = [_top_left(table) for table in sheet.tables.values() if table.headerRowCount]
        yield from sheet_elements(sheet.title, _cells(sheet, budget), budget, heads, _charts(sheet))
        yield from _comments(sheet, threads)
    for sheet in filter(_is_shown, book.chartsheets):
        yield Element(ElementKind.HEADING, sheet.title, 1)
        yield from (element for _, element in _charts(sheet))


def _is_shown(sheet: Sheet) -> bool:
    """Whoever shares a workbook seldom means the sheets that he has hidden, for instance what a sum is made of."""
    return bool(sheet.sheet_state == "visible")


def _cells(sheet: Sheet, budget: Budget) -> Cells:
    """What the sheet shows; cells that are only formatted are not part of the used area."""
    texts: defaultdict[int, dict[int, str]] = defaultdict(dict)
    for (
        row,
        column,
    ), cell in sheet._cells.items():  # only cells that the file holds, however large the sheet says it is
        value = cell.value
        if value is None or value == "":
            continue
        percent = type(value) in {int, float} and cell.number_format.endswith("%")
        if (text := shown(value, percent=percent)).strip():
            texts[row][column] = budget.spend(text)
    for merged in sheet.merged_cells.ranges:
        _spread(merged, texts, budget)
    return texts


def _keep_merged_ranges(reader: Sheet) -> None:
    """Which cells are merged, without a cell for every place that they cover: one range can cover 17 billion."""
    if reader.parser.merged_cells:
        ranges = [CellRange(each.ref) for each in reader.parser.merged_cells.mergeCell]
        reader.ws.merged_cells = MultiCellRange(ranges)


def _leave_hyperlinks(reader: Sheet) -> None:
    """Nothing here reads them, and openpyxl makes a cell for every place of a linked range."""


def _single_cells(parsed: Sheet) -> Iterator[tuple[str, Sheet]]:
    """Comments with their cells, without those on a range, which no program writes: it would be filled with cells."""
    return ((place, comment) for place, comment in _every_comment(parsed) if SINGLE_CELL.fullmatch(place))


_every_comment = CommentSheet.comments.fget
CommentSheet.comments = property(_single_cells)
WorksheetReader.bind_merged_cells = _keep_merged_ranges
WorksheetReader.bind_hyperlinks = _leave_hyperlinks


def _spread(merged: Sheet, texts: defaultdict[int, dict[int, str]], budget: Budget) -> None:
    """The text of a merged cell in every place that it covers, where only it is shown."""
    if merged.size["rows"] * merged.size["columns"] > MAX_MERGED_CELLS:
        return
    text = texts.get(merged.min_row, {}).get(merged.min_col)
    covered = islice(merged.cells, 1, None)
    if text is None:
        for row, column in covered:
            budget.spend("")
            texts.get(row, {}).pop(column, None)
    else:
        for row, column in covered:
            texts[row][column] = Covered(budget.repeat(text))


def _top_left(table: Sheet) -> tuple[int, int]:
    left, top, _, _ = openpyxl.utils.cell.range_boundaries(table.ref)
    return top, left


def _threads(package: OfficePackage) -> dict[str, list[str]]:
    """Comments that can be replied to, by the id of the first of each thread: who says what (MS-XLSX 2.1.37)."""
    people: dict[str, str] = {}
    threads: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(package.names):
        if name.startswith("xl/persons/"):
            people |= {
                each.get("id", ""): each.get("displayName", "") for each in children(_root(package, name), "person")
            }
    for name in sorted(package.names):
        if name.startswith("xl/threadedComments/"):
            for each in children(_root(package, name), "threadedComment"):
                by = people.get(each.get("personId", ""))
                said = f"{f' ({by})' if by else ''}: {find_text(each, 'text')}"
                threads[each.get("parentId") or each.get("id", "")].append(said)
    return threads


def _root(package: OfficePackage, name: str) -> Node:
    return parse_xml(package.read(name))


def _comments(sheet: Sheet, threads: Mapping[str, Sequence[str]]) -> Iterator[Element]:
    """What is beside the cells. Of a thread, older programs are shown one text without the names of who wrote it."""
    for cell in sheet._cells.values():
        if comment := getattr(cell, "comment", None):
            first, *replies = threads.get(comment.author.removeprefix("tc="), ()) or [_unthreaded(comment)]
            yield Element(ElementKind.OTHER, f"Comment on {cell.coordinate}{first}")
            yield from (Element(ElementKind.OTHER, f"Reply{each}") for each in replies)


def _unthreaded(comment: Sheet) -> str:
    by = "" if comment.author.startswith("tc=") else f" ({comment.author})"
    return f"{by}: {THREADED.sub('', comment.text)}"


def _charts(sheet: Sheet) -> Iterator[tuple[int, Element]]:
    """Title and numbers of each chart, as they are kept with the chart, and the row at which it stands."""
    for chart in sorted(sheet._charts, key=_row_of):
        row = _row_of(chart)
        if title := _title(chart):
            yield row, Element(ElementKind.PARAGRAPH, title)
        columns = [(_name(each), _points(each.val or each.yVal)) for each in chart.series]
        labels = _points(chart.series[0].cat or chart.series[0].xVal) if chart.series else {}
        places = sorted({place for _, values in columns for place in values})[:MAX_POINTS]
        rows = [[labels.get(place, ""), *(values.get(place, "") for _, values in columns)] for place in places]
        if rows:
            numbers = table_text([["", *(name for name, _ in columns)], *rows], header=True)
            yield row, Element(ElementKind.TABLE, numbers)


def _row_of(chart: Sheet) -> int:
    corner = getattr(chart.anchor, "_from", None)
    return corner.row + 1 if corner else 0


def _title(chart: Sheet) -> str:
    rich = getattr(getattr(chart.title, "tx", None), "rich", None)
    return "".join(run.t for paragraph in rich.p for run in paragraph.r or ()) if rich else ""


def _name(series: Sheet) -> str:
    kept = getattr(getattr(getattr(series, "tx", None), "strRef", None), "strCache", None)
    return " ".join(point.v for point in kept.pt) if kept else ""


def _points(source: Sheet) -> dict[int, str]:
    """Values by their place; none where the chart has kept none."""
    numbers, texts = getattr(source, "numRef", None), getattr(source, "strRef", None)
    kept = (numbers.numCache if numbers else None) or (texts.strCache if texts else None)
    return {point.idx: shown(_value(point.v)) for point in kept.pt if point.v is not None} if kept else {}


def _value(text: object) -> object:
    """Numbers of charts are kept as texts or as numbers, depending on what they label."""
    try:
        return float(str(text))
    except ValueError:
        return text


def _names(book: Sheet) -> Iterator[Element]:
    """Named ranges and constants, those of single sheets among them, with the value of those that are one cell."""
    shown_sheets = filter(_is_shown, book.worksheets)
    every = chain(book.defined_names.items(), *(sheet.defined_names.items() for sheet in shown_sheets))
    lines = [
        f"{name}: {_meaning(book, defined)}"
        for name, defined in islice(every, MAX_NAMES)
        if not (
            defined.hidden or name.startswith("_") or not defined.attr_text or _points_nowhere(book, defined.attr_text)
        )
    ]
    if lines:
        yield Element(ElementKind.OTHER, "\n".join(["Named ranges", *lines]))


def _points_nowhere(book: Sheet, reference: str) -> bool:
    """Whether what is named is gone, or on a hidden sheet."""
    hidden = {each.title for each in book._sheets if not _is_shown(each)}
    return "#REF!" in reference or reference.rpartition("!")[0].strip("'") in hidden


def _meaning(book: Sheet, defined: Sheet) -> str:
    reference = defined.attr_text.replace("$", "")
    title, bang, place = reference.rpartition("!")
    sheet = title.strip("'")
    if not bang or ":" in place or sheet not in book.sheetnames or not re.fullmatch(r"[A-Z]{1,3}\d{1,7}", place):
        return str(reference).strip('"')
    value = shown(book[sheet][place].value)
    return f"{value} ({reference})" if value else reference
