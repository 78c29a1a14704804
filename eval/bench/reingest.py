"""Taking in a folder again: unchanged, against a bare walk; a hundredth changed, against LlamaIndex's pipeline."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from connectors.filesystem import FilesystemConnector
from eval.bench.figures import Figure, at_least, at_most, exactly, plain
from eval.bench.llama_pipeline import LlamaPipeline
from eval.bench.made_files import Words, edit, notes
from eval.embedders import PassingOn
from ingest.bootstrap import open_ingestion
from ingest.pipeline import Ingestion, SyncReport
from rag.bootstrap import open_kustos
from rag.ports import Embedder, OnProgress, Vectors
from rag.settings import Settings

UNCHANGED_FILES = 10_000
CHANGED_FILES = 1_000
SECTIONS = 6
ROUNDS = 3
UNCHANGED_GOAL = 3
CHANGED_GOAL = 3
SOURCE = "notes"


class Switched(PassingOn):
    """The embedder, or while it is off random vectors at once: filling is not measured."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__(embedder)
        self._random = np.random.default_rng(1)
        self.on = False

    def embed_documents(self, texts: Sequence[str], on_progress: OnProgress | None = None) -> Vectors:
        """float32[n, dim]."""
        if self.on:
            return super().embed_documents(texts, on_progress)
        drawn = self._random.standard_normal((len(texts), self.profile.dimension), dtype=np.float32)
        return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), dtype=np.float32)


def reingest_figures(settings: Settings) -> Iterator[Figure]:
    """A sync that finds nothing to do over a bare walk; one that finds little over LlamaIndex's pipeline.

    Kustos commits to disk and reads the rights of every file anew; the pipeline keeps its stores in memory.
    """
    words = Words()
    with _filled(settings, words, UNCHANGED_FILES, 1) as filled:
        yield plain("ingest of 10,000 notes without embedding", UNCHANGED_FILES / filled.first.seconds, "files/s")
        yield from _unchanged(filled)
    with _filled(settings, words, CHANGED_FILES, SECTIONS) as filled:
        pipeline = LlamaPipeline(filled.tree, filled.embedder)
        pipeline.run()
        filled.embedder.on = True
        filled.embedder.embed_documents(["warm"])
        yield from _changed(filled, pipeline, words)


@dataclass(frozen=True, slots=True)
class _Filled:
    """A Kustos that has taken in a tree of notes."""

    tree: Path
    files: Sequence[Path]
    embedder: Switched
    connector: FilesystemConnector
    ingestion: Ingestion
    first: SyncReport


@contextmanager
def _filled(settings: Settings, words: Words, number: int, sections: int) -> Iterator[_Filled]:
    with TemporaryDirectory(prefix="kustos-bench-") as home:
        tree = Path(home) / "tree"
        files = notes(tree, number, words, sections)
        connector = FilesystemConnector(SOURCE, tree, max_bytes=settings.max_document_bytes)
        with closing(open_kustos(replace(settings, home=Path(home) / "home"))) as kustos:
            embedder = Switched(kustos.embedder)
            with open_ingestion(replace(kustos, embedder=embedder)) as ingestion:
                yield _Filled(tree, files, embedder, connector, ingestion, ingestion.sync(connector))


def _unchanged(filled: _Filled) -> Iterator[Figure]:
    name = "second ingest of 10,000 unchanged files"
    walks, lists, syncs, written = [], [], [], 0
    for _ in range(ROUNDS):
        walks.append(_seconds(lambda: _walk(filled.tree)))
        report = filled.ingestion.sync(filled.connector)
        syncs.append(report.seconds)
        written += report.written
        lists.append(_seconds(filled.connector.list))
    yield at_most(name, min(syncs), "s", min(walks), UNCHANGED_GOAL)
    yield plain(f"{name}: listing alone, with every file's rights", min(lists), "s")
    yield exactly(f"{name}: files read again", written, "files", 0)


def _changed(filled: _Filled, pipeline: LlamaPipeline, words: Words) -> Iterator[Figure]:
    name = "ingest of 1,000 notes, one section of 1 % of them changed"
    syncs, runs, embedded = [], [], 0
    for number in range(ROUNDS):
        for path in filled.files[number::100]:
            edit(path, words)
        report = filled.ingestion.sync(filled.connector)
        syncs.append(report.seconds)
        embedded += report.embedded
        runs.append(_seconds(pipeline.run))
    yield at_least(name, 3600 / min(syncs), "runs/h", 3600 / min(runs), CHANGED_GOAL)
    yield plain(f"{name}: one run of Kustos", min(syncs), "s")
    yield plain(f"{name}: one run of LlamaIndex", min(runs), "s")
    yield plain(f"{name}: passages that Kustos embeds", embedded / ROUNDS, "passages")


def _walk(tree: Path) -> None:
    """Every file with its status, and nothing else."""
    for folder, _, names in os.walk(tree):
        for name in names:
            os.stat(os.path.join(folder, name))


def _seconds(run: Callable[[], object]) -> float:
    started = perf_counter()
    run()
    return perf_counter() - started
