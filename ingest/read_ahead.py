"""Reading in parallel, ahead of whoever consumes what was read, within a budget."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class ReadAhead(Generic[T, R]):
    """Results of `read` over `items`, each as soon as it is there; what `read` raises is raised in its place.

    Readers go on while the consumer is busy, and pause while results of `budget` or more wait for it, as `weigh` counts
    them: so memory does not grow with the number of items. Closing the iterator early waits for what is being read, and
    nothing further is begun.
    """

    def __init__(
        self, items: Sequence[T], read: Callable[[T], R], *, readers: int, weigh: Callable[[R], int], budget: int
    ) -> None:
        self._upcoming = deque(items)
        self._read = read
        self._readers = readers
        self._weigh = weigh
        self._budget = budget
        self._changed = Condition()
        self._waiting: deque[tuple[Future[R], int]] = deque()
        self._weight = 0  # of what waits
        self._begun = 0  # items taken whose result nobody has taken yet

    @property
    def ready(self) -> bool:
        """Whether a result is there already, so that taking it would not mean to wait."""
        return bool(self._waiting)

    def __iter__(self) -> Generator[R, None, None]:
        with ThreadPoolExecutor(self._readers, thread_name_prefix="reader") as pool:
            for _ in range(self._readers):
                pool.submit(self._work)
            try:
                while outcome := self._next():
                    yield outcome.result()
            finally:
                with self._changed:
                    self._upcoming.clear()
                    self._changed.notify_all()

    def _work(self) -> None:
        while item := self._take():
            outcome: Future[R] = Future()
            weight = 0
            try:
                result = self._read(*item)
                weight = self._weigh(result)
                outcome.set_result(result)
            except BaseException as error:  # noqa: BLE001  raised where the result is taken
                outcome.set_exception(error)
            with self._changed:
                self._waiting.append((outcome, weight))
                self._weight += weight
                self._changed.notify_all()

    def _take(self) -> tuple[T] | None:
        """The next item, once there is room for its result; None if there is no further one."""
        with self._changed:
            self._changed.wait_for(lambda: not self._upcoming or self._weight < self._budget)
            if not self._upcoming:
                return None
            self._begun += 1
            return (self._upcoming.popleft(),)

    def _next(self) -> Future[R] | None:
        """The next result; None if there is no further one."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not (self._begun or self._upcoming))
            if not self._waiting:
                return None
            outcome, weight = self._waiting.popleft()
            self._weight -= weight
            self._begun -= 1
            self._changed.notify_all()
            return outcome
