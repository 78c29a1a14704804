"""DOCX, PPTX and XLSX by python-docx, python-pptx and openpyxl, with every clock set to the document's date."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import docx
import openpyxl  # type: ignore[import-untyped]
import pptx
from openpyxl.styles import Font  # type: ignore[import-untyped]
from pptx.util import Emu, Pt

from examples.builders.source import Block, Source, plain, spans

_MODIFIED = re.compile(rb"(<dcterms:modified[^>]*>)[^<]*")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def word(source: Source) -> bytes:
    """The document as DOCX with real heading styles, lists and tables."""
    document = docx.Document()
    _describe(document.core_properties, source)
    for block in source.blocks:
        _WORD[block.kind](document, block)
    return _packed(document, source.moment)


def slides(source: Source) -> bytes:
    """The document as PPTX: `#` is the title slide, each `##` begins a slide, notes become speaker notes."""
    deck = pptx.Presentation()
    _describe(deck.core_properties, source)
    for heading, blocks in _sections(source.blocks):
        _slide(deck, heading, blocks)
    return _packed(deck, source.moment)


def sheet(source: Source) -> bytes:
    """The document as XLSX: each `##` begins a sheet, cells that look like numbers are numbers."""
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    book.properties.creator, book.properties.title = source.author, source.title
    book.properties.created = source.moment.replace(tzinfo=None)
    for heading, blocks in _sections(source.blocks):
        _worksheet(book.create_sheet(heading.text), blocks)
    return _packed(book, source.moment)


def _describe(properties: Any, source: Source) -> None:
    properties.title, properties.author, properties.last_modified_by = source.title, source.author, source.author
    properties.created = properties.modified = source.moment.replace(tzinfo=None)
    properties.language, properties.comments = source.language, ""


def _heading(document: Any, block: Block) -> None:
    document.add_heading(plain(block.text), level=block.level - 1 if block.level > 1 else 0)


def _paragraph(document: Any, block: Block) -> None:
    _runs(document.add_paragraph(), "\n".join(block.lines) if block.kind == "lines" else block.text)


def _entries(document: Any, block: Block) -> None:
    style = "List Bullet" if block.kind == "list" else "List Number"
    for line in block.lines:
        _runs(document.add_paragraph(style=style), line)


def _grid(document: Any, block: Block) -> None:
    table = document.add_table(rows=0, cols=len(block.rows[0]), style="Light Grid Accent 1")
    for row in block.rows:
        for cell, text in zip(table.add_row().cells, row, strict=True):
            cell.text = plain(text)


def _remark(document: Any, block: Block) -> None:
    document.add_paragraph(plain(block.text), style="Intense Quote")


_WORD = {
    "heading": _heading,
    "text": _paragraph,
    "list": _entries,
    "numbered": _entries,
    "table": _grid,
    "lines": _paragraph,
    "note": _remark,
}


def _runs(paragraph: Any, text: str) -> None:
    for piece, bold in spans(text):
        paragraph.add_run(piece).bold = bold


def _sections(blocks: tuple[Block, ...]) -> Iterator[tuple[Block, list[Block]]]:
    heading: Block | None = None
    inside: list[Block] = []
    for block in blocks:
        if block.kind == "heading" and block.level <= 2:
            if heading:
                yield heading, inside
            heading, inside = block, []
        else:
            inside.append(block)
    if heading:
        yield heading, inside


def _slide(deck: Any, heading: Block, blocks: list[Block]) -> None:
    first = heading.level == 1
    slide = deck.slides.add_slide(deck.slide_layouts[0 if first else 1])
    slide.shapes.title.text = plain(heading.text)
    frame = slide.placeholders[1].text_frame
    lines = [line for block in blocks if block.kind not in {"note", "table"} for line in _lines(block)]
    _fill(frame, lines)
    for block in blocks:
        if block.kind == "table":
            _slide_table(slide, block.rows, bool(lines))
        if block.kind == "note":
            slide.notes_slide.notes_text_frame.text = plain(block.text)
    if not lines and not first:
        slide.placeholders[1].element.getparent().remove(slide.placeholders[1].element)


def _lines(block: Block) -> list[str]:
    return [block.text] if block.kind == "text" else list(block.lines)


def _fill(frame: Any, lines: list[str]) -> None:
    for number, line in enumerate(lines):
        paragraph = frame.paragraphs[0] if number == 0 else frame.add_paragraph()
        for piece, bold in spans(line):
            run = paragraph.add_run()
            run.text, run.font.bold, run.font.size = piece, bold, Pt(20)


def _slide_table(slide: Any, rows: tuple[tuple[str, ...], ...], below_text: bool) -> None:
    top = Emu(4_200_000 if below_text else 1_700_000)
    shape = slide.shapes.add_table(len(rows), len(rows[0]), Emu(460_000), top, Emu(8_200_000), Emu(370_000 * len(rows)))
    for number, row in enumerate(rows):
        for column, text in enumerate(row):
            cell = shape.table.cell(number, column)
            cell.text = plain(text)
            cell.text_frame.paragraphs[0].font.size = Pt(14)


def _worksheet(worksheet: Any, blocks: list[Block]) -> None:
    for block in blocks:
        for number, row in enumerate(block.rows or [(line,) for line in block.lines]):
            worksheet.append([_value(plain(cell)) for cell in row])
            if block.rows and number == 0:
                for cell in worksheet[worksheet.max_row]:
                    cell.font = Font(bold=True)
    for column in "ABCDEFGH":
        worksheet.column_dimensions[column].width = 24


def _value(text: str) -> str | int | float:
    if not _NUMBER.fullmatch(text):
        return text
    return float(text) if "." in text else int(text)


def _packed(document: Any, moment: datetime) -> bytes:
    """The saved archive, packed again in its order with the document's date instead of today's."""
    raw, packed = io.BytesIO(), io.BytesIO()
    document.save(raw)
    stamp = f"{moment:%Y-%m-%dT%H:%M:%SZ}".encode()
    with zipfile.ZipFile(raw) as old, zipfile.ZipFile(packed, "w") as new:
        for name in old.namelist():
            entry = zipfile.ZipInfo(name, moment.timetuple()[:6])
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
            content = old.read(name)
            new.writestr(entry, _MODIFIED.sub(rb"\g<1>" + stamp, content) if name == "docProps/core.xml" else content)
    return packed.getvalue()
