"""A real uvicorn on a free loopback port, for the length of a test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp

from api.server import listen, server


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """The address of the app, which listens when this returns and has stopped when the block ends."""
    with listen("127.0.0.1", 0) as listener:
        running = server(app)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        listener.listen()  # connections wait from now on, so nothing here has to
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            running.should_exit = True
            thread.join(timeout=30)
            assert not thread.is_alive()
