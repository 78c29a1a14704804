"""From the pages of a document to its extraction, whichever library reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Protocol

from ingest.extraction import ElementKind, Extraction
from ingest.parsers.attachments import Attachments
from ingest.parsers.layout import (
    Block,
    Rect,
    Sheet,
    around,
    in_reading_order,
    merged_lines,
    without_running_heads,
)
from ingest.parsers.ocr import MAX_OCR_SIDE_PX, OCR_DPI, Pixels, Recognition
from ingest.parsers.options import ReadingOptions
from ingest.parsers.properties import Properties, in_utc
from ingest.parsers.ruled import Table, Word, has_grid, tables
from ingest.parsers.structure import body_size, elements, footnotes_last
from ingest.parsers.tables import table_text

MAX_UNMAPPED_SHARE = 0.3  # of a page's characters; above it the fonts do not say what they show
MIN_PAGE_CHARS = 25  # fewer, over an image or outlines, are a stamp or a page number on a scan
MIN_PICTURE_SHARE = 0.1  # of the page's area
MIN_LONE_PICTURE_SHARE = 0.002  # where there is no text at all
MANY_OUTLINES = 100  # drawn shapes on a page without text: its characters may be among them
SAME_COLUMN_PT = 4.0
UNMAPPED = re.compile("[\ufffd\x00-\x1f\ue000-\uefff\uf100-\uf8ff]")  # bullets of symbol fonts are legible

DATE = re.compile(
    r"(?:D:)?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:([+-])(\d\d)'?(\d\d)?'?|Z.*)?\s*"  # ISO 32000-1, 7.9.4
)


@dataclass(frozen=True, slots=True)
class PageContent:
    """What a library finds on one page.

    Attributes:
        drawn: places of straight rules and boxes.
        pictures: places of images.
        shapes: number of drawn shapes of any kind.
        extras: form fields and comments, complete.
        words: asked for where there may be a table.
    """

    sheet: Sheet
    blocks: Sequence[Block]
    drawn: Sequence[Rect]
    shapes: int
    pictures: Callable[[], Sequence[Rect]]
    words: Callable[[], Iterable[Word]]
    extras: Sequence[Block] = ()


class PagedDocument(Protocol):
    """A document that a library has opened."""

    @property
    def page_count(self) -> int: ...

    def content(self, number: int) -> PageContent:
        """What is on page `number`, from 1."""

    def pixels(self, number: int, width: int) -> Pixels:
        """The page as it is displayed, `width` pixels wide."""

    def properties(self) -> Properties: ...

    def attachments(self) -> Attachments:
        """Files inside it; asked for after its pages."""


@dataclass(slots=True)
class _Page:
    sheet: Sheet
    blocks: list[Block]
    tables: list[tuple[Table, Block]] = field(default_factory=list)
    is_ordered: bool = False


def extraction(document: PagedDocument, options: ReadingOptions, media_type: str) -> Extraction:
    """Text in reading order with pages and places; headings by type size; ruled tables row by row.

    Raises:
        DocumentRefused: there is no text in it, and nothing else.
    """
    recognition = Recognition(options)
    pages = [_page(document, number, recognition) for number in range(1, document.page_count + 1)]
    body = body_size(line for page in pages for block in page.blocks for line in block.lines)
    _with_table_texts(pages)
    blocks: list[Block] = []
    for page in pages:
        ordered = page.blocks if page.is_ordered else merged_lines(in_reading_order(page.blocks))
        blocks += footnotes_last(ordered, body)
    kept = elements(without_running_heads(blocks, document.page_count))
    files = document.attachments()
    attachments = files.as_tuple()
    if not kept and not attachments:
        raise recognition.refusal(document.page_count)
    notices = (*filter(None, (recognition.notice(),)), *files.notices())
    described = document.properties().describing(kept, media_type)
    return replace(described, attachments=attachments, notices=notices)


def _page(document: PagedDocument, number: int, recognition: Recognition) -> _Page:
    content = document.content(number)
    if _needs_recognition(content):
        return _recognised(document, content, recognition)
    found = tables(content.drawn, content.words(), content.sheet) if has_grid(content.drawn) else []
    blocks = [block for each in content.blocks if (block := _outside(each, found))]
    page = _Page(content.sheet, [*blocks, *content.extras])
    page.tables = [(table, Block((), table.box, content.sheet, kind=ElementKind.TABLE)) for table in found]
    return page


def _outside(block: Block, found: Sequence[Table]) -> Block | None:
    """The block without the lines that stand in a table."""
    if not any(_meet(block.box, table.box) for table in found):
        return block
    lines = tuple(line for line in block.lines if not any(table.box.holds_centre_of(line.box) for table in found))
    return block._replace(lines=lines, box=around(line.box for line in lines)) if lines else None


def _meet(one: Rect, other: Rect) -> bool:
    return one.left <= other.right and other.left <= one.right and one.top <= other.bottom and other.top <= one.bottom


# Pages without usable text --------------------------------------------------------------------------------------------


def _needs_recognition(content: PageContent) -> bool:
    """Whether the page shows more than its text layer says."""
    printed = "".join("".join(line.text.split()) for block in content.blocks for line in block.lines)
    if printed and _unmapped(printed) > MAX_UNMAPPED_SHARE * len(printed):
        return True
    if len(printed) >= MIN_PAGE_CHARS:
        return False
    if content.shapes >= MANY_OUTLINES:
        return True
    least = (MIN_PICTURE_SHARE if printed else MIN_LONE_PICTURE_SHARE) * content.sheet.width * content.sheet.height
    return any(picture.width * picture.height >= least for picture in content.pictures())


def _unmapped(text: str) -> int:
    return len(UNMAPPED.findall(text))


def _recognised(document: PagedDocument, content: PageContent, recognition: Recognition) -> _Page:
    """The page by recognition where the budget allows it and something is found; else what the text layer says."""
    sheet = content.sheet
    if recognition.may_read(sheet.number):
        width = round(sheet.width * OCR_DPI / 72 * min(1.0, MAX_OCR_SIDE_PX * 72 / (OCR_DPI * max(sheet[1:]))))
        if blocks := recognition.blocks(document.pixels(sheet.number, max(width, 1)), sheet):
            return _Page(sheet, [*blocks, *content.extras], is_ordered=True)
    legible = [block for block in content.blocks if _unmapped(block.text) <= MAX_UNMAPPED_SHARE * len(block.text)]
    return _Page(sheet, [*legible, *content.extras])


# Tables that go on over pages -----------------------------------------------------------------------------------------


def _with_table_texts(pages: Sequence[_Page]) -> None:
    """Adds the tables' blocks; what goes on from the page before reads with the column names from there."""
    parts: list[tuple[_Page, Table, Block]] = []
    for page in pages:
        for table, block in page.tables:
            if not (parts and _goes_on(parts[-1], (page, table))):
                _close(parts)
                parts = []
            parts.append((page, table, block))
    _close(parts)


def _goes_on(above: tuple[_Page, Table, Block], below: tuple[_Page, Table]) -> bool:
    """The last thing on one page, the first on the next, in the same columns."""
    page, table, _ = above
    following, other = below
    if following.sheet.number != page.sheet.number + 1 or len(table.edges) != len(other.edges):
        return False
    if any(abs(a - b) > SAME_COLUMN_PT for a, b in zip(table.edges, other.edges, strict=True)):
        return False
    last = not any(b.box.top >= table.box.bottom for b in _content(page))
    return last and not any(b.box.bottom <= other.box.top for b in _content(following))


def _content(page: _Page) -> Iterator[Block]:
    yield from (block for block in page.blocks if not block.in_margin and block.kind is not ElementKind.TABLE)
    yield from (Block((), table.box, page.sheet) for table, _ in page.tables)


def _close(parts: Sequence[tuple[_Page, Table, Block]]) -> None:
    if not parts:
        return
    head = parts[0][1].rows[0]
    shares = [
        table.rows if i == 0 or table.rows[0] != head else table.rows[1:] for i, (_, table, _) in enumerate(parts)
    ]
    lines = table_text([row for rows in shares for row in rows]).split("\n")
    for (page, _, block), rows in zip(parts, shares, strict=True):
        own, lines = lines[: len(rows)], lines[len(rows) :]
        if own:
            page.blocks.append(block._replace(whole="\n".join(own)))


# Metadata -------------------------------------------------------------------------------------------------------------


def pdf_time(text: str | None) -> datetime | None:
    """UTC time of a date in a PDF (`D:20240131120000+01'00'`); None where it is none."""
    found = DATE.fullmatch((text or "").strip())
    if not found:
        return None
    *numbers, sign, hours, minutes = found.groups()
    year, month, day, hour, minute, second = (int(number) if number else 0 for number in numbers)
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    try:
        zone = timezone(offset) if sign else UTC
        return in_utc(datetime(year, month or 1, day or 1, hour, minute, second, tzinfo=zone))
    except (ValueError, OverflowError):
        return None


def field_text(name: str, value: str) -> str:
    """A form field as it reads; empty where it holds nothing."""
    name, value = " ".join(name.split()), value.strip()
    return f"{name}: {value}" if name and value else value
