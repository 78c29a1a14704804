"""Starts evaluations for the command line. Heavy modules are imported here, where an evaluation begins."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from rag.machine import processors

if TYPE_CHECKING:
    from eval.datasets import Dataset
    from eval.leakage import AccessReport
    from eval.originals import Originals
    from eval.parsing.run import ParsingReport
    from eval.run import RetrievalReport
    from rag.settings import Settings


def run_retrieval(
    settings: Settings, folder: Path, split: str, retriever: str, originals: Path | None = None
) -> RetrievalReport:
    """Measures one way of searching (`rag.retrieval.Mode`) over a dataset in BEIR layout.

    Args:
        originals: folder with files that documents were cut from, which are read in their place.

    Raises:
        BadDataset: a folder cannot be used.
        ModelUnavailable: the embedding model is not here.
    """
    from eval.datasets import load_dataset
    from eval.progress import progress_bars
    from eval.run import evaluate_retrieval
    from rag.retrieval import Mode

    dataset = load_dataset(folder, split)
    files = _read_originals(settings, originals, dataset) if originals else None
    with progress_bars("questions", len(dataset.queries)) as bars:
        return evaluate_retrieval(settings, dataset, Mode(retriever), bars, files)


def _read_originals(settings: Settings, folder: Path, dataset: Dataset) -> Originals:
    from eval.originals import files_in, read_originals
    from eval.progress import progress_bar
    from ingest.bootstrap import open_pool

    with progress_bar("reading files", len(files_in(folder))) as advance, open_pool(settings) as pool:
        return read_originals(folder, dataset.documents, pool.parse, advance)


def run_access(settings: Settings, folder: Path) -> AccessReport:
    """Audits who is shown what over a dataset with users and access tests.

    Raises:
        BadDataset: the folder cannot be used.
        ModelUnavailable: the embedding model is not here.
    """
    from eval.datasets import load_access_suite
    from eval.progress import progress_bars
    from eval.run import audit_access

    suite = load_access_suite(folder)
    with progress_bars("access tests", len(suite.tests)) as bars:
        return audit_access(settings, suite, bars)


def run_parse(settings: Settings, folder: Path, manifest: Path, reference: Path | None) -> ParsingReport:
    """Reads the files of a manifest in the sandbox, with the limits that are configured.

    Args:
        reference: folder with references, to which bare readers are compared too; None compares nothing.

    Raises:
        BadDataset: manifest, folder or references cannot be used.
        Unavailable: no parser process can be started.
    """
    from eval.parsing.isolated import READERS, Isolated
    from eval.parsing.manifest import load_manifest
    from eval.parsing.run import ParsingReport, compare, load_references, peak_bytes_of_children, read_all
    from eval.progress import progress_bar
    from ingest.bootstrap import open_pool

    expectations = load_manifest(manifest)
    references = load_references(reference, expectations) if reference else None
    started = perf_counter()
    with (
        progress_bar("reading files", len(expectations)) as advance,
        open_pool(settings) as pool,
    ):
        readings = read_all(folder, expectations, pool.parse, workers=processors(), on_progress=advance)
        seconds = round(perf_counter() - started, 1)
    peak = peak_bytes_of_children()
    if references is None:
        return ParsingReport(readings, seconds, peak)
    with progress_bar("comparing", len(references)) as advance, ExitStack() as stack:
        others = {name: stack.enter_context(Isolated(name, settings.parse_timeout_s)).read for name in READERS}
        compared = compare(folder, readings, references, others, advance)
    return ParsingReport(readings, seconds, peak, compared)


def show_parsing(report: ParsingReport) -> None:
    """The report as tables on stdout."""
    from eval.parsing.report import show

    show(report)


def plot_parsing(report: ParsingReport, path: Path) -> None:
    """The comparison of the report as SVG."""
    from eval.parsing.report import plot

    plot(report, path)
