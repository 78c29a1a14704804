"""A real uvicorn on a free loopback port, for the length of a test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from starlette.types import ASGIApp

from api.server import listen, server


def served(app: ASGIApp) -> AbstractContextManager[str]:
    """The address of the app, which listens when the block begins and has stopped when it ends."""
    return served_at(lambda _: app)


@contextmanager
def served_at(make: Callable[[str], ASGIApp], port: int = 0) -> Iterator[str]:
    """As `served`, for an app that has to know its address when it is made."""
    with listen("127.0.0.1", port) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        running = server(make(url))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield url
        finally:
            running.should_exit = True
            thread.join(timeout=30)
            assert not thread.is_alive()
