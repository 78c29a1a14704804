"""Measures retrieval as one caller, over what he may read now: the service's own index is asked, no corpus is taken in.

Judgements name documents by id or address, and nobody looks these up. They are compared with what the gate released.
So a document that the caller may not read counts as one that does not exist: as not found (SC-01).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from eval.measures import ByQuery, Relevance, measures_by_query
from rag.access.audit import Action, Purpose
from rag.access.scope import Caller
from rag.documents import Document
from rag.errors import BadInput, Overloaded
from rag.retrieval import Mode, Request, Retrieval

FIRST = 10
"""So many documents of each query are looked at; no measure looks further."""
PATIENCE_S = 20.0
"""A run that takes longer is given up: its caller is the one of when it began, and others wait for its place."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Judged queries: text by query id, and what is relevant to each, by id or address of the document."""

    queries: Mapping[str, str]
    relevance: Relevance

    def __post_init__(self) -> None:
        if odd := sorted(self.queries.keys() ^ self.relevance.keys()):
            raise BadInput(f"query {odd[0]!r} has no text or no judgement; each needs both")


def evaluate_as(
    caller: Caller,
    retrieval: Retrieval,
    benchmark: Benchmark,
    mode: Mode,
    request_id: str,
    clock: Callable[[], float] = time.monotonic,
) -> ByQuery:
    """What a search shows the caller, held against the judgements, query by query. Each query is a decision on record.

    Raises:
        BadInput: a query is empty or too long.
        Overloaded: it takes too long.
        ModelUnavailable, StoreUnavailable: a part that is needed does not answer.
    """
    requests = {name: Request(text, FIRST, mode=mode) for name, text in benchmark.queries.items()}
    until = clock() + PATIENCE_S
    rankings: dict[str, list[str]] = {}
    for name, request in requests.items():
        if clock() > until:
            raise Overloaded(f"{len(rankings)} of {len(requests)} queries took more than {PATIENCE_S:.0f} s")
        found = retrieval.documents_for(caller, request, Purpose(Action.EVALUATE, request_id, request.text))
        rankings[name] = [_name(each, benchmark.relevance[name]) for each in found]
    return measures_by_query(benchmark.relevance, rankings)


def _name(document: Document, judged: Collection[str]) -> str:
    """How the judgements call the document, or its id."""
    return document.uri if document.uri in judged else document.id
