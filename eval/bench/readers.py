"""Two hundred readers with different rights at once: what each is shown, and how much of it in a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from eval.bench.bare_engine import BareEngine
from eval.bench.figures import Figure, compared, exactly
from eval.bench.search import PURPOSE
from eval.bench.synthetic import SEED, SOURCE, TENANT, Company, caller
from eval.progress import progress_bar
from rag.access.acl import permits
from rag.access.principals import EVERYONE_IN_TENANT
from rag.access.scope import AccessScope, Caller
from rag.bootstrap import Kustos
from rag.documents import Passage, Question, acl_id
from rag.errors import KustosError
from rag.retrieval import DEPTH

READERS = 200
QUESTIONS_EACH = 5
FEWEST, MOST = 5, 120
LIMIT = 10


@dataclass(frozen=True, slots=True)
class _Turn:
    """One reader and what he asks; `scope` is for the engine, which has no gate to ask."""

    who: Caller
    scope: AccessScope
    questions: Sequence[Question]


def readers_figures(kustos: Kustos, bare: BareEngine, company: Company) -> Iterator[Figure]:
    """Errors, passages shown to somebody who may not read them, and questions a second beside the bare engine."""
    turns = list(_turns(kustos, company))
    acls = {acl_id(TENANT, SOURCE, place.reference): place.acl for place in company.places()}
    errors: list[KustosError] = []
    foreign: list[Passage] = []

    def through_the_gate(turn: _Turn) -> None:
        held = turn.who.principals | {EVERYONE_IN_TENANT}
        for question in turn.questions:
            try:
                found = kustos.retrieval.search_for(turn.who, question, LIMIT, PURPOSE)
            except KustosError as error:
                errors.append(error)
                continue
            foreign.extend(each for each in found if not permits(held, acls[each.document.acl_id]).allowed)

    def put_to_the_engine(turn: _Turn) -> None:
        for question in turn.questions:
            bare.search(turn.scope, question, depth=DEPTH, limit=LIMIT)

    name = f"{READERS} readers at once"
    with progress_bar(name, 2) as advance:
        ours = _a_second(through_the_gate, turns)
        advance(1)
        theirs = _a_second(put_to_the_engine, turns)
        advance(1)
    yield exactly(f"{name}: questions that failed", len(errors), "questions", 0)
    yield exactly(f"{name}: passages shown to somebody who may not read them", len(foreign), "passages", 0)
    yield compared(f"{name}: questions a second", ours, "1/s", theirs)


def _turns(kustos: Kustos, company: Company) -> Iterator[_Turn]:
    random = np.random.default_rng(SEED + 7)
    questions = company.questions(READERS * QUESTIONS_EACH)
    for number in range(READERS):
        somebody = caller(int(random.integers(FEWEST, MOST)), seed=SEED + 100 + number)
        who = Caller(TENANT, f"reader-{number}", somebody.principals)
        scope = kustos.gate.scope_for(who, PURPOSE)
        if scope is not None:
            yield _Turn(who, scope, questions[number * QUESTIONS_EACH : (number + 1) * QUESTIONS_EACH])


def _a_second(ask: Callable[[_Turn], None], turns: Sequence[_Turn]) -> float:
    """Questions a second with all readers at once."""
    started = perf_counter()
    with ThreadPoolExecutor(len(turns)) as readers:
        list(readers.map(ask, turns))
    return sum(len(each.questions) for each in turns) / (perf_counter() - started)
