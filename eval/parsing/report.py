"""Shows a report on reading: as tables for people, and as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from rich.console import Console
from rich.table import Table

from eval.parsing.measures import Scores
from eval.parsing.run import KUSTOS, Comparison, ParsingReport

WIDTH = 160  # where there is no terminal to ask
MEASURES = {"text": "text similarity", "cells": "table cell F1", "order": "reading order"}
COLOURS = ("#1f6f54", "#c58b1f", "#7a7f87", "#8c4a6b")

_ROW, _BAR, _LEFT, _PANEL, _GAP, _TOP = 40, 9, 250, 220, 30, 60  # pixels


def show(report: ParsingReport) -> None:
    """The report on stdout."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    if report.differing:
        console.print(_differing(report))
    if report.compared:
        console.print(_compared(report))
    slowest = report.slowest
    expected = len(report.readings) - len(report.differing)
    console.print(
        f"{len(report.readings)} files, {expected} as expected, {report.seconds:.1f} s; "
        f"the slowest took {slowest.seconds:.1f} s ({slowest.expectation.path}); "
        f"the largest parser process had {report.peak_bytes / 1e6:,.0f} MB",
        highlight=False,
        markup=False,
    )


def _differing(report: ParsingReport) -> Table:
    table = Table(title="Not as expected", title_justify="left", header_style="bold")
    for column in ("file", "expected", "got"):
        table.add_column(column, overflow="fold")
    for each in report.differing:
        table.add_row(*map(_plain, (each.expectation.path, str(each.expectation), str(each.outcome))))
    return table


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def _compared(report: ParsingReport) -> Table:
    readers = list((report.compared or ())[0].scores)
    table = Table(title=f"Against references: {' / '.join(readers)}", title_justify="left", header_style="bold")
    table.add_column("file")
    for title in MEASURES.values():
        table.add_column(title, justify="right", no_wrap=True)
    for each in report.compared or ():
        table.add_row(_plain(each.path), *_columns(list(each.scores.values())))
    table.add_section()
    table.add_row("mean of the ok files", *_columns(list(report.means().values())), style="bold")
    return table


def _columns(scores: Sequence[Scores]) -> Iterator[str]:
    for measure in MEASURES:
        values = [getattr(each, measure) for each in scores]
        yield " / ".join("-" if value is None else f"{value:.3f}" for value in values)


def plot(report: ParsingReport, path: Path) -> None:
    """Writes the comparison as SVG: for each file and measure one bar per reader."""
    compared = report.compared or ()
    readers = list(compared[0].scores) if compared else [KUSTOS]
    means = Comparison("mean of the ok files", compared[0].kind, report.means()) if report.means() else None
    rows = [*compared, *([means] if means else [])]
    width, height = _LEFT + len(MEASURES) * (_PANEL + _GAP), _TOP + _ROW * len(rows) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="{width}" height="{height}" fill="white"/>',
        *_legend(readers),
        *(part for number, row in enumerate(rows) for part in _bars(row, _TOP + number * _ROW)),
        "</svg>",
    ]
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")


def _legend(readers: Sequence[str]) -> Iterator[str]:
    for number, (name, colour) in enumerate(zip(readers, COLOURS, strict=False)):
        left = _LEFT + number * 120
        yield f'<rect x="{left}" y="10" width="10" height="10" fill="{colour}"/>'
        yield f'<text x="{left + 16}" y="19">{escape(name)}</text>'
    for number, title in enumerate(MEASURES.values()):
        yield f'<text x="{_LEFT + number * (_PANEL + _GAP)}" y="45" font-weight="bold">{title}</text>'


def _bars(row: Comparison, top: int) -> Iterator[str]:
    yield f'<text x="{_LEFT - 10}" y="{top + 18}" text-anchor="end">{escape(Path(row.path).name)}</text>'
    for panel, measure in enumerate(MEASURES):
        left = _LEFT + panel * (_PANEL + _GAP)
        for number, (scores, colour) in enumerate(zip(row.scores.values(), COLOURS, strict=False)):
            value, y = getattr(scores, measure), top + number * (_BAR + 1)
            if value is not None:
                yield f'<rect x="{left}" y="{y}" width="{value * _PANEL:.1f}" height="{_BAR}" fill="{colour}"/>'
                yield f'<text x="{left + 4}" y="{y + 8}" font-size="8" fill="white">{value:.3f}</text>'
