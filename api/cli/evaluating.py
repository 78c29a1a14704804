"""`kustos eval service`: asks judged queries of the service that runs, as whoever has signed in, and measures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.cli.installation import AS, JSON, asked
from api.cli.output import print_json, typed_failures

if TYPE_CHECKING:
    import httpx

    from eval.datasets import Judgements
    from rag.ports import OnProgress

MOST_BYTES = 500_000
"""Of one request, well below what the service takes."""


@click.command("service")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--retriever",
    type=click.Choice(["dense", "lexical", "hybrid"]),
    default="hybrid",
    show_default=True,
    help="Search by meaning, by words, or by both as in kustos search.",
)
@click.option("--split", default="test", show_default=True, metavar="NAME", help="Judgements to use: qrels/NAME.tsv.")
@AS
@JSON
@typed_failures
def service(folder: Path, retriever: str, split: str, who: str | None, as_json: bool) -> None:
    """Ask every judged query of FOLDER of the service that runs, and measure where your relevant documents come.

    FOLDER needs queries.jsonl and qrels/NAME.tsv, whose corpus-id is the id or the address of a document as `kustos
    documents` shows it. You need the role `evaluator`. What you, or WHO, may not read counts as not found, whether it
    is there or not. Each query counts as one of your requests, so many of them take minutes.
    """
    from api.cli.connection import proof, reach
    from eval.datasets import load_judgements
    from eval.progress import progress_bar

    base, judgements = asked(), load_judgements(folder, split)
    with reach(base) as client, progress_bar("queries", len(judgements.queries)) as advance:
        told = measured(client, lambda: proof(base, who), judgements, retriever, advance)
    if as_json:
        print_json(told)
        return
    click.echo(f"{told['dataset']}: {told['queries']} queries for {who or 'you'}")
    figures = "   ".join(f"{name} {value:.4f}" for name, value in told["measures"].items())
    click.echo(f"{told['retriever']} ({told['model']})   {figures}")


def measured(
    client: httpx.Client,
    headers: Callable[[], dict[str, str]],
    judgements: Judgements,
    retriever: str,
    on_progress: OnProgress,
    wait: Callable[[float], object] = time.sleep,
) -> dict[str, Any]:
    """The figures of all queries, sent so many at a time.

    Args:
        headers: proof of who asks, made anew for each request, because a run may outlive a token.

    Raises:
        KustosError: the service refused.
    """
    from eval.measures import means

    by_query: dict[str, dict[str, float]] = {}
    model = ""
    for queries, qrels in batches(judgements):
        body = {"queries": queries, "qrels": qrels, "retriever": retriever}
        told = _posted(client, body, headers, wait)
        by_query |= told["by_query"]
        model = told["model"]
        on_progress(len(queries))
    return {
        "dataset": judgements.name,
        "retriever": retriever,
        "queries": len(by_query),
        "measures": means(by_query),
        "model": model,
        "by_query": by_query,
    }


def batches(judgements: Judgements) -> Iterator[tuple[dict[str, str], dict[str, dict[str, int]]]]:
    """Texts and judgements of the queries, in portions that the service takes; at least one query each.

    What is judged as not relevant is left out, because it measures as what is not judged.
    """
    from api.schemas import MOST_QUERIES

    queries: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    size = 0
    for query in judgements.queries:
        graded = judgements.relevance[query.id]
        relevant = {name: grade for name, grade in graded.items() if grade > 0} or {next(iter(graded)): 0}
        added = len(json.dumps([query.id, query.text, query.id, relevant]))
        if queries and (len(queries) == MOST_QUERIES or size + added > MOST_BYTES):
            yield queries, qrels
            queries, qrels, size = {}, {}, 0
        queries[query.id], qrels[query.id] = query.text, relevant
        size += added
    yield queries, qrels


def _posted(
    client: httpx.Client,
    body: dict[str, Any],
    headers: Callable[[], dict[str, str]],
    wait: Callable[[float], object],
) -> dict[str, Any]:
    """The reply, after as long as the limits say."""
    from api.cli.connection import checked

    while (reply := client.post("/v1/evaluations", json=body, headers=headers())).status_code == 429:
        wait(float(reply.headers["retry-after"]))
    told: dict[str, Any] = checked(reply).json()
    return told
