"""The threads on which a route's short work is done: those of the process or, where it serves several tenants, his own.

The framework has forty threads for everybody. As many requests of one tenant that wait for a slow database would keep
all others from having any (MT-07).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, wraps
from inspect import iscoroutinefunction
from typing import Any, ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread

AT_A_TIME = 40
"""As many as the framework has by itself."""

P = ParamSpec("P")
T = TypeVar("T")

_OWN: ContextVar[CapacityLimiter | None] = ContextVar("threads", default=None)


@contextmanager
def threads_of(limiter: CapacityLimiter) -> Iterator[None]:
    """What the block puts on threads is counted by this limiter alone."""
    before = _OWN.set(limiter)
    try:
        yield
    finally:
        _OWN.reset(before)


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the call returns, from a thread."""
    return await to_thread.run_sync(partial(call, *args, **kwargs), limiter=_OWN.get())


def awaited(endpoint: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """An endpoint that is awaited, and does its work on a thread if it is not made for that by itself."""
    if iscoroutinefunction(endpoint):
        return endpoint

    @wraps(endpoint)
    async def wrapped(**arguments: Any) -> Any:
        return await in_thread(endpoint, **arguments)

    return wrapped
