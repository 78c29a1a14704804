"""What `kustos eval revocation` measures, on a service in memory that may hold an answer for a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import pytest

import eval.revocation
from eval.revocation import BEGIN, END, Bound, Manner, NotTakenAway, Removal, measure, table, write
from rag.errors import BadInput, Unavailable


@dataclass
class Fake:
    """A service that shows its document so many times more after it was taken away."""

    lags: int = 0
    log: list[tuple[str, int]] = field(default_factory=list)
    gone: dict[int, int] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def reads(self, person: int) -> bool:
        with self.lock:
            self.log.append(("reads", person))
            if person not in self.gone:
                return True
            self.gone[person] += 1
            return self.gone[person] <= self.lags

    def take(self, person: int) -> None:
        self.log.append(("take", person))
        self.gone[person] = 0

    def take_all(self, _: int) -> None:
        self.log.append(("take all", 0))
        self.gone = dict.fromkeys(range(3), 0)

    def give_back(self) -> None:
        self.log.append(("give back", 0))
        self.gone.clear()

    def removal(self, take: Callable[[int], None] | None = None, manner: Manner = Manner.BESIDE) -> Removal:
        return Removal("right", self.reads, take or self.take, manner, self.give_back)


def test_each_person_reads_loses_and_is_asked_until_he_reads_no_more() -> None:
    fake = Fake(lags=2)
    bound = measure(fake.removal(), 0.0, 2)
    one = [("reads", 0), ("take", 0), ("reads", 0), ("reads", 0), ("reads", 0), ("give back", 0)]
    assert fake.log[: len(one)] == one
    assert (bound.name, bound.freshness_s, len(bound.lags_s)) == ("right", 0.0, 2)
    assert all(each > 0 for each in bound.lags_s)


@pytest.mark.parametrize("freshness_s", [0.0, 30.0])
def test_what_is_taken_alone_is_taken_alone_at_every_freshness(freshness_s: float) -> None:
    fake = Fake()
    measure(fake.removal(manner=Manner.ALONE), freshness_s, 3)
    assert [each for each in fake.log if each[0] == "take"] == [("take", 0), ("take", 1), ("take", 2)]
    assert fake.log.index(("take", 1)) > fake.log.index(("give back", 0))


def test_where_an_answer_holds_what_all_lose_is_taken_once_and_after_all_have_read() -> None:
    fake = Fake(lags=1)
    bound = measure(fake.removal(fake.take_all, Manner.TOGETHER), 30.0, 3)
    assert fake.log.count(("take all", 0)) == 1
    assert set(fake.log[:3]) == {("reads", 0), ("reads", 1), ("reads", 2)}
    assert len(bound.lags_s) == 3
    assert min(bound.lags_s) >= eval.revocation.POLL_S


def test_who_could_not_read_to_begin_with_or_reads_for_ever_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eval.revocation, "PATIENCE_S", 0.0)
    with pytest.raises(NotTakenAway, match="to begin with"):
        measure(Removal("right", lambda _: False, lambda _: None), 0.0, 2)
    monkeypatch.setattr(eval.revocation, "PATIENCE_S", 0.05)
    with pytest.raises(NotTakenAway, match="is not refused"):
        measure(Removal("right", lambda _: True, lambda _: None), 0.0, 2)


def test_a_service_that_fails_is_asked_until_it_refuses() -> None:
    fake = Fake()
    failing = [Unavailable("status 503")] * 3

    def reads(person: int) -> bool:
        shown = fake.reads(person)
        if not shown and failing:
            raise failing.pop()
        return shown

    measure(Removal("right", reads, fake.take), 0.0, 1)
    assert fake.log == [("reads", 0), ("take", 0), *[("reads", 0)] * 4]


def test_the_table_has_a_row_for_each_removal_and_columns_for_each_freshness(tmp_path: Path) -> None:
    bounds = [Bound("role", 0.0, [0.01] * 99 + [0.5]), Bound("role", 30.0, [30.2]), Bound("group", 0.0, [0.002])]
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nbehind\n", encoding="utf-8")
    write(page, table(bounds))
    assert page.read_text(encoding="utf-8").splitlines() == [
        "before",
        BEGIN,
        "| taken away | freshness 0 s: p50 | freshness 0 s: p99 | freshness 0 s: max "
        "| freshness 30 s: p50 | freshness 30 s: p99 | freshness 30 s: max |",
        "|---|---|---|---|---|---|---|",
        "| role | 10 ms | 15 ms | 500 ms | 30.2 s | 30.2 s | 30.2 s |",
        "| group | 2 ms | 2 ms | 2 ms | – | – | – |",
        END,
        "behind",
    ]


def test_a_page_without_a_place_for_figures_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing here", encoding="utf-8")
    with pytest.raises(BadInput, match="no place"):
        write(page, "table")
    assert page.read_text(encoding="utf-8") == "nothing here"
