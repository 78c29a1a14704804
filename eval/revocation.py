"""How long something that was taken away may still be read: each kind of removal, many times."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Event
from time import perf_counter

import numpy as np

from rag.errors import BadInput, KustosError, Unavailable
from rag.machine import processors

PATIENCE_S = 120.0
"""Nothing that is taken away may be read for longer; then it was not taken away at all."""
POLL_S = 1.0
"""Between two requests of one person, where an answer may hold for a while."""
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
_BLOCK = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)


class NotTakenAway(KustosError):
    """Somebody reads what was taken from him, or could not read what he had."""

    code = "not_taken_away"


class Manner(StrEnum):
    """How often and when something is taken away."""

    ALONE = "one person after the other"
    BESIDE = "from each person, and from all of them at a time where answers hold for a while"
    TOGETHER = "from everybody at once"


@dataclass(frozen=True, slots=True)
class Removal:
    """One kind of removal, for people who are numbered from 0.

    Attributes:
        reads: puts one request of this person; whether he is shown the document.
        take: takes it from him; what is measured begins when this returns.
        give_back: undoes that where the same can be taken away again.
    """

    name: str
    reads: Callable[[int], bool]
    take: Callable[[int], None]
    manner: Manner = Manner.BESIDE
    give_back: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Bound:
    """From the return of a removal to the answer of the first request that obeys, in seconds."""

    name: str
    freshness_s: float
    lags_s: Sequence[float]

    def percentile(self, percent: float) -> float:
        return float(np.percentile(self.lags_s, percent))

    def as_json(self) -> dict[str, object]:
        seconds = {f"p{each}_s": round(self.percentile(each), 4) for each in (50, 99)}
        worst = round(max(self.lags_s), 4)
        return {
            "removal": self.name, "freshness_s": self.freshness_s, "times": len(self.lags_s), **seconds, "max_s": worst,
        }  # fmt: skip


def measure(removal: Removal, freshness_s: float, times: int) -> Bound:
    """Takes something away `times` times.

    Raises:
        NotTakenAway: it could not be read before, or could be read long after.
    """
    if not freshness_s or removal.manner is Manner.ALONE:
        lags = [_alone(removal, person) for person in range(times)]
    elif removal.manner is Manner.TOGETHER:
        lags = _together(removal, times)
    else:
        with ThreadPoolExecutor(times) as people:
            lags = list(people.map(lambda person: _taken_from(removal, person, POLL_S), range(times)))
    return Bound(removal.name, freshness_s, lags)


def _alone(removal: Removal, person: int) -> float:
    lag = _taken_from(removal, person, 0.0)
    removal.give_back()
    return lag


def _taken_from(removal: Removal, person: int, poll_s: float) -> float:
    _check_reads(removal, person)
    removal.take(person)
    return _lag(removal, person, perf_counter(), poll_s)


def _together(removal: Removal, times: int) -> list[float]:
    with ThreadPoolExecutor(times) as people:
        list(people.map(lambda person: _check_reads(removal, person), range(times)))
        removal.take(0)
        taken = perf_counter()
        lags = list(people.map(lambda person: _lag(removal, person, taken, POLL_S), range(times)))
    removal.give_back()
    return lags


def _check_reads(removal: Removal, person: int) -> None:
    """Waits until the person reads the document: keys that are new are fetched at most twice a minute."""
    until, pause = perf_counter() + PATIENCE_S, Event()
    while perf_counter() < until:
        with suppress(Unavailable):
            if removal.reads(person):
                return
        pause.wait(POLL_S)
    raise NotTakenAway(f"{removal.name}: person {person} could not read the document to begin with")


def _lag(removal: Removal, person: int, taken: float, poll_s: float) -> float:
    """Until the first answer that shows nothing, and behind which none does: a refusal ends it, a failure does not."""
    pause, since = Event(), None
    while True:
        shown = _shown(removal, person)
        now = perf_counter() - taken
        since = None if shown else since or now
        if shown is False and since:
            return since
        if now > PATIENCE_S:
            raise NotTakenAway(f"{removal.name}: person {person} is not refused after {PATIENCE_S:.0f} s")
        pause.wait(poll_s)


def _shown(removal: Removal, person: int) -> bool | None:
    """Whether a request shows the document; None if it fails, which shows nothing and decides nothing."""
    with suppress(Unavailable):
        return removal.reads(person)
    return None


def table(bounds: Sequence[Bound]) -> str:
    """The bounds as Markdown, a row for each removal and three columns for each freshness."""
    ages = sorted({each.freshness_s for each in bounds})
    heads = [f"freshness {age:g} s: {of}" for age in ages for of in ("p50", "p99", "max")]
    lines = [f"| taken away | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    lines += [
        f"| {name} | {' | '.join(_cells(bounds, name, ages))} |" for name in dict.fromkeys(b.name for b in bounds)
    ]
    return "\n".join(lines)


def circumstances(times: int) -> str:
    """What a reader of the figures has to know of the machine: a busy one answers late, whatever it answers."""
    load = os.getloadavg()[0]
    return (
        f"{times} removals of each kind on {processors()} processors, at a load of {load:.0f} when the last was done."
    )


def _cells(bounds: Sequence[Bound], name: str, ages: Sequence[float]) -> Iterator[str]:
    for age in ages:
        found = [each for each in bounds if (each.name, each.freshness_s) == (name, age)]
        values = [v for each in found for v in (each.percentile(50), each.percentile(99), max(each.lags_s))]
        yield from (_time(value) for value in values) if found else ["–"] * 3


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1_000 * seconds:.0f} ms"


def write(path: Path, text: str) -> None:
    """Puts `text` between the two marks of a page, in place of what stood there.

    Raises:
        BadInput: the page is not there, or has no such place.
    """
    try:
        page = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error
    if not _BLOCK.search(page):
        raise BadInput(f"{path} has no place for the figures, between {BEGIN} and {END}")
    path.write_text(_BLOCK.sub(lambda _: f"{BEGIN}\n{text}\n{END}", page), encoding="utf-8")
