"""Search through the gate against the same search put to the bare engine, over 100,000 chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

from eval.bench.bare_engine import BareEngine
from eval.bench.figures import Figure, at_most, percentile, plain
from eval.bench.synthetic import TENANT, Company, caller, readable_share
from eval.progress import progress_bar
from rag.access.audit import Action, AuditRecord, Outcome, Purpose, Released, principals_hash
from rag.access.scope import AccessScope
from rag.bootstrap import Kustos
from rag.documents import Question
from rag.errors import KustosError
from rag.retrieval import DEPTH
from rag.stores.catalog_reading import CatalogReader

PRINCIPALS = (40, 1_000)
LIMIT = 10
QUESTIONS = 100
QUESTIONS_A_TURN = 25
ROUNDS = 4
WARM_UP = 10
GOAL = 1.15
AUDIT_GOAL = 0.05
PURPOSE = Purpose(Action.SEARCH, "bench", "a question")


class NotTheSameWork(KustosError):
    """One side of a comparison did not do its work, so the comparison would mean nothing."""

    code = "not_the_same_work"


@dataclass(frozen=True, slots=True)
class Duel:
    """Milliseconds of each search."""

    gate: Sequence[float]
    bare: Sequence[float]


@dataclass(frozen=True, slots=True)
class _Side:
    """One way of searching, which returns the number of passages, and the milliseconds that it took each time."""

    search: Callable[[Question], int]
    times: list[float] = field(default_factory=list)

    def answer(self, questions: Sequence[Question]) -> None:
        for question in questions:
            started = perf_counter()
            found = self.search(question)
            self.times.append(1_000 * (perf_counter() - started))
            if found != LIMIT:
                raise NotTheSameWork(f"a search returned {found} passages instead of {LIMIT}")


def search_figures(kustos: Kustos, bare: BareEngine, company: Company) -> Iterator[Figure]:
    """p50 and p95 through the gate against the bare engine, and what the time through the gate goes into.

    Raises:
        NotTheSameWork: a search did not return ten passages.
    """
    questions = company.questions(QUESTIONS)
    for number in PRINCIPALS:
        who = caller(number)
        name = f"search, {number:,} principals"
        scope = kustos.gate.scope_for(who, PURPOSE)
        if scope is None:
            raise NotTheSameWork("the caller may read nothing")
        with progress_bar(name, ROUNDS * QUESTIONS) as advance:
            duel = _duel(kustos, bare, scope, questions, advance)
        for percent in (50, 95):
            ours, theirs = percentile(duel.gate, percent), percentile(duel.bare, percent)
            yield at_most(f"{name}, p{percent}", ours, "ms", theirs, GOAL)
        yield plain(f"{name}: readable chunks", 100 * readable_share(who, company.acls), "%")
        parts = _breakdown(kustos, scope, questions)
        for part, times in parts.items():
            yield plain(f"{name}: {part}, p50", percentile(times, 50), "ms")
        query, audit = percentile(duel.gate, 50), percentile(parts["audit"], 50)
        yield at_most(f"{name}: audit's share of the query's p50", audit, "ms", query, AUDIT_GOAL)


def _duel(
    kustos: Kustos, bare: BareEngine, scope: AccessScope, questions: Sequence[Question], advance: Callable[[int], None]
) -> Duel:
    """Both sides answer the questions in turns, and who begins changes with every turn.

    Not question by question: each side would then find the processor's caches full of the other one's index, which
    slows both and so flatters whoever adds something to the engine.
    """

    def through_the_gate(question: Question) -> int:
        return len(kustos.retrieval.search_as(scope, question, LIMIT, PURPOSE))

    def put_to_the_engine(question: Question) -> int:
        return len(bare.search(scope, question, depth=DEPTH, limit=LIMIT))

    gate, theirs = _Side(through_the_gate), _Side(put_to_the_engine)
    for side in (gate, theirs):
        side.answer(questions[:WARM_UP])
        side.times.clear()
    turns = [questions[at : at + QUESTIONS_A_TURN] for at in range(0, len(questions), QUESTIONS_A_TURN)] * ROUNDS
    for number, turn in enumerate(turns):
        for side in (gate, theirs) if number % 2 else (theirs, gate):
            side.answer(turn)
        advance(len(turn))
    return Duel(gate.times, theirs.times)


def _breakdown(kustos: Kustos, scope: AccessScope, questions: Sequence[Question]) -> dict[str, list[float]]:
    """Milliseconds of the parts of each search, measured alone with the arguments that the search gives them."""
    authority = CatalogReader(kustos.records.catalog)
    parts: dict[str, list[float]] = {"index": [], "catalog, rights": [], "catalog, passages": [], "audit": []}
    for question in questions:
        started = perf_counter()
        found = [each.chunk_id for each in kustos.gate.candidates(scope, question, DEPTH).candidates]
        both = perf_counter() - started
        rights = _timed(parts["catalog, rights"], partial(authority.governing, TENANT, found))
        parts["index"].append(1_000 * both - rights)
        _timed(parts["catalog, passages"], partial(authority.chunks, TENANT, found[:LIMIT]))
        _timed(parts["audit"], partial(_record, kustos, scope, found[:LIMIT]))
    return parts


def _record(kustos: Kustos, scope: AccessScope, chunk_ids: Sequence[str]) -> None:
    """Makes and writes a record as the gate does, of passages that are all of different documents."""
    released = tuple(Released(each, "0" * 64, (each,)) for each in chunk_ids)
    who = principals_hash(scope.principals)
    kustos.records.audit.record(AuditRecord(TENANT, scope.subject, who, PURPOSE, Outcome.RELEASED, released))


def _timed(times: list[float], call: Callable[[], object]) -> float:
    """Milliseconds of one call, which are also appended to `times`."""
    started = perf_counter()
    call()
    times.append(1_000 * (perf_counter() - started))
    return times[-1]
