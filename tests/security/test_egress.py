"""O6: nothing leaves. The whole demo runs where no packet could, and nothing even tries.

Two witnesses: an audit hook in every Python process (which sees Python's sockets, also where namespaces are not to be
had), and the kernel's own count of packets without a route in a network namespace (which sees those of native code too).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.once import folder_of_the_run
from tests.security.watched import ROOT, TIMEOUT_S, Run, run, run_of_the_demo

MODEL = ROOT / ".kustos-models" / "multilingual-e5-small" / ".complete"
NO_NAMESPACE = "no network namespace can be made here (unshare --net); run as root, or allow user namespaces"
BY_AUDIT_HOOK = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
BY_NAME = "import socket; socket.getaddrinfo('example.org', 443)"
BY_NATIVE_CODE = """
import ctypes, socket, struct
address = struct.pack("=HH4s8x", socket.AF_INET, socket.htons(80), socket.inet_aton("192.0.2.1"))
libc = ctypes.CDLL(None)
libc.connect(libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0), address, len(address))
"""
IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
opened = []
sys.addaudithook(lambda event, arguments: opened.append((event, arguments)) if event.startswith("socket.") else None)
first = sys.argv[1]
names = [first] + [
    each.name
    for package in ("rag", "ingest", "connectors", "api", "eval")
    for each in pkgutil.walk_packages([package], f"{package}.")
    if not each.name.endswith(("__main__", "migrations.env"))
]
for name in names:
    importlib.import_module(name)
print(len(names))
harmless = ("socket.gethostname", "socket.__new__")  # a socket that was made has not reached for anything
sys.exit(repr([each for each in opened if each[0] not in harmless and "'::1'" not in repr(each[1])]).strip("[]") or 0)
"""
"""Imports the module named first before all others. urllib3 asks by a bind to ::1 whether there is IPv6."""


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Run:
    if not MODEL.exists():
        pytest.skip("the bundled model is not here; fetch it with: make setup")
    return run_of_the_demo(folder_of_the_run(tmp_path_factory))


def test_o6_the_whole_demo_answers_without_any_network(demo: Run) -> None:
    assert demo.status == 0, demo.err
    assert "ready after" in demo.err
    assert "[1]" in demo.out


def test_o6_no_python_process_of_the_demo_tries_to_reach_another_machine(demo: Run) -> None:
    assert demo.tried == ""


def test_o6_no_process_or_library_of_the_demo_asks_the_kernel_for_a_route(demo: Run) -> None:
    if demo.no_routes is None:
        pytest.skip(NO_NAMESPACE)
    assert demo.no_routes == 0


@pytest.mark.parametrize("attempt", [BY_AUDIT_HOOK, BY_NAME], ids=["connection", "name look-up"])
def test_the_audit_hook_sees_an_attempt_and_stops_it(tmp_path: Path, attempt: str) -> None:
    tried = run(tmp_path / "attempt", [sys.executable, "-c", attempt])
    assert tried.status != 0
    assert tried.tried
    assert "leads off this machine" in tried.err
    assert not tried.no_routes


def test_the_audit_hook_is_in_children_too(tmp_path: Path) -> None:
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BY_NAME!r}])"
    assert "example.org" in run(tmp_path / "attempt", [sys.executable, "-c", child]).tried


def test_the_kernel_counts_what_native_code_attempts(tmp_path: Path) -> None:
    tried = run(tmp_path / "attempt", [sys.executable, "-c", BY_NATIVE_CODE])
    if tried.no_routes is None:
        pytest.skip(NO_NAMESPACE)
    assert tried.tried == ""
    assert tried.no_routes > 0


def test_what_stays_on_this_machine_is_neither_refused_nor_counted(tmp_path: Path) -> None:
    local = (
        "import socket; a = socket.create_server(('127.0.0.1', 0)); socket.create_connection(a.getsockname());"
        "socket.getaddrinfo('localhost', 80); b, c = socket.socketpair(); b.sendall(b'x')"
    )
    done = run(tmp_path / "attempt", [sys.executable, "-c", local])
    assert (done.status, done.tried, done.no_routes or 0) == (0, "", 0), done.err


@pytest.mark.parametrize("first", ["ingest.parsers.hypertext", "rag.models.embedding"])
def test_o6_importing_every_module_reaches_for_nothing_whichever_comes_first(first: str, tmp_path: Path) -> None:
    done = run(tmp_path / "imports", [sys.executable, "-c", IMPORT_EVERYTHING, first])
    assert (done.status, done.tried, done.no_routes or 0) == (0, "", 0), done.err
    assert int(done.out) > 50


def test_o6_embedding_leaves_no_trace_of_telemetry_on_the_disk(tmp_path: Path) -> None:
    """A device id would be kept at once, though sent only minutes later."""
    (tmp_path / "home").mkdir()
    env = {**os.environ, "HOME": str(tmp_path / "home")}
    env.pop("XDG_CACHE_HOME", None)
    embed = "import rag.models.embedding, onnxruntime; onnxruntime.SessionOptions()"
    subprocess.run([sys.executable, "-c", embed], cwd=ROOT, env=env, check=True, timeout=TIMEOUT_S)
    assert list((tmp_path / "home").rglob("*")) == []
