"""Reading ahead: everything once, errors in their place, and never more in memory than the budget allows."""

from __future__ import annotations

from threading import Event, Lock, Semaphore

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.read_ahead import ReadAhead

WAIT_S = 10


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 4), st.integers(1, 60))
def test_every_item_comes_out_once(items: list[int], readers: int, budget: int) -> None:
    reading = ReadAhead(items, lambda item: item, readers=readers, weigh=lambda item: item, budget=budget)
    assert sorted(reading) == sorted(items)


def test_one_reader_keeps_the_order() -> None:
    reading = ReadAhead(range(20), lambda item: item * 2, readers=1, weigh=lambda _: 1, budget=4)
    assert list(reading) == list(range(0, 40, 2))


def test_an_error_is_raised_where_its_result_would_have_come_and_nothing_further_is_begun() -> None:
    begun: list[int] = []

    def read(item: int) -> int:
        begun.append(item)
        return 12 // item

    reading = iter(ReadAhead([3, 2, 0, 1, 1, 1, 1, 1], read, readers=1, weigh=lambda _: 1, budget=1))
    assert [next(reading), next(reading)] == [4, 6]
    with pytest.raises(ZeroDivisionError):
        next(reading)
    assert len(begun) <= 4  # the one that failed, and at most the one after it


def test_readers_go_on_while_the_consumer_is_busy_and_pause_at_the_budget() -> None:
    read = Semaphore(0)

    def reading(item: int) -> int:
        read.release()
        return item

    ahead = iter(ReadAhead(range(100), reading, readers=1, weigh=lambda _: 1, budget=5))
    assert next(ahead) == 0
    for _ in range(6):  # the one taken, and five that wait
        assert read.acquire(timeout=WAIT_S)
    assert not read.acquire(timeout=0.2), "more than the budget was read"
    assert next(ahead) == 1
    assert read.acquire(timeout=WAIT_S)
    ahead.close()


def test_readers_work_at_the_same_time() -> None:
    met = {"first": Event(), "second": Event()}

    def meet(name: str) -> bool:
        met[name].set()
        return all(each.wait(WAIT_S) for each in met.values())

    assert all(ReadAhead(["first", "second"], meet, readers=2, weigh=lambda _: 1, budget=1))


def test_leaving_early_waits_for_what_is_being_read() -> None:
    running, guard = [0], Lock()
    begun, go_on = Event(), Event()

    def read(item: int) -> int:
        if item == 0:
            return item
        with guard:
            running[0] += 1
        begun.set()
        go_on.wait(WAIT_S)
        with guard:
            running[0] -= 1
        return item

    results = iter(ReadAhead(range(50), read, readers=2, weigh=lambda _: 1, budget=100))
    assert next(results) == 0
    assert begun.wait(WAIT_S)
    go_on.set()
    results.close()
    assert running == [0]


def test_ready_says_whether_a_result_waits() -> None:
    go_on = Event()

    def read(item: int) -> int:
        if item:
            go_on.wait(WAIT_S)
        return item

    reading = ReadAhead([0, 1], read, readers=1, weigh=lambda _: 1, budget=9)
    results = iter(reading)
    assert next(results) == 0
    assert not reading.ready
    go_on.set()
    assert list(results) == [1]
