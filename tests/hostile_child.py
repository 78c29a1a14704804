"""A parser process that was taken over by its document: it confines itself as the real one does, then does what the name
of the document tells it to. Run by `ParserPool(command=...)`, never imported.

Deeds in capitals are done by native code, around everything that the interpreter refuses.
"""

# ruff: noqa: B023, BLE001, PLW1510, SIM115
# mypy: ignore-errors

import ctypes
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from ingest.extraction import Attachment, Element, ElementKind, Extraction
from ingest.parsers.confinement import allow_cpu, confine, empty_folder
from ingest.parsers.wire import LENGTH, encode_extraction, encode_ready, encode_refusal, send, take
from rag.errors import DocumentRefused, RefusalReason

LIBC = ctypes.CDLL(None, use_errno=True)
PARENT = os.getppid()
memory_bytes = int(sys.argv[1])
folder = os.environ["TMPDIR"]


def tell(text):
    return encode_extraction(Extraction(text, (Element(ElementKind.PARAGRAPH, text),), "text/plain"))


def attempt(deed):
    try:
        return f"succeeded: {deed()}"
    except BaseException as error:
        return f"refused: {type(error).__name__}"


def native(name, *arguments):
    """What a C function answers; -1 with its reason where it failed."""
    result = getattr(LIBC, name)(*arguments)
    return "refused: " + errno.errorcode.get(ctypes.get_errno(), "?") if result == -1 else f"succeeded: {result}"


def native_open(path, flags):
    return native("open", os.fsencode(path), flags, 0o600)


def native_write(path):
    descriptor = LIBC.open(os.fsencode(path), os.O_WRONLY | os.O_CREAT, 0o600)
    return "refused" if descriptor < 0 else f"succeeded: {LIBC.write(descriptor, b'slipped', 7)}"


def native_connect(port):
    address = (2).to_bytes(2, sys.byteorder) + port.to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)
    opened = LIBC.socket(2, 1, 0)
    return "refused" if opened < 0 else native("connect", opened, address, 16)


def shared_memory(size):
    """Memory that no limit of the kernel counts as this process's own."""
    import mmap

    room = mmap.mmap(-1, size)
    for at in range(0, size, 4096):
        room[at] = 1
    signal.sigwait({signal.SIGUSR1})


def threads():
    threading.stack_size(32768)
    while True:
        threading.Thread(target=signal.sigwait, args=({signal.SIGUSR1},), daemon=True).start()


def fill(place):
    """Writes until it is not let; says how much that was."""
    written = 0
    try:
        for number in range(10_000):
            with open(os.path.join(place, str(number)), "wb", buffering=0) as file:
                for _ in range(10):
                    written += file.write(bytes(1_000_000))
    except OSError as error:
        return f"{written} {errno.errorcode[error.errno]}"


questions = socket.socket(fileno=os.dup(0))
answers = os.fdopen(os.dup(1), "wb", buffering=0)
if "--die-confining" in sys.argv:
    os.kill(os.getpid(), signal.SIGKILL)
measures = confine(memory_bytes, folder, [each for each in sys.argv[2:] if each.startswith("/")])
send(answers, encode_ready(measures))
last = bytes(16)
while question := take(questions):
    number, data = question.number, question.data

    def answer(*parts):
        send(answers, *parts)

    if question.wanted.name not in ("dies untouched", "out of turn"):
        send(answers, number)
    allow_cpu(60)
    match question.wanted.name:
        case "hang":
            while True:
                pass
        case "sleep":
            signal.sigwait({signal.SIGUSR1})
        case "burn":
            allow_cpu(0)
            while True:
                pass
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            ctypes.string_at(0)
        case "leaves":
            sys.exit(0)
        case "dies untouched":
            os.kill(os.getpid(), signal.SIGKILL)
        case "inside the head":
            answers.write(LENGTH.pack(100) + b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        case "after the head":
            answer(tell("x")[0])
            os.kill(os.getpid(), signal.SIGKILL)
        case "inside the elements":
            answer(tell("x")[0])
            answers.write(LENGTH.pack(1000) + bytes(500))
            os.kill(os.getpid(), signal.SIGKILL)
        case "inside an attachment":
            parts = encode_extraction(Extraction("x", (), "text/plain", attachments=(Attachment("a", bytes(1000)),)))
            answer(*parts[:-1])
            answers.write(LENGTH.pack(1000) + bytes(500))
            os.kill(os.getpid(), signal.SIGKILL)
        case "after the answer":
            answer(*tell("mine"))
            os.kill(os.getpid(), signal.SIGKILL)
        case "endless head":
            answers.write(LENGTH.pack(1 << 50))
        case "endless elements":
            answer(tell("x")[0])
            answers.write(LENGTH.pack(1 << 40))
            while True:
                answers.write(bytes(1 << 20))
        case "endless attachments":
            answer(json.dumps(json.loads(tell("x")[0]) | {"attachments": 1 << 40}).encode(), b"")
            while True:
                answer(b"a", bytes(1 << 20))
        case "out of turn":
            send(answers, last, *tell("not yours"))
        case "rubbish":
            answer(data)
        case "rubbish elements":
            answer(tell("x")[0], data)
        case "refuse":
            answer(*encode_refusal(DocumentRefused(RefusalReason.DAMAGED, "torn")))
        case "memory after a while":
            signal.sigtimedwait({signal.SIGUSR1}, float(data))
            answer(*encode_refusal(DocumentRefused(RefusalReason.MEMORY_LIMIT, "too much")))
        case "twice":
            parts = (*tell("mine"), number, *tell("not yours"))
            answers.write(b"".join(LENGTH.pack(len(part)) + part for part in parts))
        case "environment":
            answer(*tell(json.dumps(dict(os.environ))))
        case "measures":
            answer(*tell(repr(measures)))
        case "connect":
            answer(*tell(attempt(lambda: socket.create_connection(("127.0.0.1", int(data))))))
        case "resolve":
            answer(*tell(attempt(lambda: socket.getaddrinfo("sentinel.invalid", 80))))
        case "program":
            answer(*tell(attempt(lambda: subprocess.run(["/bin/true"]))))
        case "shell":
            answer(*tell(attempt(lambda: os.system("true"))))
        case "run":
            answer(*tell(attempt(lambda: subprocess.run([data.decode()], capture_output=True, check=True).returncode)))
        case "start and sleep":
            subprocess.run([data.decode(), "600"])
        case "write":
            answer(*tell(attempt(lambda: open(data.decode(), "wb", buffering=0).write(b"x"))))
        case "note":
            answer(*tell(attempt(lambda: Path(folder, "note").write_text("kept") and Path(folder, "note").read_text())))
        case "temporary":
            answer(*tell(attempt(lambda: tempfile.NamedTemporaryFile().write(b"kept"))))
        case "left behind":
            answer(*tell(str(os.listdir(folder))))
        case "memory":
            answer(*tell(attempt(lambda: len(bytearray(memory_bytes)))))
        case "shared memory":
            shared_memory(2 * memory_bytes)
        case "threads":
            threads()
        case "fill":
            answer(*tell(fill(folder)))
        case "who":
            answer(*tell(str(os.getpid())))
        case "parent's environment":
            answer(*tell(native_open(f"/proc/{PARENT}/environ", os.O_RDONLY)))
        case "CONNECT":
            answer(*tell(native_connect(int(data))))
        case "SOCKET":
            answer(*tell(native("socket", int(data), 1, 0)))
        case "READ":
            answer(*tell(native_open(data, os.O_RDONLY)))
        case "WRITE":
            answer(*tell(native_write(data)))
        case "EMPTY":
            answer(*tell(native_open(data, os.O_RDONLY | os.O_TRUNC)))
        case "CHMOD":
            answer(*tell(native("chmod", data, 0o777)))
        case "LINK":
            answer(*tell(native("link", data, os.fsencode(folder) + b"/link")))
        case "REMOVE":
            answer(*tell(native("unlink", data)))
        case "MKNOD":
            answer(*tell(native("mknod", data, 0o020666, 0x103)))
        case "EXEC":
            answer(*tell(native("execl", b"/bin/true", b"true", None)))
        case "FORK":
            answer(*tell(native("fork")))
        case "BOMB":
            answer(*tell(str(sum(LIBC.fork() >= 0 for _ in range(1000)))))
        case "TRACE":
            answer(*tell(native("ptrace", 16, PARENT, None, None)))
        case "PEEK":
            answer(*tell(native("process_vm_readv", PARENT, None, 0, None, 0, 0)))
        case "KILL":
            answer(*tell(native("kill", PARENT, signal.SIGTERM)))
        case "KILL ALL":
            answer(*tell(native("kill", -1, signal.SIGTERM)))
        case "SIGNAL BY FILE":
            answer(*tell(native("fcntl", questions.fileno(), 8, PARENT)))
        case "LIMIT":
            answer(*tell(native("prlimit", PARENT, 7, (ctypes.c_uint64 * 2)(0, 0), None)))
        case "MOUNT":
            answer(*tell(native("mount", b"tmpfs", os.fsencode(folder), b"tmpfs", 0, None)))
        case "NAMESPACE":
            answer(*tell(native("unshare", 0x10000000)))
        case "MAKE ROOM":
            answer(*tell(native("prlimit", 0, 2, (ctypes.c_uint64 * 2)(1 << 50, 1 << 50), None)))
        case "UNKNOWN":
            answer(*tell(native("syscall", int(data), 0, 0, 0)))
        case _:
            answer(*tell(data.decode()))
    empty_folder(folder)
    last = number
