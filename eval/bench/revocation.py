"""Taking away a folder of 100,000 chunks: when the next question obeys, and when the index has followed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from time import perf_counter

from eval.bench.figures import Figure, exactly, plain
from eval.bench.synthetic import ARCHIVE_ACL, SOURCE, Company, archive_place, caller
from ingest.bootstrap import open_ingestion
from rag.access.acl import Acl
from rag.access.audit import Action, Purpose
from rag.access.scope import Caller
from rag.bootstrap import Kustos
from rag.documents import Question, acl_id

PRINCIPALS = 40
QUESTIONS = 20
PURPOSE = Purpose(Action.SEARCH, "bench", "a question")


def revocation_figures(kustos: Kustos, company: Company) -> Iterator[Figure]:
    """The archive is taken away from a reader of it while the index still shows it to him."""
    reader = caller(PRINCIPALS, archivist=True)
    questions = company.questions(QUESTIONS)
    tenant = kustos.records.settings.tenant
    archive = acl_id(tenant, SOURCE, archive_place(ARCHIVE_ACL).reference)
    yield plain(
        "revocation: passages of the archive before", _released(kustos, reader, questions[:1], archive), "of 10"
    )
    started = perf_counter()
    kustos.records.writer.set_places(SOURCE, [archive_place(Acl.nobody())])
    at_once = _released(kustos, reader, questions[:1], archive)
    obeyed = perf_counter() - started
    at_once += _released(kustos, reader, questions[1:], archive)
    yield plain("revocation of 100,000 chunks: until the next search has obeyed", 1_000 * obeyed, "ms")
    yield exactly("revocation: passages released in the searches after it", at_once, "passages", 0)
    with open_ingestion(kustos) as ingestion:
        started = perf_counter()
        ingestion.follow()
        yield plain("revocation of 100,000 chunks: until the index has followed", perf_counter() - started, "s")
    followed = datetime.now(UTC)
    _released(kustos, reader, questions, archive)
    stale = kustos.records.trail.stale_index(followed)
    yield exactly("revocation: candidates proposed in vain afterwards", stale, "chunks", 0)


def _released(kustos: Kustos, reader: Caller, questions: list[Question], place: str) -> int:
    """Passages of documents under `place` that the questions bring."""
    released = 0
    for question in questions:
        scope = kustos.gate.scope_for(reader, PURPOSE)
        if scope is not None:
            passages = kustos.retrieval.search_as(scope, question, 10, PURPOSE)
            released += sum(each.document.acl_id == place for each in passages)
    return released
