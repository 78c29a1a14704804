"""`make bench`: runs the benchmarks, writes build/bench.json and prints it as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from eval.bench.bare_engine import BareEngine
from eval.bench.company_ingest import ingest_figures
from eval.bench.figures import Figure, show, write
from eval.bench.gate_cost import gate_cost_figures
from eval.bench.parsing import parsing_figures
from eval.bench.readers import readers_figures
from eval.bench.reingest import reingest_figures
from eval.bench.revocation import revocation_figures
from eval.bench.search import search_figures
from eval.bench.synthetic import DOCUMENTS, SOURCE, TENANT, Written, company
from eval.progress import progress_bar
from rag.bootstrap import Kustos, open_kustos
from rag.errors import KustosError
from rag.settings import Settings

DOCUMENTS_A_WRITE = 50
Write = Callable[[list[Written]], None]


def _large_company(settings: Settings) -> Iterator[Figure]:
    made = company()
    with TemporaryDirectory(prefix="kustos-bench-") as folder:
        own = replace(settings, home=Path(folder) / "home", tenant=TENANT)
        with closing(open_kustos(own)) as kustos:
            kustos.records.writer.set_places(SOURCE, made.places())
            with BareEngine(Path(folder) / "bare") as bare:
                _load("100,000 chunks", made.documents(), partial(write_documents, kustos), bare.write)
                kustos.index_writer.settle()
                bare.settle()
                yield from search_figures(kustos, bare, made)
                yield from readers_figures(kustos, bare, made)
                yield from gate_cost_figures(kustos, made)
            _load("100,000 more in one folder", made.archive(), partial(write_documents, kustos))
            kustos.index_writer.settle()
            yield from revocation_figures(kustos, made)


def _load(what: str, documents: Iterator[Written], *destinations: Write) -> None:
    with progress_bar(what, DOCUMENTS) as advance:
        while some := list(islice(documents, DOCUMENTS_A_WRITE)):
            for write_to in destinations:
                write_to(some)
            advance(len(some))


def write_documents(kustos: Kustos, documents: list[Written]) -> None:
    kustos.index_writer.upsert([point for each in documents for point in each.points])
    terms = {point.chunk_id: point.lexical.indices for each in documents for point in each.points}
    kustos.records.writer.commit([each.version for each in documents], terms)


PARTS: Mapping[str, Callable[[Settings], Iterator[Figure]]] = {
    "parsing": parsing_figures,
    "ingest": ingest_figures,
    "reingest": reingest_figures,
    "search": _large_company,
}


def bench(parts: Mapping[str, Callable[[Settings], Iterator[Figure]]]) -> click.Command:
    """The command that runs these parts."""

    @click.command()
    @click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("build/bench.json"))
    @click.option("--only", type=click.Choice(list(parts)), help="One part; search includes revocation.")
    def main(out: Path, only: str | None) -> None:
        """Measure against the bare libraries, the bare engine and embedder.

        Takes some minutes, all of it in temporary folders. docs/evaluation.md says how to read the figures.
        """
        figures: list[Figure] = []
        try:
            for name, measure in parts.items():
                if only in {None, name}:
                    figures += measure(Settings())
        except KustosError as error:
            raise click.ClickException(str(error)) from error
        write(figures, out)
        show(figures)

    return main


if __name__ == "__main__":
    bench(PARTS)()
