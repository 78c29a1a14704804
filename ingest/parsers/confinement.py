"""What a parser process gives up before it sees its first document.

Limits of the kernel, an interpreter that refuses sockets and programs, and, where the kernel allows it without
privileges, a network namespace without any interface. It does not yet confine native code that was taken over: system
call filters (seccomp), Landlock rules for reading files, and a limit on resident memory belong into `confine` and come
with the full sandbox.
"""

from __future__ import annotations

import ctypes
import resource
import sys
import tempfile

CLONE_NEWUSER = 0x10000000  # linux/sched.h
CLONE_NEWNET = 0x40000000
NOWHERE = "/nonexistent"
MAX_OPEN_FILES = 64
REFUSED_EVENTS = ("socket.", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork")


def confine(memory_bytes: int) -> None:
    """Gives up network, programs, files to write, core dumps and memory above `memory_bytes` of address space."""
    _leave_network()
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_FSIZE, 0)
    tempfile.tempdir = NOWHERE  # libraries ask at import where it is, and the answer is found by writing
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    sys.addaudithook(_refuse)


def allow_cpu(seconds: int) -> None:
    """Lets the process use `seconds` more of CPU time; afterwards the kernel ends it with SIGXCPU."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + seconds, hard))


def _limit(kind: int, value: int) -> None:
    resource.setrlimit(kind, (value, value))


def _leave_network() -> None:
    """Best effort: containers often forbid it, and the audit hook stands in either case."""
    if sys.platform == "linux":
        ctypes.CDLL(None).unshare(CLONE_NEWUSER | CLONE_NEWNET)


def _refuse(event: str, _arguments: tuple[object, ...]) -> None:
    if event.startswith(REFUSED_EVENTS):
        raise PermissionError(f"{event} is refused in a parser process")
