"""What the gate costs as an asker has more principals, and reaches them through more levels of groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter

from eval.bench.figures import Figure, at_most, percentile, plain
from eval.bench.search import PURPOSE, NotTheSameWork
from eval.bench.synthetic import REALM, TENANT, Company, caller
from eval.progress import progress_bar
from rag.access import principals
from rag.access.principals import Principal
from rag.access.scope import Caller
from rag.bootstrap import Kustos
from rag.documents import Question

HELD = (10, 100, 1_000)
LEVELS = (1, 5, 15)
CHAINS = 10
LIMIT = 10
QUESTIONS = 60
ROUNDS = 3
GOAL = 1.5


@dataclass(frozen=True, slots=True)
class _Asker:
    """Somebody who holds so many principals and can read the same as every other asker here."""

    held: int
    levels: int
    caller: Caller
    times_ms: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"gate, {self.held:,} principals, {self.levels} levels"


def gate_cost_figures(kustos: Kustos, company: Company) -> Iterator[Figure]:
    """A whole question without its encoding: widening by the directory, index, catalog, release, audit.

    Raises:
        NotTheSameWork: a question did not bring ten passages.
    """
    kustos.records.directory.replace(TENANT, "bench", _edges())
    askers = [_Asker(held, levels, _caller(held, levels)) for held in HELD for levels in LEVELS]
    widened = {each.name: _timed_scope(kustos, each.caller) for each in askers}
    questions = company.questions(QUESTIONS)
    with progress_bar("gate", ROUNDS * len(askers)) as advance:
        for _ in range(ROUNDS):
            for asker in askers:
                asker.times_ms.extend(_timed(kustos, asker.caller, each) for each in questions)
                advance(1)
    for asker in askers:
        yield plain(f"{asker.name}, p50", percentile(asker.times_ms, 50), "ms")
        yield plain(f"{asker.name}: widened for the first time", widened[asker.name], "ms")
    medians = [percentile(each.times_ms, 50) for each in askers]
    yield at_most("gate: from the least to the most of these, p50", max(medians), "ms", min(medians), GOAL)
    kustos.records.directory.replace(TENANT, "bench", [])


def _caller(held: int, levels: int) -> Caller:
    """Eight groups that open folders, and as many that open nothing as fit; these lie in groups in groups."""
    reader = caller(10)
    more = (_joined(levels, number) for number in range(held - len(reader.principals)))
    return Caller(TENANT, reader.subject, reader.principals | {*more, _joined(levels, 0)})


def _joined(levels: int, number: int) -> Principal:
    return principals.group(REALM, f"/nested-{levels}/member-{number}")


def _edges() -> list[tuple[Principal, Principal]]:
    """(member, group): for each number of levels `CHAINS` chains so long, and the askers' groups at their bottoms."""
    edges = []
    for levels in LEVELS:
        for number in range(max(HELD)):
            edges.append((_joined(levels, number), _above(levels, number % CHAINS, 1)))
        for chain in range(CHAINS):
            edges += [(_above(levels, chain, at), _above(levels, chain, at + 1)) for at in range(1, levels)]
    return edges


def _above(levels: int, chain: int, level: int) -> Principal:
    return principals.group(REALM, f"/nested-{levels}/chain-{chain}/level-{level}")


def _timed_scope(kustos: Kustos, who: Caller) -> float:
    started = perf_counter()
    kustos.gate.scope_for(who, PURPOSE)
    return 1_000 * (perf_counter() - started)


def _timed(kustos: Kustos, who: Caller, question: Question) -> float:
    started = perf_counter()
    found = len(kustos.retrieval.search_for(who, question, LIMIT, PURPOSE))
    if found != LIMIT:
        raise NotTheSameWork(f"a search returned {found} passages instead of {LIMIT}")
    return 1_000 * (perf_counter() - started)
