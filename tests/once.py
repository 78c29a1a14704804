"""What is dear and does not change is made once in a test run, however many processes run the tests."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest


def folder_of_the_run(factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run share."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, which the first process that asks makes and the others wait for; what fails is tried again."""
    made = folder.with_suffix(".made")
    with _locked(folder.with_suffix(".lock")):
        if not made.exists():
            make(folder)
            made.touch()
    return folder


@contextmanager
def shared(file: Path, start: Callable[[], AbstractContextManager[dict[str, str]]]) -> Iterator[dict[str, str]]:
    """What `start` gives, started by the first process that asks and ended when the last has let go of it.

    `file` tells the others of it for as long as new ones may come. The kernel lets go for a process that dies.
    """
    starting = file.with_suffix(".lock")
    with file.with_suffix(".users").open("w") as users, ExitStack() as ended:
        with _locked(starting):
            if not file.exists():
                file.write_text(json.dumps(ended.enter_context(start())))
                ended.callback(_when_all_have_let_go, file, starting, users.fileno())
            found: dict[str, str] = json.loads(file.read_text())
            fcntl.flock(users, fcntl.LOCK_SH)
        yield found


def _when_all_have_let_go(file: Path, starting: Path, users: int) -> None:
    with _locked(starting):
        file.unlink()
    fcntl.flock(users, fcntl.LOCK_EX)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
