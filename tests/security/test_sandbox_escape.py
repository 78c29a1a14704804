"""A document that has taken its parser over tries to get out: one attempt for each limit, native code included.

The attempts are in `tests/hostile_child.py`. Each is told apart from a limit that was never put up: the same attempt made
from this process succeeds, or would.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.parser_process import MAX_THREADS, load_of
from ingest.parsers.confinement import TEMPORARY_BYTES, Measures
from ingest.parsers.options import ReadingOptions
from ingest.sandbox import ParserPool
from rag.errors import RefusalReason
from tests.hostile import MEMORY, hostile_pool, refused, said


@pytest.fixture(scope="module")
def pool() -> Iterator[ParserPool]:
    with hostile_pool() as pool:
        yield pool


@pytest.fixture(scope="module")
def measures(pool: ParserPool) -> Measures:
    return pool.measures()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """What a service keeps: a catalog that its own user can read and write."""
    tmp_path.chmod(0o700)
    catalog = tmp_path / "catalog.sqlite"
    catalog.write_text("all there is")
    catalog.chmod(0o600)
    return catalog


def needs(measures: Measures, *names: str) -> None:
    for name in names:
        if not getattr(measures, name):
            pytest.skip(f"this kernel does not give parsers: {name}; kustos doctor says so")


# The network ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def listening() -> Iterator[int]:
    """Port of a socket that accepts connections on the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("deed", ["connect", "resolve", "program", "shell"])
def test_in_08_the_interpreter_opens_no_socket_and_starts_no_program(
    pool: ParserPool, deed: str, listening: int
) -> None:
    assert said(pool, deed, str(listening).encode()) == "refused: PermissionError"


def test_in_08_native_code_reaches_no_network(pool: ParserPool, measures: Measures, listening: int) -> None:
    if not measures.system_calls:
        needs(measures, "namespaces")
    assert said(pool, "CONNECT", str(listening).encode()).startswith("refused")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, 16, 17, 38, 40])
def test_in_08_native_code_gets_no_socket_of_any_family(pool: ParserPool, measures: Measures, family: int) -> None:
    needs(measures, "system_calls")
    assert said(pool, "SOCKET", str(int(family)).encode()) == "refused: EPERM"


# Files -------------------------------------------------------------------------------------------------------------------


def secrets(home: Path) -> list[str]:
    return [
        str(home),
        str(home.parent),
        "/etc/shadow",
        "/etc/passwd",
        "/etc/hostname",
        "/root",
        "/tmp",
        "/proc/self/environ",
        f"/proc/{os.getpid()}/environ",
        f"/proc/{os.getpid()}/mem",
        "/proc/1/cmdline",
        "/dev/mem",
        "/sys/kernel",
        __file__,
    ]


def test_in_06_no_file_of_the_service_or_the_machine_can_be_read(
    pool: ParserPool, measures: Measures, home: Path
) -> None:
    needs(measures, "files")
    told = {path: said(pool, "READ", path.encode()) for path in secrets(home)}
    assert {path: answer for path, answer in told.items() if answer not in {"refused: EACCES", "refused: ENOENT"}} == {}
    assert home.read_text() == "all there is"


def test_in_06_a_link_in_its_own_folder_leads_nowhere_else(pool: ParserPool, measures: Measures, home: Path) -> None:
    needs(measures, "files", "system_calls")
    assert said(pool, "LINK", bytes(home)).startswith("refused")


@pytest.mark.parametrize("deed", ["write", "WRITE"])
def test_in_03_no_file_appears_outside(pool: ParserPool, home: Path, deed: str) -> None:
    target = home.with_name("slipped")
    assert said(pool, deed, bytes(target)).startswith("refused")
    assert not target.exists()


def test_in_03_no_file_outside_is_changed_in_any_way(pool: ParserPool, measures: Measures, home: Path) -> None:
    if not measures.files:
        needs(measures, "system_calls")
    before = home.stat()
    for deed in ("WRITE", "EMPTY", "CHMOD", "REMOVE"):
        assert said(pool, deed, bytes(home)).startswith("refused"), deed
    after = home.stat()
    assert home.read_text() == "all there is"
    assert (after.st_mode, after.st_nlink, after.st_mtime_ns) == (before.st_mode, before.st_nlink, before.st_mtime_ns)
    assert stat.S_IMODE(after.st_mode) == 0o600


def test_no_device_can_be_made(pool: ParserPool, measures: Measures, home: Path) -> None:
    needs(measures, "system_calls")
    assert said(pool, "MKNOD", bytes(home.with_name("memory"))).startswith("refused")


def test_what_it_writes_is_bounded_and_gone_with_the_document(pool: ParserPool, measures: Measures) -> None:
    needs(measures, "folder", "namespaces")
    written, error = said(pool, "fill").split()
    assert 0 < int(written) <= TEMPORARY_BYTES
    assert error in {"ENOSPC", "EFBIG"}
    assert said(pool, "left behind") == "[]"
    assert said(pool, "temporary") == "succeeded: 4"


# Programs and processes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deed", ["EXEC", "FORK"])
def test_native_code_starts_no_program_and_no_process(pool: ParserPool, measures: Measures, deed: str) -> None:
    needs(measures, "system_calls")
    assert said(pool, deed) == "refused: EPERM"


def test_a_fork_bomb_does_not_go_off(pool: ParserPool, measures: Measures) -> None:
    needs(measures, "system_calls")
    assert said(pool, "BOMB") == "0"


def test_in_05_a_thread_bomb_ends_the_child(pool: ParserPool) -> None:
    assert refused(pool, "threads") in {RefusalReason.PARSER_FAILED, RefusalReason.MEMORY_LIMIT}
    assert said(pool, "after", b"fine") == "fine"


@pytest.mark.parametrize(
    "deed", ["TRACE", "PEEK", "KILL", "KILL ALL", "SIGNAL BY FILE", "LIMIT", "MOUNT", "NAMESPACE", "MAKE ROOM"]
)
def test_native_code_neither_touches_its_parent_nor_widens_its_own_rights(
    pool: ParserPool, measures: Measures, deed: str
) -> None:
    needs(measures, "system_calls")
    assert said(pool, deed) in {"refused: EPERM", "refused: EACCES", "refused: ENOSYS"}


# bpf, perf_event_open, userfaultfd, keyctl, add_key, io_uring_setup, open_by_handle_at, open_tree, fsopen, pidfd_open,
# memfd_secret, and a number that no kernel has yet
UNLISTED = (321, 298, 323, 250, 248, 425, 304, 428, 430, 434, 447, 700)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86_64")
@pytest.mark.parametrize("number", [*UNLISTED, 0x40000000 + 59])
def test_calls_that_reading_does_not_need_do_not_exist(pool: ParserPool, measures: Measures, number: int) -> None:
    needs(measures, "system_calls")
    assert said(pool, "UNKNOWN", str(number).encode()) in {"refused: ENOSYS", "refused: EPERM"}


def test_a_child_that_may_run_one_program_runs_no_other(measures: Measures, home: Path) -> None:
    needs(measures, "files", "system_calls")
    program = Path(os.path.realpath("/bin/true"))
    copy = home.with_name("true")
    copy.write_bytes(program.read_bytes())
    copy.chmod(0o700)
    with hostile_pool(more=(str(program),)) as pool:
        assert said(pool, "run", bytes(program)) == "succeeded: 0"
        assert said(pool, "run", bytes(copy)).startswith("refused")
        assert said(pool, "run", os.fsencode(os.path.realpath("/bin/cat"))).startswith("refused")
        assert said(pool, "SOCKET", b"2") == "refused: EPERM"
        assert said(pool, "READ", bytes(home)) == "refused: EACCES"


# Memory, time, output -----------------------------------------------------------------------------------------------------


def test_in_05_a_child_gets_no_more_memory_than_its_limit(pool: ParserPool) -> None:
    assert said(pool, "memory") == "refused: MemoryError"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system does not tell what a process uses")
def test_in_05_memory_that_is_shared_counts_too(pool: ParserPool) -> None:
    assert refused(pool, "shared memory") is RefusalReason.MEMORY_LIMIT
    assert said(pool, "after", b"fine") == "fine"


@pytest.mark.parametrize("part", ["endless head", "endless elements", "endless attachments"])
def test_an_endless_answer_is_not_listened_to(pool: ParserPool, part: str) -> None:
    before = load_of(os.getpid()).resident_bytes
    assert refused(pool, part) is RefusalReason.PARSER_FAILED
    assert load_of(os.getpid()).resident_bytes - before < MEMORY / 5
    assert said(pool, "after", b"fine") == "fine"


def test_load_is_read_of_names_that_try_to_look_like_fields() -> None:
    script = (
        "import threading, time; open('/proc/self/comm', 'w').write(') R 1 1 1'); print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        load = load_of(process.pid)
        process.kill()
    assert load.threads == 1 <= MAX_THREADS
    assert 1_000_000 < load.resident_bytes < 100_000_000


# Whoever starts it --------------------------------------------------------------------------------------------------------

WITHOUT = """
import errno
from ingest.parsers import confinement, landlock, namespaces, seccomp
def refuses(*_, **__): raise OSError(errno.ENOSYS, "not on this kernel")
for measure in {absent!r}.split(","):
    match measure:
        case "files": confinement.restrict_files = refuses
        case "system_calls": confinement.restrict_calls = refuses
        case "namespaces": confinement.leave_network = lambda: False
from ingest.parsers import child
child.main()
"""


@pytest.mark.parametrize("absent", ["files", "system_calls", "namespaces", "files,system_calls,namespaces"])
def test_a_kernel_that_gives_less_is_used_and_what_is_missing_is_said(absent: str) -> None:
    program = (sys.executable, "-c", WITHOUT.format(absent=absent))
    with ParserPool(1, command=(*program, str(MEMORY), "60", ReadingOptions().to_word())) as pool:
        assert pool.parse(b"fine", "a.txt").elements[0].text == "fine"
        measures = pool.measures()
    assert not any(getattr(measures, name) for name in absent.split(","))
    assert len(measures.missing()) >= absent.count(",") + 1


def test_without_landlock_nothing_can_be_written_anywhere(measures: Measures) -> None:
    needs(measures, "system_calls")
    source = Path(__file__).parents[1].joinpath("hostile_child.py").read_text()
    patch = "from ingest.parsers import confinement\ndef refuses(**_): raise OSError\nconfinement.restrict_files = refuses\n"
    with ParserPool(1, command=(sys.executable, "-c", patch + source, str(MEMORY))) as pool:
        assert not pool.measures().files
        for deed in ("write", "WRITE", "EMPTY", "REMOVE"):
            assert said(pool, deed, b"/tmp/slipped").startswith("refused"), deed
        assert said(pool, "temporary").startswith("refused")
        assert re.match("refused", said(pool, "EXEC"))
