"""Progress of an evaluation, on stderr and only for people: silent where stderr is no terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from rag.ports import OnProgress


class Bars:
    """Two bars: taking documents in (an `ingest.progress.SyncProgress`), and what is asked afterwards."""

    def __init__(self, bars: Progress, asked: str, total: int) -> None:
        self._bars = bars
        self._embedding: TaskID = bars.add_task("embedding passages", total=None)
        self._asking: TaskID = bars.add_task(asked, total=total)
        self._chunks = 0

    def listed(self, items: int) -> None:
        """Nothing to show: reading a corpus takes no time beside embedding it."""

    def read(self, name: str) -> None:
        """As `listed`."""

    def chunked(self, chunks: int) -> None:
        self._chunks += chunks
        self._bars.update(self._embedding, total=self._chunks)

    def embedded(self, chunks: int) -> None:
        self._bars.advance(self._embedding, chunks)

    def asked(self, questions: int) -> None:
        """So many questions, or tests, were put."""
        self._bars.advance(self._asking, questions)


@contextmanager
def progress_bars(asked: str, total: int) -> Iterator[Bars]:
    """The two bars for as long as the block lasts; `asked` names what `total` counts."""
    with _progress() as bars:
        yield Bars(bars, asked, total)


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[OnProgress]:
    """One bar for as long as the block lasts; yields what advances it."""
    with _progress() as bars:
        task = bars.add_task(what, total=total)
        yield lambda done: bars.advance(task, done)


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
