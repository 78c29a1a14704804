"""Starts evaluations for the command line. Heavy modules are imported here, where an evaluation begins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eval.leakage import AccessReport
    from eval.run import RetrievalReport
    from rag.settings import Settings


def run_retrieval(settings: Settings, folder: Path, split: str, retriever: str) -> RetrievalReport:
    """Measures one way of searching (`rag.retrieval.Mode`) over a dataset in BEIR layout.

    Raises:
        BadDataset: the folder cannot be used.
        ModelUnavailable: the embedding model is not here.
    """
    from eval.datasets import load_dataset
    from eval.progress import progress_bars
    from eval.run import evaluate_retrieval
    from rag.retrieval import Mode

    dataset = load_dataset(folder, split)
    with progress_bars("questions", len(dataset.queries)) as bars:
        return evaluate_retrieval(settings, dataset, Mode(retriever), bars)


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
