"""What commands print: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any, ParamSpec

import click
import httpx
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from rag.errors import KustosError

PIPED_WIDTH = 120
READABLE = 12
"""No column is made narrower than this, if what stands in it is not."""
INTERRUPTED_STATUS = 130  # what shells report for a command that SIGINT ended
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
out = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH, soft_wrap=False)
err = Console(stderr=True, highlight=False)

TELL_S = 30.0
Tell = Callable[[Mapping[str, Any]], None]
P = ParamSpec("P")


def print_json(data: object) -> None:
    """One JSON document on stdout, readable by scripts and people."""
    click.echo(json.dumps(data, ensure_ascii=False, indent=2))


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, whole: Collection[str] = ()
) -> None:
    """A table; row after row below each other where the terminal is too narrow for it.

    Args:
        whole: columns that people copy from, say ids, which are not broken into lines.
    """
    cells = [[plain(str(cell)) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    needed = sum(width if name in whole else min(width, READABLE) for name, width in zip(columns, widths, strict=True))
    if needed + len(columns) * len(" | ") + 1 > out.width:
        _print_below_each_other(title, columns, cells)
        return
    table = Table(title=title, title_justify="left", header_style="bold", expand=False)
    for name, width in zip(columns, widths, strict=True):
        table.add_column(name, overflow="fold", width=width if name in whole else None)
    for row in cells:
        table.add_row(*map(escape, row))
    out.print(table)


def _print_below_each_other(title: str, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    out.print(title, style="italic", markup=False)
    names = max(map(len, columns))
    for row in cells:
        out.print()
        for name, cell in zip(columns, row, strict=True):
            out.print(f"{name:{names}}  {cell}", markup=False, soft_wrap=True)


def on_the_clock(moment: str | None) -> str:
    """A moment of JSON as people read it in a table, in UTC, to the second; nothing for None."""
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def counted(number: int, one: str, several: str = "") -> str:
    """`number` with its noun, which is `one` with an s unless `several` is given."""
    return f"{number} {one if number == 1 else several or f'{one}s'}"


def plain(text: str) -> str:
    """`text` without what a terminal obeys: titles may hold escapes, or turn the direction of writing (IN-16)."""
    return "".join(" " if _CONTROL.match(each) else each for each in text)


def is_utf8(text: str) -> bool:
    """Whether `text` came in UTF-8; Python hands on bytes that are none as lone surrogates (PEP 383)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def note(text: str) -> None:
    """A remark for people, on stderr; one line in a log stays one."""
    err.print(plain(text), markup=False, soft_wrap=not err.is_terminal)


def typed_failures(command: Callable[P, None]) -> Callable[P, None]:
    """Ends a command with exit status 1 and the message of the error, which says what to do; 130 after Ctrl-C."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except KustosError as error:
            raise click.ClickException(plain(str(error))) from error
        except httpx.HTTPError as error:
            raise click.ClickException(
                f"the service stopped answering ({plain(str(error)) or type(error).__name__}); "
                "see its log, and run the command again"
            ) from error
        except KeyboardInterrupt:
            note("stopped")
            raise SystemExit(INTERRUPTED_STATUS) from None

    return run


@contextmanager
def progress_bar(total_label: str) -> Iterator[Tell]:
    """A pair of bars on stderr for a running sync; where stderr is no terminal, a line every `TELL_S` seconds.

    Yields a function that takes the sync's events as the operator route sends them.
    """
    if not err.is_terminal:
        yield in_lines(total_label, time.monotonic)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bars:
        reading = bars.add_task(f"reading {total_label}", total=0)
        embedding = bars.add_task("embedding passages", total=0)
        counts = Counter[str]()

        def advance(event: Mapping[str, Any]) -> None:
            _count(counts, event)
            bars.update(reading, total=counts["listed"], completed=counts["read"])
            bars.update(embedding, total=counts["chunked"], completed=counts["embedded"])

        yield advance


def in_lines(label: str, clock: Callable[[], float]) -> Tell:
    """Progress for logs."""
    counts, told_at = Counter[str](), clock()

    def tell(event: Mapping[str, Any]) -> None:
        nonlocal told_at
        _count(counts, event)
        if clock() - told_at >= TELL_S:
            told_at = clock()
            note(
                f"{label}: {counts['read']:,} of {counts['listed']:,} files read, "
                f"{counts['embedded']:,} of {counts['chunked']:,} passages embedded so far"
            )

    return tell


def _count(counts: Counter[str], event: Mapping[str, Any]) -> None:
    kind = str(event.get("event"))
    counts[kind] += event.get("items", event.get("chunks", 1))
