"""Excel workbooks from before 2007 (BIFF) through xlrd, its only importer."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import xlrd  # type: ignore[import-untyped]

from ingest.extraction import Element, ElementKind, Extraction
from ingest.parsers.damage import damage, encrypted
from ingest.parsers.grids import Budget, Cells, hidden_sheets, sheet_elements, shown
from ingest.parsers.kinds import FileKind
from ingest.parsers.properties import Properties

Book = Any  # xlrd has no types
SHOWN = 0  # of the states of a sheet (MS-XLS 2.4.28); the others are hidden, and hidden from the list of those too


class XlsParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """One heading per sheet, its tables with the names of their columns in each row, comments.

        Merged cells are not spread: xlrd tells them only along with every empty cell that is formatted.
        """
        with damage("the workbook"), open(os.devnull, "w") as nowhere:
            try:
                book = xlrd.open_workbook(file_contents=data, on_demand=True, ragged_rows=True, logfile=nowhere)
            except xlrd.XLRDError as error:
                if "encrypted" in str(error):
                    raise encrypted("the workbook is protected by a password") from error
                raise
            elements = tuple(_sheets(book))
            author = book.user_name or ""
            notices = hidden_sheets(sum(each != SHOWN for each in book._sheet_visibility))
        return replace(Properties(author=author).describing(elements, FileKind.XLS), notices=notices)


def _sheets(book: Book) -> Iterator[Element]:
    budget = Budget()
    for name, visibility in zip(book.sheet_names(), book._sheet_visibility, strict=True):
        if visibility != SHOWN:
            continue
        sheet = book.sheet_by_name(name)
        if cells := _cells(book, sheet, budget):
            yield from sheet_elements(name, cells, budget)
            yield from _comments(sheet)
        book.unload_sheet(name)


def _cells(book: Book, sheet: Book, budget: Budget) -> Cells:
    texts: defaultdict[int, dict[int, str]] = defaultdict(dict)
    for row in range(sheet.nrows):
        for column, cell in enumerate(sheet.row(row)):
            if text := _text(book, cell).strip():
                texts[row][column] = budget.spend(text)
    return texts


def _comments(sheet: Book) -> Iterator[Element]:
    for (row, column), note in sorted(sheet.cell_note_map.items()):
        by = f" ({note.author})" if note.author.strip() else ""
        yield Element(ElementKind.OTHER, f"Comment on {xlrd.cellname(row, column)}{by}: {note.text}")


def _text(book: Book, cell: Book) -> str:
    match cell.ctype:
        case xlrd.XL_CELL_DATE:
            try:
                return shown(xlrd.xldate_as_datetime(cell.value, book.datemode))
            except (ValueError, OverflowError):  # a number in the dress of a date
                return shown(cell.value)
        case xlrd.XL_CELL_BOOLEAN:
            return shown(bool(cell.value))
        case xlrd.XL_CELL_ERROR:
            return ""
        case _:
            return shown(cell.value)
