"""PDF by PyMuPDF: letters, policies, two-column leaflets, scans and a locked file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pymupdf as _pymupdf

from examples.builders.source import Source
from examples.builders.web import markup

pymupdf: Any = _pymupdf  # its annotations are partial

_PAGE = pymupdf.paper_rect("a4")
_BLUE = (0.07, 0.22, 0.36)
_GREY = (0.4, 0.4, 0.4)
_SENDERS = (
    ("Hansekai Logistik GmbH", "Kaispeicherweg 14, 20457 Hamburg"),
    ("Hansekai Logistics Ltd", "Unit 7, Harbour Gate Park, Felixstowe"),
)
_WHOLE = (pymupdf.Rect(62, 96, 533, 768),)
_CSS = """
body { font-family: sans-serif; font-size: 10pt; line-height: 1.35; margin: 0; }
h1 { font-size: 16pt; color: #12385b; margin-bottom: 6pt; }
h2 { font-size: 12pt; color: #12385b; margin-top: 10pt; margin-bottom: 3pt; }
h3 { font-size: 10.5pt; margin-top: 8pt; margin-bottom: 2pt; }
table { border-collapse: collapse; width: 100%; margin-top: 4pt; margin-bottom: 8pt; font-size: 9pt; }
td, th { border: 0.5pt solid #8a99a8; padding: 3pt; text-align: left; }
th { background-color: #e6ecf2; }
.note { font-style: italic; color: #444444; }
"""
_SCAN_CSS = _CSS.replace("sans-serif", "serif").replace("#12385b", "#111111")
_SCAN_DPI = 150


def pdf(source: Source) -> bytes:
    """The document as PDF in its layout: plain, two-column, scan (one image a page, no text) or locked."""
    document = _laid_out(source)
    if source.layout == "scan":
        document = _scanned(document)
    return _saved(document, source)


def locked(source: Source, password: str) -> bytes:
    """The document as PDF that opens with `password` only. Its bytes differ from call to call: encryption is salted."""
    document = _laid_out(source)
    saved: bytes = document.tobytes(
        encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw=password, owner_pw=password, garbage=3, deflate=True
    )
    return saved


def is_locked(content: bytes) -> bool:
    """Whether `content` is a PDF that asks for a password."""
    with pymupdf.open("pdf", content) as document:
        return bool(document.needs_pass)


def _laid_out(source: Source) -> Any:
    scan = source.layout == "scan"
    story = pymupdf.Story(markup(source.blocks), user_css=_SCAN_CSS if scan else _CSS)
    laid_out = _balanced(story) if source.layout == "two-column" else _flow(story, _WHOLE)
    document = pymupdf.open("pdf", laid_out)
    for page in document:
        _letterhead(page, source, len(document))
    document.subset_fonts()
    return document


def _columns(bottom: int) -> tuple[Any, ...]:
    return pymupdf.Rect(62, 96, 288, bottom), pymupdf.Rect(307, 96, 533, bottom)


def _balanced(story: Any) -> bytes:
    """Two columns just long enough to hold the story on one page; full columns where it needs more pages."""
    for bottom in range(208, 769, 16):
        laid_out = _flow(story, _columns(bottom))
        if len(pymupdf.open("pdf", laid_out)) == 1:
            break
        story.reset()
    return laid_out


def _flow(story: Any, frames: tuple[Any, ...]) -> bytes:
    target = io.BytesIO()
    writer = pymupdf.DocumentWriter(target)
    more, device = True, None
    for number, frame in _frames(frames):
        if number == 0:
            if device is not None:
                writer.end_page()
            if not more:
                break
            device = writer.begin_page(_PAGE)
        if more:
            more, _ = story.place(frame)
            story.draw(device)
    writer.close()
    return target.getvalue()


def _frames(frames: tuple[Any, ...]) -> Iterator[tuple[int, pymupdf.Rect]]:
    return cycle(enumerate(frames))


def _letterhead(page: Any, source: Source, pages: int) -> None:
    english = source.language == "en"
    house, place = source.head.get("sender") or _SENDERS[bool(source.head.get("branch"))]
    page.insert_text((62, 58), house, fontname="hebo", fontsize=13, color=_BLUE)
    page.insert_text((62, 71), place, fontname="helv", fontsize=8, color=_GREY)
    page.insert_text((400, 58), str(source.head.get("number", "")), fontname="helv", fontsize=8, color=_GREY)
    page.draw_line((62, 80), (533, 80), color=_BLUE, width=1.2)
    page.draw_line((62, 786), (533, 786), color=_GREY, width=0.4)
    day = f"{source.moment:%d %b %Y}" if english else f"{source.moment:%d.%m.%Y}"
    counter = f"{'Page' if english else 'Seite'} {page.number + 1} {'of' if english else 'von'} {pages}"
    page.insert_text((62, 800), day, fontname="helv", fontsize=8, color=_GREY)
    page.insert_text((470, 800), counter, fontname="helv", fontsize=8, color=_GREY)


def _scanned(document: Any) -> Any:
    """Each page as one grey picture, laid a little askew as on a flatbed."""
    images = pymupdf.open()
    for page in document:
        askew = pymupdf.Matrix(_SCAN_DPI / 72, _SCAN_DPI / 72).prerotate(0.6 if page.number % 2 == 0 else -0.4)
        shot = page.get_pixmap(matrix=askew, colorspace=pymupdf.csGRAY)
        images.new_page(width=_PAGE.width, height=_PAGE.height).insert_image(_PAGE, stream=shot.tobytes("jpg", 55))
    return images


def _saved(document: Any, source: Source) -> bytes:
    stamp = f"{source.moment:D:%Y%m%d%H%M%SZ}"
    document.set_metadata(
        {"title": source.title, "author": source.author, "creationDate": stamp, "modDate": stamp, "producer": "PyMuPDF"}
    )
    document.set_language(source.language)
    saved: bytes = document.tobytes(garbage=4, deflate=True, no_new_id=True)
    return saved
