"""The parser process: `python -m ingest.parsers.child MEMORY_BYTES CPU_SECONDS`.

Says that it is ready, then reads number, name and content of one document after the other from standard input and
answers on what was standard output, until its input ends. `ingest.sandbox` starts, limits and replaces it.
"""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

from ingest.parsers.confinement import allow_cpu, confine
from ingest.parsers.registry import parse
from ingest.parsers.wire import NUMBER_BYTES, READY, encode_extraction, encode_refusal, receive, send
from rag.errors import DocumentRefused

LEFT_OUT = ("pymupdf.layout",)
"""Neural layout models that PyMuPDF 2 loads at its import and nothing here uses: 55 MB and 0.3 s."""
MAX_REQUEST_BYTES = 1 << 40  # the parent has checked the size


def main() -> None:
    memory_bytes, cpu_s = map(int, sys.argv[1:])
    questions, answers = _private_streams()
    sys.modules.update(dict.fromkeys(LEFT_OUT))  # type: ignore[arg-type]  # None makes importing it fail
    confine(memory_bytes)
    send(answers, READY)
    while number := receive(questions, NUMBER_BYTES):
        name = receive(questions, MAX_REQUEST_BYTES) or b""
        data = receive(questions, MAX_REQUEST_BYTES) or b""
        allow_cpu(cpu_s)
        send(answers, number, _answer(data, name.decode(errors="replace")))


def _private_streams() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output under new numbers; the old ones lead nowhere, so no library's print disturbs."""
    questions, answers = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    return os.fdopen(questions, "rb"), os.fdopen(answers, "wb", buffering=0)


def _answer(data: bytes, name: str) -> bytes:
    try:
        return encode_extraction(parse(data, name))
    except DocumentRefused as refusal:
        return encode_refusal(refusal)


if __name__ == "__main__":
    main()
