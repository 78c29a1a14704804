"""The parser process: `python -m ingest.parsers.child MEMORY_BYTES SECONDS OPTIONS [PROGRAM...]`.

Confines itself and says what holds it, then takes question after question from standard input, which is a local
socket, and answers on what was standard output, until its input ends. `ingest.sandbox` starts, limits and replaces it.
Its folder for temporary files is in `PARSER_FOLDER`.
"""

from __future__ import annotations

import os
import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from ingest.parsers.confinement import allow_cpu, allow_time, confine, empty_folder
from ingest.parsers.options import ReadingOptions
from ingest.parsers.registry import parse
from ingest.parsers.wire import Wanted, encode_extraction, encode_ready, encode_refusal, send, take
from rag.errors import DocumentRefused, RefusalReason

LEFT_OUT = ("pymupdf.layout",)
"""Neural layout models that PyMuPDF 2 loads at its import and nothing here uses: 55 MB and 0.3 s."""
ORPHANED_S = 5.0  # after its time, a child that is still there has no parent any more
PAGES = "ingest.parsers.pages"
"""Module whose `render(data, page, width, marked)` draws a page; loaded when the first is asked for."""


def main() -> None:
    memory_bytes, cpu_s, programs = int(sys.argv[1]), int(sys.argv[2]), sys.argv[4:]
    options = ReadingOptions.from_word(sys.argv[3])
    folder = os.environ.get("PARSER_FOLDER", "")  # its own, and emptied: never one that others use
    questions, answers = _private_streams()
    sys.modules.update(dict.fromkeys(LEFT_OUT))  # type: ignore[arg-type]  # None makes importing it fail
    if folder:
        os.chdir(folder)
    send(answers, encode_ready(confine(memory_bytes, folder, _run_with(programs))))
    while question := take(questions):
        send(answers, question.number)
        allow_cpu(cpu_s)
        allow_time(cpu_s + ORPHANED_S)
        send(answers, *_answer(question.data, question.wanted, options))
        if not empty_folder(folder):
            return  # the next document gets a child with a folder of its own
        allow_time(0)


def _run_with(programs: list[str]) -> list[str]:
    """Folders of the programs themselves: a command is often a link or a script beside what it starts."""
    return [str(Path(program).resolve().parent) for program in programs]


def _private_streams() -> tuple[socket.socket, BinaryIO]:
    """Standard input and output under new numbers; the old ones lead nowhere, so no library's print disturbs."""
    questions, answers = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    return socket.socket(fileno=questions), os.fdopen(answers, "wb", buffering=0)


def _answer(data: bytes, wanted: Wanted, options: ReadingOptions) -> list[bytes]:
    try:
        if wanted.page:
            return [b"{}", import_module(PAGES).render(data, wanted.page, wanted.width, wanted.marked, options)]
        return encode_extraction(parse(data, wanted.name, options))
    except DocumentRefused as refusal:
        return encode_refusal(refusal)
    except MemoryError:
        return encode_refusal(
            DocumentRefused(RefusalReason.MEMORY_LIMIT, "reading it takes more memory than is allowed")
        )
    except Exception as error:  # noqa: BLE001  whatever a library raises costs this document, not the child
        return encode_refusal(
            DocumentRefused(RefusalReason.PARSER_FAILED, f"the parser failed: {type(error).__name__}")
        )


if __name__ == "__main__":
    main()
