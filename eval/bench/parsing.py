"""Reading files in the sandbox with their structure, against the bare libraries that read nothing but the text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from eval.bench.figures import Figure, at_least, plain
from eval.bench.made_files import Words, office, pdf
from eval.parsing.bare import pymupdf_characters, unstructured_characters
from ingest.bootstrap import open_pool
from ingest.sandbox import ParserPool
from rag.machine import processors
from rag.settings import Settings

PDFS = 8
PAGES = 60
OFFICE_FILES = 6  # of each kind
ROUNDS = 3
GOAL = 0.8

Bare = Callable[[Path], int]


def parsing_figures(settings: Settings) -> Iterator[Figure]:
    """Pages and files a second, warm, in turn with the bare library in this process.

    The bare libraries keep one processor busy, whatever the machine has: they hold Python's lock. So there are two
    values: as Kustos runs, with a parser process for each processor; and with one, which explains the first.
    """
    with TemporaryDirectory(prefix="kustos-bench-") as folder:
        words = Words()
        pdfs = [Path(folder) / f"{number}.pdf" for number in range(PDFS)]
        for path in pdfs:
            pdf(path, PAGES, words)
        files = office(Path(folder), OFFICE_FILES, words)
        yield from _figures(settings, "text PDFs", "pages/s", PAGES, pdfs, pymupdf_characters)
        yield from _figures(settings, "office files", "files/s", 1, files, unstructured_characters)


def _figures(
    settings: Settings, what: str, unit: str, units_a_file: int, files: Sequence[Path], bare: Bare
) -> Iterator[Figure]:
    all_of_them = len(files) * units_a_file
    workers = processors()
    with open_pool(settings) as several, _one(settings) as one:
        runs = [
            lambda: _read(several, workers, files),
            lambda: _read(one, 1, files),
            lambda: [bare(path) for path in files],
        ]
        parallel, single, baseline = (all_of_them / seconds for seconds in _in_turn(runs))
    yield at_least(f"reading {what}", parallel, unit, baseline, GOAL)
    yield plain(f"reading {what}: with one parser process", single, unit)
    yield plain(f"reading {what}: one parser process over the bare library", single / baseline, "times")


def _one(settings: Settings) -> ParserPool:
    return ParserPool(1, timeout_s=settings.parse_timeout_s, max_bytes=settings.max_document_bytes)


def _in_turn(runs: Sequence[Callable[[], object]]) -> list[float]:
    """Seconds of each run, the fastest of some rounds: what disturbs makes a run slower, never faster."""
    for run in runs:
        run()  # loads what is loaded once
    rounds = [[_seconds(run) for run in runs] for _ in range(ROUNDS)]
    return [min(seconds) for seconds in zip(*rounds, strict=True)]


def _seconds(run: Callable[[], object]) -> float:
    started = perf_counter()
    run()
    return perf_counter() - started


def _read(pool: ParserPool, workers: int, files: Sequence[Path]) -> None:
    with ThreadPoolExecutor(workers) as threads:
        for _ in threads.map(lambda path: pool.parse(path.read_bytes(), path.name), files):
            pass
