"""The service's log on stderr. No line of it holds an API key, whoever wrote the line (SC-15)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rag.access.api_keys import redacted

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
TENANT: ContextVar[str] = ContextVar("tenant", default="")
"""Whose work is being done, where a process serves several tenants. For the log alone: nothing decides by it."""


class WithoutKeys(logging.Formatter):
    """Cuts every key down to its id, in messages and in stack traces: somebody may have sent one as a path."""

    def format(self, record: logging.LogRecord) -> str:
        tenant = TENANT.get()
        return redacted(f"[{tenant}] {super().format(record)}" if tenant else super().format(record))


@contextmanager
def lines_of(tenant: str) -> Iterator[None]:
    """What is logged in the block, and by whatever begins in it, begins with the tenant's name."""
    before = TENANT.set(tenant)
    try:
        yield
    finally:
        TENANT.reset(before)


def begin() -> None:
    """Lets this process log. Called once, where it starts."""
    handler = logging.StreamHandler()
    handler.setFormatter(WithoutKeys(FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)
