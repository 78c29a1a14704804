"""What is made once in a test run is made once, and ends when nobody needs it any more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from tests.once import once, shared


class Server:
    """Something that is started and ended, and remembers what happened."""

    def __init__(self) -> None:
        self.story: list[str] = []

    @contextmanager
    def start(self) -> Iterator[dict[str, str]]:
        self.story.append("started")
        try:
            yield {"after": str(len(self.story))}
        finally:
            self.story.append("ended")


def test_of_many_that_ask_at_once_one_makes_it(tmp_path: Path) -> None:
    made: list[Path] = []
    with ThreadPoolExecutor(8) as others:
        asked = [others.submit(once, tmp_path / "it", made.append) for _ in range(8)]
    assert [each.result() for each in asked] == [tmp_path / "it"] * 8
    assert made == [tmp_path / "it"]


def test_what_could_not_be_made_is_tried_again(tmp_path: Path) -> None:
    def fail(_: Path) -> None:
        raise OSError

    made: list[Path] = []
    with pytest.raises(OSError):  # noqa: PT011  any will do
        once(tmp_path / "it", fail)
    once(tmp_path / "it", made.append)
    assert made == [tmp_path / "it"]


def test_who_started_it_ends_it_when_the_last_has_let_go(tmp_path: Path) -> None:
    server, file, asked, leave = Server(), tmp_path / "server.json", Event(), Event()

    def first() -> None:
        with shared(file, server.start):
            asked.set()
            leave.wait()

    with ThreadPoolExecutor(1) as other:
        ending = other.submit(first)
        asked.wait()
        with shared(file, server.start) as told:
            assert told == {"after": "1"}
            leave.set()
            while file.exists():  # until the first one begins to end it
                os.sched_yield()
            server.story.append("used")
        ending.result()
    assert server.story == ["started", "used", "ended"]


def test_who_comes_when_it_ends_starts_another(tmp_path: Path) -> None:
    server, file = Server(), tmp_path / "server.json"
    for _ in range(2):
        with shared(file, server.start):
            pass
    assert server.story == ["started", "ended"] * 2
