"""Whatever a document does to the process that reads it costs that document only, and nothing else leaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ingest.extraction import extracted_text
from ingest.sandbox import DOCUMENTS_A_CHILD, ParserPool
from rag.errors import DocumentRefused, RefusalReason, Unavailable

MEMORY = 1_000_000_000

TAKEN_OVER = """
import ctypes, json, os, pickle, signal, socket, subprocess, sys
from ingest.parsers.confinement import allow_cpu, confine
from ingest.parsers.wire import LENGTH, READY, receive, send

questions, answers = sys.stdin.buffer, os.fdopen(1, "wb", buffering=0)
def tell(text): return json.dumps({"title": text, "media_type": "text/plain", "elements": [["paragraph", text, 0, None]]}).encode()
def attempt(deed):
    try: return f"succeeded: {deed()}"
    except BaseException as error: return f"refused: {type(error).__name__}"
def native_connect(port):
    libc = ctypes.CDLL(None, use_errno=True)
    address = (2).to_bytes(2, sys.byteorder) + port.to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)
    return libc.connect(libc.socket(2, 1, 0), address, 16)

confine(int(sys.argv[1]))
send(answers, READY)
def answer(body): send(answers, number, body)
last = bytes(16)
while number := receive(questions, 16):
    name, data = receive(questions, 1 << 30), receive(questions, 1 << 30)
    allow_cpu(60)
    match name.decode():
        case "hang":
            while True: pass
        case "burn":
            allow_cpu(0)
            while True: pass
        case "killed": os.kill(os.getpid(), signal.SIGKILL)
        case "segfault": ctypes.string_at(0)
        case "leaves": sys.exit(0)
        case "half": send(answers, number); answers.write(LENGTH.pack(100) + b"half"); sys.exit(0)
        case "endless": send(answers, number); answers.write(LENGTH.pack(1 << 50))
        case "out of turn": send(answers, last, tell("not yours"))
        case "rubbish": answer(data)
        case "refuse": answer(b'{"refused": "damaged", "detail": "torn"}')
        case "twice":
            parts = number, tell("mine"), number, tell("not yours")
            answers.write(b"".join(LENGTH.pack(len(part)) + part for part in parts))
        case "environment": answer(tell(json.dumps(dict(os.environ))))
        case "connect": answer(tell(attempt(lambda: socket.create_connection(("127.0.0.1", int(data))))))
        case "resolve": answer(tell(attempt(lambda: socket.getaddrinfo("sentinel.invalid", 80))))
        case "native connect": answer(tell(str(native_connect(int(data)))))
        case "program": answer(tell(attempt(lambda: subprocess.run(["/bin/true"]))))
        case "shell": answer(tell(attempt(lambda: os.system("true"))))
        case "write": answer(tell(attempt(lambda: open(data.decode(), "wb", buffering=0).write(b"x"))))
        case "memory": answer(tell(attempt(lambda: len(bytearray(int(sys.argv[1]))))))
        case "who": answer(tell(str(os.getpid())))
        case _: answer(tell(data.decode()))
    last = number
"""


@pytest.fixture
def pool() -> Iterator[ParserPool]:
    """A pool whose children do what a document that took one over could make it do."""
    with ParserPool(1, timeout_s=30, command=(sys.executable, "-c", TAKEN_OVER, str(MEMORY))) as pool:
        yield pool


def said(pool: ParserPool, name: str, data: bytes = b"") -> str:
    return pool.parse(data, name).title


def refusal(pool: ParserPool, name: str, data: bytes = b"") -> RefusalReason:
    with pytest.raises(DocumentRefused) as refused:
        pool.parse(data, name)
    return refused.value.reason


# One document is lost, and no more ---------------------------------------------------------------------------------


@pytest.mark.parametrize("deed", ["killed", "segfault", "leaves", "half", "endless", "out of turn"])
def test_in_05_a_child_that_crashes_costs_one_document(pool: ParserPool, deed: str) -> None:
    assert said(pool, "before", b"fine") == "fine"
    assert refusal(pool, deed) is RefusalReason.PARSER_FAILED
    assert said(pool, "after", b"fine") == "fine"


def test_in_05_an_endless_loop_ends_at_the_time_limit() -> None:
    with ParserPool(1, timeout_s=0.5, command=(sys.executable, "-c", TAKEN_OVER, str(MEMORY))) as pool:
        assert refusal(pool, "hang") is RefusalReason.TIME_LIMIT
        assert said(pool, "after", b"fine") == "fine"


def test_in_05_the_kernel_ends_what_burns_its_processor_time(pool: ParserPool) -> None:
    assert refusal(pool, "burn") is RefusalReason.TIME_LIMIT
    assert said(pool, "after", b"fine") == "fine"


def test_a_child_that_does_not_take_its_document_runs_into_the_time_limit() -> None:
    deaf = "import sys, time; sys.stdout.buffer.write((5).to_bytes(8) + b'ready'); sys.stdout.flush(); time.sleep(60)"
    with ParserPool(1, timeout_s=0.5, command=(sys.executable, "-c", deaf)) as pool:
        assert refusal(pool, "a", bytes(10_000_000)) is RefusalReason.TIME_LIMIT


def test_in_05_a_document_that_takes_all_memory_is_refused_and_the_next_one_is_read() -> None:
    with ParserPool(1, timeout_s=60, memory_bytes=200_000_000) as pool:
        assert refusal(pool, "big.txt", b"a\n\n" * 15_000_000) is RefusalReason.MEMORY_LIMIT
        assert extracted_text(pool.parse(b"fine", "small.txt"))[0] == "fine"


def test_a_child_that_dies_between_two_documents_costs_none(pool: ParserPool) -> None:
    first = int(said(pool, "who"))
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert int(said(pool, "who")) != first


def test_a_document_above_the_size_limit_is_refused_unread() -> None:
    with ParserPool(1, max_bytes=10, command=("/nonexistent",)) as pool:
        assert refusal(pool, "a.txt", b"eleven bytes") is RefusalReason.TOO_LARGE


@pytest.mark.parametrize("command", [("/nonexistent",), (sys.executable, "-c", "raise SystemExit(3)")])
def test_a_child_that_cannot_start_says_nothing_about_the_document(command: tuple[str, ...]) -> None:
    with ParserPool(1, command=command) as pool, pytest.raises(Unavailable, match="parser process"):
        pool.parse(b"fine", "a.txt")


# What is believed -----------------------------------------------------------------------------------------------------

ELEMENT = {"title": "", "media_type": "", "elements": [["paragraph", "x", 0, None]]}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93",
        b"null",
        b"[]",
        b'{"title": "x"}',
        b"[" * 100_000,
        b'{"refused": "because", "detail": ""}',
        b'{"refused": "damaged", "detail": 7}',
        json.dumps(ELEMENT | {"title": "\ud800"}).encode(),
        json.dumps(ELEMENT | {"elements": [["spell", "x", 0, None]]}).encode(),
        json.dumps(ELEMENT | {"elements": [["paragraph", "x", "0", None]]}).encode(),
        json.dumps(ELEMENT | {"elements": [["paragraph", ["x"], 0, None]]}).encode(),
        json.dumps(ELEMENT | {"elements": [["paragraph", "x", 0]]}).encode(),
    ],
    ids=lambda answer: answer[:40].decode(errors="replace"),
)
def test_an_answer_of_the_wrong_form_is_not_believed(pool: ParserPool, answer: bytes) -> None:
    assert refusal(pool, "rubbish", answer) is RefusalReason.PARSER_FAILED
    assert said(pool, "after", b"fine") == "fine"


def test_an_answer_given_in_advance_is_never_taken_for_the_next_document(pool: ParserPool) -> None:
    assert said(pool, "twice") == "mine"
    assert said(pool, "next", b"my own") == "my own"


def test_threads_get_the_answer_to_their_own_document() -> None:
    texts = [f"document {number}" for number in range(100)]
    with ParserPool(2, timeout_s=60) as pool, ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda text: extracted_text(pool.parse(text.encode(), "a.txt"))[0], texts))
    assert found == texts


# What a child does not have --------------------------------------------------------------------------------------------


def test_a_child_knows_nothing_of_our_environment(pool: ParserPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUSTOS_QDRANT_API_KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    environment = json.loads(said(pool, "environment"))
    assert not [key for key, value in environment.items() if key.startswith("KUSTOS_") or value == "secret"]
    assert environment["DO_NOT_TRACK"] == environment["SCARF_NO_ANALYTICS"] == "1"


@pytest.fixture
def listening() -> Iterator[int]:
    """Port of a socket that accepts connections on the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("deed", ["connect", "resolve", "program", "shell"])
def test_in_08_a_child_opens_no_socket_and_starts_no_program(pool: ParserPool, deed: str, listening: int) -> None:
    assert said(pool, deed, str(listening).encode()) == "refused: PermissionError"


def test_in_08_not_even_native_code_reaches_a_network(pool: ParserPool, listening: int) -> None:
    probe = "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(0x50000000) != 0)"
    if subprocess.run([sys.executable, "-c", probe], check=False).returncode:
        pytest.skip("the kernel gives unprivileged processes no network namespace of their own")
    assert said(pool, "native connect", str(listening).encode()) == "-1"


def test_in_03_a_child_writes_no_file(pool: ParserPool, tmp_path: Path) -> None:
    target = tmp_path / "slipped"
    assert said(pool, "write", bytes(target)).startswith("refused: ")
    assert not target.exists() or target.stat().st_size == 0


def test_a_child_gets_no_more_memory_than_its_limit(pool: ParserPool) -> None:
    assert said(pool, "memory") == "refused: MemoryError"


def test_a_child_is_warm_until_it_has_served_its_number_of_documents(pool: ParserPool) -> None:
    served_by = [said(pool, "who") for _ in range(DOCUMENTS_A_CHILD + 1)]
    assert len(set(served_by[:DOCUMENTS_A_CHILD])) == 1
    assert served_by[-1] != served_by[0]


def test_a_refusal_leaves_the_child_warm(pool: ParserPool) -> None:
    before = said(pool, "who")
    assert refusal(pool, "refuse") is RefusalReason.DAMAGED
    assert said(pool, "who") == before


def test_closing_the_pool_ends_its_children() -> None:
    with ParserPool(1, command=(sys.executable, "-c", TAKEN_OVER, str(MEMORY))) as pool:
        child = int(said(pool, "who"))
        os.kill(child, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
