"""`kustos eval`: what is read, what retrieval finds, and whether anybody is shown what he may not read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eval.bootstrap import plot_parsing, run_access, run_parse, run_retrieval, show_parsing
from rag.errors import KustosError

if TYPE_CHECKING:
    from rag.settings import Settings

FOLDER = click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
RETRIEVER = click.option(
    "--retriever",
    type=click.Choice(["dense", "lexical", "hybrid"]),
    default="hybrid",
    show_default=True,
    help="Search by meaning, by words, or by both as in kustos search.",
)
SPLIT = click.option(
    "--split", default="test", show_default=True, metavar="NAME", help="Judgements to use: qrels/NAME.tsv."
)
SHOWN = 20


@click.group("eval", context_settings={"help_option_names": ["-h", "--help"]})
def evaluate() -> None:
    """Measure reading and retrieval, and audit who is shown what, over a folder of evaluation data.

    FOLDER is in BEIR layout: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv; for `access` also users.jsonl and
    acl_tests.jsonl; for `parse` it holds files and a manifest names what must become of each. Everything but `service`
    runs in a temporary folder with the configured embedding model and the real pipeline; your own documents are
    neither read nor changed. docs/evaluation.md explains data, measures and output.

    \b
      kustos eval parse FOLDER --manifest FOLDER/MANIFEST.tsv
      kustos eval retrieval FOLDER
      kustos eval retrieval FOLDER --retriever lexical --json
      kustos eval access FOLDER
      kustos eval service FOLDER
    """


@evaluate.command()
@FOLDER
@RETRIEVER
@SPLIT
@click.option(
    "--originals",
    type=click.Path(path_type=Path),
    metavar="SUBFOLDER",
    help="Files that documents were cut from, read in their place; below FOLDER, or a path.",
)
@JSON
@click.pass_obj
def retrieval(
    settings: Callable[[], Settings],
    folder: Path,
    retriever: str,
    split: str,
    originals: Path | None,
    as_json: bool,
) -> None:
    """Ask every judged query of FOLDER and measure where the relevant documents come.

    Documents are ranked by their best passage. nDCG@10 rewards relevant documents early, R@10 is the share of them
    among the first ten, MRR@10 is one over the rank of the first. With the original files the same figures measure
    reading and search together.
    """
    files = originals and _subfolder(folder, originals, "--originals")
    with _typed_failures():
        report = run_retrieval(settings(), folder, split, retriever, files)
    for each in report.refused[:SHOWN]:
        click.echo(f"not taken in: {each}", err=True)
    if as_json:
        _print_json(report.as_json())
        return
    click.echo(f"{report.dataset}: {report.documents} documents, {report.queries} queries, {report.seconds} s")
    if report.from_originals is not None:
        click.echo(f"{report.from_originals} of the documents were read out of their original files")
    measures = "   ".join(f"{name} {value:.4f}" for name, value in report.measures.items())
    click.echo(f"{report.retriever} ({report.model})   {measures}")


@evaluate.command()
@FOLDER
@JSON
@click.pass_obj
def access(settings: Callable[[], Settings], folder: Path, as_json: bool) -> None:
    """Search as every user of FOLDER and open every document by id; count leaks and wrong denials.

    A leak is a document found or opened that the user may not read. Wrongly denied is a document that he may read and
    a test expects, if it does not open, or if only the access filter keeps it out of the first ten. Exit status 1 if
    there is either.
    """
    with _typed_failures():
        report = run_access(settings(), folder)
    for each in [*report.leaks, *report.wrongly_denied][:SHOWN]:
        click.echo(f"{each.way}: document {each.document} by user {each.user}, test {each.test or '-'}", err=True)
    told = report.as_json()
    if as_json:
        _print_json(told)
    else:
        click.echo("   ".join(f"{name} {value}" for name, value in told.items()))
    if not report.clean:
        raise SystemExit(1)


@evaluate.command()
@FOLDER
@click.option(
    "--manifest",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Tab-separated list of the files, with the columns path, kind and expected.",
)
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    metavar="SUBFOLDER",
    help="Where references are, as NAME.md or NAME.txt for a file NAME; below FOLDER, or a path.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Draw the comparison with the references as SVG.",
)
@JSON
@click.pass_obj
def parse(
    settings: Callable[[], Settings],
    folder: Path,
    manifest: Path,
    reference: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Read the files of FOLDER in the sandbox and say which did not become what the manifest expects.

    With references it also measures how like them text, tables and reading order are, beside what plain unstructured
    and plain PyMuPDF make of the same files. Exit status 1 if a file is not as expected.
    """
    if plot and not reference:
        raise click.UsageError("--plot draws the comparison with references; add --reference")
    if plot and plot.suffix.lower() != ".svg":
        raise click.BadParameter(f"{plot} is drawn as SVG; give it a name that ends in .svg", param_hint="--plot")
    with _typed_failures():
        report = run_parse(settings(), folder, manifest, reference and _subfolder(folder, reference, "--reference"))
    if plot:
        try:
            plot_parsing(report, plot)
        except OSError as error:
            raise click.ClickException(f"{plot} cannot be written: {error.strerror}") from error
    if as_json:
        _print_json(report.as_json())
    else:
        show_parsing(report)
    if report.differing:
        raise SystemExit(1)


def _subfolder(folder: Path, named: Path, option: str) -> Path:
    for found in (folder / named, named):
        if found.is_dir():
            return found
    raise click.BadParameter(f"neither {folder / named} nor {named} is a folder", param_hint=option)


@contextmanager
def _typed_failures() -> Iterator[None]:
    try:
        yield
    except KustosError as error:
        raise click.ClickException(str(error)) from error


def _print_json(data: dict[str, object]) -> None:
    click.echo(json.dumps(data, ensure_ascii=False, indent=2))
