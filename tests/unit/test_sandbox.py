"""One pool of children: a document that ends its child costs itself, answers go to whom they are for, nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import pytest

from ingest.extraction import extracted_text
from ingest.parsers.confinement import Measures
from ingest.parsers.options import ReadingOptions
from ingest.sandbox import DOCUMENTS_A_CHILD, TICK_S, ParserPool
from rag.errors import DocumentRefused, RefusalReason, Unavailable
from tests.hostile import COMMAND, hostile_pool, nest, refused, said, wait_until


@pytest.fixture
def pool() -> Iterator[ParserPool]:
    with hostile_pool() as pool:
        yield pool


# One document is lost, and no more ---------------------------------------------------------------------------------

STAGES = [
    "killed",
    "segfault",
    "leaves",
    "dies untouched",
    "inside the head",
    "after the head",
    "inside the elements",
    "inside an attachment",
    "out of turn",
]


@pytest.mark.parametrize("stage", STAGES)
def test_in_05_a_child_that_ends_at_any_stage_costs_one_document(pool: ParserPool, stage: str) -> None:
    assert said(pool, "before", b"fine") == "fine"
    assert refused(pool, stage) is RefusalReason.PARSER_FAILED
    assert said(pool, "after", b"fine") == "fine"


def test_a_child_that_ends_behind_its_answer_costs_none(pool: ParserPool) -> None:
    assert said(pool, "after the answer") == "mine"
    assert said(pool, "after", b"fine") == "fine"


def test_a_child_that_ends_while_it_confines_itself_says_nothing_about_the_document() -> None:
    with hostile_pool(more=("--die-confining",)) as pool, pytest.raises(Unavailable, match="does not start"):
        pool.parse(b"fine", "a.txt")


def test_in_05_an_endless_loop_ends_at_the_time_limit() -> None:
    with hostile_pool(timeout_s=0.5) as pool:
        assert refused(pool, "hang") is RefusalReason.TIME_LIMIT
        assert refused(pool, "sleep") is RefusalReason.TIME_LIMIT
        assert said(pool, "after", b"fine") == "fine"


def test_in_05_the_kernel_ends_what_burns_its_processor_time(pool: ParserPool) -> None:
    assert refused(pool, "burn") is RefusalReason.TIME_LIMIT
    assert said(pool, "after", b"fine") == "fine"


def test_a_child_that_does_not_take_its_document_runs_into_the_time_limit() -> None:
    deaf = "import sys, time; sys.stdout.buffer.write((2).to_bytes(8) + b'{}'); sys.stdout.flush(); time.sleep(60)"
    with ParserPool(1, timeout_s=0.5, command=(sys.executable, "-c", deaf)) as pool:
        assert refused(pool, "a", bytes(10_000_000)) is RefusalReason.TIME_LIMIT


def test_in_05_a_document_that_takes_all_memory_is_refused_and_the_next_one_is_read() -> None:
    with ParserPool(1, timeout_s=60, memory_bytes=200_000_000) as pool:
        assert refused(pool, "big.txt", b"a\n\n" * 15_000_000) is RefusalReason.MEMORY_LIMIT
        assert extracted_text(pool.parse(b"fine", "small.txt"))[0] == "fine"


@pytest.mark.parametrize(
    ("deed", "reason"), [("sleep", RefusalReason.TIME_LIMIT), ("shared memory", RefusalReason.MEMORY_LIMIT)]
)
def test_in_05_a_warm_child_is_watched_from_the_moment_it_gets_a_document(deed: str, reason: RefusalReason) -> None:
    with hostile_pool(timeout_s=5, idle_s=1000) as pool:
        said(pool, "warm")
        threading.Event().wait(4 * TICK_S)  # until its watcher looks now and then only
        began = monotonic()
        assert refused(pool, deed) is reason
        assert monotonic() - began < 30


def test_all_attempts_at_a_document_share_its_time() -> None:
    with hostile_pool(timeout_s=3) as pool:
        said(pool, "warm")
        began = monotonic()
        with pytest.raises(DocumentRefused, match="longer than 3 s"):
            pool.parse(b"2", "memory after a while")
        assert monotonic() - began < 4


def test_a_child_whose_folder_cannot_be_looked_through_is_ended_and_the_watch_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a child without a file system of its own would fill it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with hostile_pool() as pool, ThreadPoolExecutor(1) as thread:
        said(pool, "warm")
        asked = thread.submit(refused, pool, "sleep")
        wait_until(lambda: pool.at_work == 1)
        nest(next(tmp_path.iterdir()), 1200)
        assert asked.result() is RefusalReason.TOO_LARGE
        assert not list(tmp_path.iterdir())
        assert said(pool, "after", b"fine") == "fine"


def test_whatever_a_library_raises_costs_the_document_and_not_the_child() -> None:
    script = """
import os
from ingest.parsers import child, wire
child.PAGES = "not.there"
child.parse = lambda data, name, options: wire.Extraction(str(os.getpid()), (), "text/plain")
child.main()
"""
    with ParserPool(1, command=(sys.executable, "-c", script, "500000000", "60", ReadingOptions().to_word())) as pool:
        before = said(pool, "a")
        with pytest.raises(DocumentRefused, match="ModuleNotFoundError") as refusal:
            pool.render(b"", 1, 100)
        assert refusal.value.reason is RefusalReason.PARSER_FAILED
        assert said(pool, "a") == before


def test_a_child_that_dies_between_two_documents_costs_none(pool: ParserPool) -> None:
    first = int(said(pool, "who"))
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert int(said(pool, "who")) != first


def test_a_document_above_the_size_limit_is_refused_unread() -> None:
    with ParserPool(1, max_bytes=10, command=("/nonexistent",)) as pool:
        assert refused(pool, "a.txt", b"eleven bytes") is RefusalReason.TOO_LARGE


@pytest.mark.parametrize("command", [("/nonexistent",), (sys.executable, "-c", "raise SystemExit(3)")])
def test_a_child_that_cannot_start_says_nothing_about_the_document(command: tuple[str, ...]) -> None:
    with ParserPool(1, command=command) as pool:
        for _ in range(2):  # nor does it take the place of one that can
            with pytest.raises(Unavailable, match="parser process"):
                pool.parse(b"fine", "a.txt")


# Who answers whom -----------------------------------------------------------------------------------------------------


def test_an_answer_given_in_advance_is_never_taken_for_the_next_document(pool: ParserPool) -> None:
    assert said(pool, "twice") == "mine"
    assert said(pool, "next", b"my own") == "my own"


def test_threads_get_the_answer_to_their_own_document() -> None:
    texts = [f"document {number}" for number in range(100)]
    with ParserPool(2, timeout_s=60) as pool, ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda text: extracted_text(pool.parse(text.encode(), "a.txt"))[0], texts))
    assert found == texts


def test_an_empty_document_and_one_of_many_megabytes_arrive_whole(pool: ParserPool) -> None:
    assert said(pool, "x", b"") == ""
    assert len(pool.parse(b"a" * 20_000_000, "x").elements[0].text) == 20_000_000


def test_a_name_of_any_form_arrives(pool: ParserPool) -> None:
    for name in ("../../etc/cron.d/x", "a\0b", "\ud800.pdf", "x" * 100_000):
        assert said(pool, name, b"fine") == "fine"


def test_a_child_knows_nothing_of_our_environment(pool: ParserPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUSTOS_QDRANT_API_KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    environment = json.loads(said(pool, "environment"))
    assert not [key for key, value in environment.items() if key.startswith("KUSTOS_") or value == "secret"]
    assert environment["DO_NOT_TRACK"] == environment["SCARF_NO_ANALYTICS"] == "1"


# How long children live ---------------------------------------------------------------------------------------------------


def test_a_child_is_warm_until_it_has_served_its_number_of_documents(pool: ParserPool) -> None:
    served_by = [said(pool, "who") for _ in range(DOCUMENTS_A_CHILD + 1)]
    assert len(set(served_by[:DOCUMENTS_A_CHILD])) == 1
    assert served_by[-1] != served_by[0]


def test_a_refusal_leaves_the_child_warm(pool: ParserPool) -> None:
    before = said(pool, "who")
    assert refused(pool, "refuse") is RefusalReason.DAMAGED
    assert said(pool, "who") == before


def test_closing_the_pool_ends_its_children_and_removes_their_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(threading.enumerate())
    with hostile_pool() as pool:
        child = int(said(pool, "who"))
        assert "parser-watch" in {each.name for each in set(threading.enumerate()) - before}
        os.kill(child, 0)
        assert len(list(tmp_path.iterdir())) == 1
        assert refused(pool, "killed") is RefusalReason.PARSER_FAILED
        assert not list(tmp_path.iterdir())
        child = int(said(pool, "who"))
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert not list(tmp_path.iterdir())
    wait_until(lambda: "parser-watch" not in {each.name for each in set(threading.enumerate()) - before})


def test_closing_the_pool_does_not_wait_for_a_document_nor_count_it_as_refused() -> None:
    pool = hostile_pool(2)
    with ThreadPoolExecutor(2) as threads:
        children = {int(said(pool, "who"))}
        asked = [threads.submit(pool.parse, b"", "hang") for _ in range(2)]
        wait_until(lambda: pool.at_work == 2)
        pool.close()
        for each in asked:
            with pytest.raises(Unavailable):
                each.result()
    with pytest.raises(Unavailable):
        pool.parse(b"fine", "a.txt")
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


def test_a_child_that_has_long_had_nothing_to_do_is_ended() -> None:
    with hostile_pool(idle_s=0.2) as pool:
        child = int(said(pool, "who"))
        wait_until(lambda: not Path(f"/proc/{child}").exists())
        assert int(said(pool, "who")) != child


def test_what_a_document_leaves_in_the_folder_the_next_one_does_not_meet(pool: ParserPool) -> None:
    if not pool.measures().folder:
        pytest.skip("this kernel gives parsers no folder")
    assert said(pool, "note") == "succeeded: kept"
    assert said(pool, "left behind") == "[]"


def test_only_a_child_that_may_start_the_program_starts_it() -> None:
    """Both with the real child: one asks for what it may not do, the pool asks one that may."""
    script = f"""
import sys; from ingest.parsers import child, wire
def parse(data, name, options):
    if len(sys.argv) < 5: raise wire.NeedsProgram("converter", "install it")
    import subprocess
    return wire.Extraction(subprocess.run(["{os.path.realpath("/bin/true")}"]).args[0], (), "text/plain")
child.parse = parse
child.main()
"""
    command = (sys.executable, "-c", script, "500000000", "60", "{}")
    with ParserPool(1, command=command, programs={}) as pool:
        assert refused(pool, "a.doc") is RefusalReason.UNSUPPORTED
        if not pool.measures().programs:
            pytest.skip("this kernel cannot hold a child that may start programs, so none does")
    with ParserPool(1, command=command, programs={"converter": "/bin/true"}) as pool:
        assert said(pool, "a.doc") == os.path.realpath("/bin/true")


def test_where_no_program_can_be_held_the_refusal_says_so_instead_of_advising_to_install_it() -> None:
    script = """
from ingest.parsers import child, confinement, wire
confinement.leave_network = lambda: False
def parse(data, name, options): raise wire.NeedsProgram("soffice", "install it")
child.parse = parse
child.main()
"""
    arguments = ("500000000", "60", ReadingOptions().to_word())
    with ParserPool(1, command=(sys.executable, "-c", script, *arguments), programs={"soffice": "/bin/true"}) as pool:
        with pytest.raises(DocumentRefused, match="installed, but not started") as refusal:
            pool.parse(b"", "a.doc")
        assert refusal.value.reason is RefusalReason.UNSUPPORTED
        assert "soffice" not in pool.decided_by  # so what was refused is read again where it can be held


def test_what_decides_about_a_refusal_holds_the_programs_that_may_be_started() -> None:
    with ParserPool(1, programs={"soffice": "/bin/true"}) as pool:
        assert ("soffice" in pool.decided_by) == pool.measures().programs
    with ParserPool(1, programs={"soffice": "/bin/true"}, command=("/nonexistent",)) as pool:
        assert "soffice" not in pool.decided_by


def test_a_program_that_a_child_started_ends_with_it() -> None:
    sleep = os.path.realpath("/bin/sleep")
    with hostile_pool(timeout_s=1.0, more=(os.path.dirname(sleep),)) as pool:
        if not pool.measures().files:
            pytest.skip("without Landlock no child starts a program")
        child = int(said(pool, "who"))
        assert refused(pool, "start and sleep", sleep.encode()) is RefusalReason.TIME_LIMIT
        listed = subprocess.run(["ps", "-o", "stat=", "-g", str(child)], capture_output=True, text=True, check=False)
        assert not [state for state in listed.stdout.split() if not state.startswith("Z")]


# What it says of itself ------------------------------------------------------------------------------------------------


def test_the_pool_tells_what_holds_its_children(pool: ParserPool) -> None:
    assert repr(pool.measures()) == said(pool, "measures")


@pytest.mark.parametrize("word", [b"", b"[]", b"true", b'{"files": 1}', b'{"other": true}', b"[" * 60_000])
def test_a_child_that_does_not_say_what_holds_it_is_not_used(word: bytes) -> None:
    says = f"import sys, time; sys.stdout.buffer.write(({len(word)}).to_bytes(8) + {word[:60]!r} * {len(word) // 60 or 1}); sys.stdout.flush(); time.sleep(60)"
    with ParserPool(1, command=(sys.executable, "-c", says)) as pool, pytest.raises(Unavailable):
        pool.parse(b"", "x")


def test_what_is_missing_is_said_in_a_sentence_each() -> None:
    assert len(Measures().missing()) == 5
    assert not Measures(namespaces=True, system_calls=True, files=True, folder=True, capabilities=True).missing()


def test_the_test_child_confines_itself_as_the_real_one_does(pool: ParserPool) -> None:
    assert COMMAND[0] == sys.executable
    with ParserPool(1) as real:
        assert real.measures() == pool.measures()
