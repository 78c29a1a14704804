"""The parser process: `python -m ingest.parsers.child MEMORY_BYTES CPU_SECONDS OPTIONS [PROGRAM...]`.

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

from ingest.parsers.confinement import allow_cpu, confine, empty_folder
from ingest.parsers.options import ReadingOptions
from ingest.parsers.registry import parse
from ingest.parsers.wire import Wanted, encode_extraction, encode_ready, encode_refusal, send, take
from rag.errors import DocumentRefused, RefusalReason

LEFT_OUT = ("pymupdf.layout",)
"""Neural layout models that PyMuPDF 2 loads at its import and nothing here uses: 55 MB and 0.3 s."""
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
        send(answers, *_answer(question.data, question.wanted, options))
        empty_folder(folder)


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


if __name__ == "__main__":
    main()
