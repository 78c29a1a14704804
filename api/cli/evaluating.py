"""`kustos eval service`: asks judged queries of the service that runs, as whoever has signed in, and measures."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import httpx

from api.cli.installation import AS, JSON, asked
from api.cli.output import counted, print_json, typed_failures
from eval.cli import FOLDER, RETRIEVER, SPLIT

if TYPE_CHECKING:
    from eval.datasets import Judgements
    from rag.ports import OnProgress

Portion = tuple[dict[str, str], dict[str, dict[str, int]]]
"""Texts and judgements of some queries."""
RETRY_S = 5
MOST_BYTES = 500_000
"""Of one request, well below what the service takes."""


@click.command("service")
@FOLDER
@RETRIEVER
@SPLIT
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
    click.echo(f"{told['dataset']}: {counted(told['queries'], 'query', 'queries')} for {who or 'you'}")
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
    """The figures of all queries, sent so many at a time, and fewer where the service is slow.

    Args:
        headers: proof of who asks, made anew for each request, because a run may outlive a token.

    Raises:
        KustosError: the service refused.
    """
    from api.cli.connection import checked
    from eval.measures import means

    by_query: dict[str, dict[str, float]] = {}
    model, portions = "", deque(batches(judgements))
    while portions:
        queries, qrels = portions.popleft()
        reply = client.post(
            "/v1/evaluations", json={"queries": queries, "qrels": qrels, "retriever": retriever}, headers=headers()
        )
        smaller = _halves(queries, qrels) if _is_too_much(reply) else []
        if smaller or reply.status_code == httpx.codes.TOO_MANY_REQUESTS:
            wait(float(reply.headers.get("retry-after", RETRY_S)))
            portions.extendleft(reversed(smaller or [(queries, qrels)]))
            continue
        told = checked(reply).json()
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


def batches(judgements: Judgements) -> Iterator[Portion]:
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


def _is_too_much(reply: httpx.Response) -> bool:
    """Whether the service is busy, or too slow for so many queries at a time."""
    return reply.status_code == httpx.codes.SERVICE_UNAVAILABLE and '"overloaded"' in reply.text


def _halves(queries: dict[str, str], qrels: dict[str, dict[str, int]]) -> list[Portion]:
    """The portion in two; none where it is a single query."""
    names, middle = list(queries), len(queries) // 2
    parts = (names[:middle], names[middle:]) if middle else ()
    return [({each: queries[each] for each in part}, {each: qrels[each] for each in part}) for part in parts]
