"""The service's log on stderr. No line of it holds an API key, whoever wrote the line (SC-15)."""

from __future__ import annotations

import logging

from rag.access.api_keys import redacted

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class WithoutKeys(logging.Formatter):
    """Cuts every key down to its id, in messages and in stack traces: somebody may have sent one as a path."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def begin() -> None:
    """Lets this process log. Called once, where it starts."""
    handler = logging.StreamHandler()
    handler.setFormatter(WithoutKeys(FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)
