"""A parent that is killed or short of files: its children end, and it leaves neither folders nor open files."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ingest.parsers.options import ReadingOptions
from tests.hostile import hostile_pool, said, wait_until

SHORT_OF_FILES = """
import os, resource, threading
from ingest.sandbox import ParserPool
from rag.errors import Unavailable
from tests.hostile import hostile_pool

def taken(free):
    files = []
    try:
        while True: files.append(os.open("/dev/null", os.O_RDONLY))
    except OSError: pass
    for _ in range(free): os.close(files.pop())
    return files

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
with hostile_pool() as pool:
    for free in range(30):
        files = taken(free)
        try: pool.parse(b"fine", "a")
        except Unavailable: read = False
        else: read = True
        for file in files: os.close(file)
        assert len(os.listdir(os.environ["TMPDIR"])) == len(pool._children) == read, free
        if read: break
    assert free > 3, free
    assert len(os.listdir("/proc/self/fd")) < 20
    threading.Timer(0.5, taken, (0,)).start()  # in the middle of a document
    try: pool.parse(b"", "sleep")
    except Unavailable as error: assert "watched" in str(error), error
    else: raise AssertionError
os._exit(7)
"""


def test_a_process_that_is_short_of_files_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", SHORT_OF_FILES],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 7, run.stderr
    assert not list(tmp_path.iterdir())


def test_a_child_whose_parent_was_killed_ends_in_time_and_the_next_pool_removes_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"""
import signal, sys, threading
from ingest.sandbox import ParserPool
sleeps = '''
import signal
from ingest.parsers import child
child.ORPHANED_S = 0.5
child.parse = lambda *_: signal.sigwait({{signal.SIGUSR1}})
child.main()
'''
pool = ParserPool(1, command=(sys.executable, "-c", sleeps, "500000000", "1", {ReadingOptions().to_word()!r}))
threading.Thread(target=pool.parse, args=(b"", "a"), daemon=True).start()
while not any(child.taken for child in tuple(pool._children)): pass
print(next(iter(pool._children))._process.pid, flush=True)
signal.pause()
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", script], env=environment, cwd=root, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.kill()
    assert len(list(tmp_path.iterdir())) == 1
    wait_until(lambda: not runs(child))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    with hostile_pool() as pool, hostile_pool() as other:
        said(pool, "a")
        said(other, "a")
        assert len(list(tmp_path.iterdir())) == 2  # those of the living stay
        assert not before & set(tmp_path.iterdir())


def runs(process: int) -> bool:
    """Whether it is there and not merely waited for by nobody."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
