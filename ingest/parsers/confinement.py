"""What a parser process gives up before it sees its first document.

Several measures that do not depend on each other, each as far as the kernel grants it to this process: containers and
old kernels refuse some. What is in force is told to the parent (`Measures`) and by `kustos doctor`.
docs/decisions/0007 says why these, and what each is for.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from mimetypes import knownfiles
from pathlib import Path
from shutil import rmtree

from ingest.parsers.kernel import call
from ingest.parsers.landlock import SCOPES_SINCE, restrict_files
from ingest.parsers.namespaces import drop_capabilities, leave_network, mount_own, write_protect
from ingest.parsers.seccomp import restrict_calls

MAX_OPEN_FILES = 64
MAX_OPEN_FILES_OF_PROGRAMS = 1024
MAX_STACK_BYTES = 8_388_608
ADDRESS_SPACE_FACTOR = 4  # neural runtimes reserve addresses that they never use
TEMPORARY_BYTES = 200_000_000
NOWHERE = "/nonexistent"
PR_SET_DUMPABLE = 4
REFUSED_EVENTS = ("socket.", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork")

OURS = Path(__file__).resolve().parents[2]
LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64")
SHARED = (
    *(
        "/etc/ld.so.cache",
        "/etc/localtime",
        "/etc/fonts",
        "/etc/alternatives",
        "/etc/libreoffice",
        *map(str, knownfiles),
    ),
    *("/usr/share/fonts", "/usr/local/share/fonts", "/usr/share/fontconfig", "/usr/share/zoneinfo", "/usr/share/mime"),
    *("/usr/share/tesseract-ocr", "/usr/share/tessdata", "/usr/share/libreoffice"),
    *("/dev/null", "/dev/urandom", "/dev/random", "/sys/devices/system/cpu", "/proc/cpuinfo", "/proc/meminfo"),
)
"""What libraries read beside themselves: fonts, character and time tables, OCR models, what the processor can do."""


@dataclass(frozen=True, slots=True)
class Measures:
    """What holds a parser process, beside the limits on time, memory and size, which hold everywhere.

    Attributes:
        namespaces: it is in a network without any interface.
        system_calls: the kernel refuses it sockets, programs, signals to others and whatever reading does not need.
        files: it can open its own libraries, fonts and models, and nothing else.
        folder: it has a private temporary folder.
        capabilities: it has none of the superuser's rights, whoever started it.
    """

    namespaces: bool = False
    system_calls: bool = False
    files: bool = False
    folder: bool = False
    capabilities: bool = False

    @property
    def programs(self) -> bool:
        """Whether a child can be held that may start a program."""
        return self.namespaces and self.system_calls and self.files and self.folder

    def missing(self) -> tuple[str, ...]:
        """What this machine does not give, and what follows, a sentence each."""
        sentences = {
            "no Landlock: a parser that was taken over can read what this user can read": self.files,
            "no system call filter: a parser that was taken over can start programs": self.system_calls,
            "no namespaces: nothing but the system call filter keeps a parser from the network": self.namespaces,
            "capabilities could not be dropped: do not run as root": self.capabilities,
            "so no program can be held, and LibreOffice is not started: Word and PowerPoint files from before 2007 and "
            ".xlsb workbooks are refused": self.programs,
        }
        return tuple(sentence for sentence, holds in sentences.items() if not holds)


def confine(
    memory_bytes: int, folder: str = "", may_run: Sequence[str] = (), folder_bytes: int = TEMPORARY_BYTES
) -> Measures:
    """Gives up network, programs, files, rights of the superuser, core dumps and memory, for good.

    Args:
        memory_bytes: memory of its own. What it shares, the parent watches.
        folder: existing folder in which files may be made; empty for none.
        may_run: programs, or folders of programs, that may be started; only where Landlock holds them.
    """
    namespaces = leave_network()
    if namespaces:
        write_protect()  # a second lock beside Landlock; programs also look for a place to write before they try one
    if folder and namespaces:
        mount_own(folder, folder_bytes)  # without it, the parent watches the folder's size
    _limit_resources(memory_bytes, folder_bytes if folder else 0, programs=bool(may_run))
    capabilities = drop_capabilities()
    landlock = _restrict_files(folder, may_run)
    files = landlock > 0
    with suppress(OSError):
        call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)  # no core of it is written, not even by a handler outside
    filtered = _restrict_calls(landlock, writing=files and bool(folder), programs=files and bool(may_run))
    # Libraries ask at import where temporary files go, and the answer is found by writing.
    tempfile.tempdir = folder or NOWHERE
    if not may_run:
        sys.addaudithook(_refuse)
    return Measures(namespaces, filtered, files, files and bool(folder), capabilities)


def allow_cpu(seconds: int) -> None:
    """Lets the process use `seconds` more of CPU time; afterwards the kernel ends it with SIGXCPU."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + seconds, hard))


def allow_time(seconds: float) -> None:
    """Has the kernel end the process with SIGALRM after `seconds`, be its parent there or not; with 0 never."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, seconds)


def empty_folder(folder: str) -> bool:
    """Whether all that a document has left behind could be removed, so that the next one does not meet it."""
    try:
        for entry in os.scandir(folder) if folder else ():
            if entry.is_dir(follow_symlinks=False):
                rmtree(entry.path)
            else:
                os.unlink(entry.path)
    except (OSError, RecursionError):
        return False
    return True


def _limit_resources(memory_bytes: int, file_bytes: int, *, programs: bool) -> None:
    _limit(resource.RLIMIT_AS, ADDRESS_SPACE_FACTOR * memory_bytes)
    _limit(resource.RLIMIT_DATA, memory_bytes)
    _limit(resource.RLIMIT_STACK, MAX_STACK_BYTES)
    _limit(resource.RLIMIT_FSIZE, file_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES_OF_PROGRAMS if programs else MAX_OPEN_FILES)


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _restrict_files(folder: str, may_run: Sequence[str]) -> int:
    """Version of Landlock that holds; 0 for none."""
    run = [*may_run, *LIBRARIES] if may_run else []  # the loader of every program is among the libraries
    try:
        return restrict_files(read=_readable(), run=run, own=[folder] if folder else [])
    except OSError:
        return 0


def _restrict_calls(landlock: int, *, writing: bool, programs: bool) -> bool:
    try:
        restrict_calls(writing=writing, programs=programs, signals=programs and landlock >= SCOPES_SINCE)
    except OSError:
        return False
    return True


def _readable() -> Iterator[str]:
    """Interpreter, libraries and ourselves. Not all of `sys.path`: a checkout holds the home of its service, too."""
    paths = sysconfig.get_paths()
    yield from {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    yield from (path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"})
    yield f"{sys.base_prefix}/lib"
    yield from (str(OURS / package) for package in ("ingest", "rag"))
    yield from LIBRARIES
    yield from SHARED


def _refuse(event: str, _arguments: tuple[object, ...]) -> None:
    if event.startswith(REFUSED_EVENTS):
        raise PermissionError(f"{event} is refused in a parser process")
