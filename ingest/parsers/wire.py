"""What parent and child say to each other: length-prefixed bytes. Answers are JSON and are checked; never pickle.

A child may have been taken over by the document it reads, so nothing it says is believed beyond its form: the answer
has a bounded length, known fields of known types, and text that UTF-8 can carry.
"""

from __future__ import annotations

import json
import struct
from typing import BinaryIO

from ingest.extraction import Element, ElementKind, Extraction
from rag.errors import DocumentRefused, RefusalReason

LENGTH = struct.Struct(">Q")
MAX_ANSWER_BYTES = 64_000_000
MAX_DETAIL_CHARS = 300
NUMBER_BYTES = 16  # of the random number that ties an answer to its question
READY = b"ready"
"""First word of a child that has started and confined itself."""


class Malformed(Exception):
    """The other side did not keep to the protocol, or is gone."""


def send(stream: BinaryIO, *parts: bytes) -> None:
    """Writes each part behind its length. `stream` may be unbuffered."""
    for part in parts:
        _write(stream, LENGTH.pack(len(part)))
        _write(stream, part)


def receive(stream: BinaryIO, max_bytes: int) -> bytes | None:
    """One part; None where the stream ended between two.

    Raises:
        Malformed: the stream ended inside a part, or the part is announced as longer than `max_bytes`.
    """
    head = _read(stream, LENGTH.size)
    if not head:
        return None
    if len(head) < LENGTH.size:
        raise Malformed("the stream ended inside a length")
    (length,) = LENGTH.unpack(head)
    if length > max_bytes:
        raise Malformed(f"{length:,} bytes announced, {max_bytes:,} allowed")
    part = _read(stream, length)
    if len(part) < length:
        raise Malformed("the stream ended inside a part")
    return part


def _write(stream: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[stream.write(rest) :]


def _read(stream: BinaryIO, length: int) -> bytes:
    pieces: list[bytes] = []
    while length and (piece := stream.read(min(length, 1 << 20))):
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def encode_extraction(extraction: Extraction) -> bytes:
    """An answer that holds text; where that would be too long, an answer that says so."""
    elements = [[e.kind.value, e.text, e.level, e.page] for e in extraction.elements]
    body = {"title": extraction.title, "media_type": extraction.media_type, "elements": elements}
    answer = json.dumps(body, ensure_ascii=False).encode()
    if len(answer) > MAX_ANSWER_BYTES:
        return encode_refusal(DocumentRefused(RefusalReason.TOO_LARGE, "it holds more text than a document may"))
    return answer


def encode_refusal(refusal: DocumentRefused) -> bytes:
    return json.dumps({"refused": refusal.reason.value, "detail": refusal.detail[:MAX_DETAIL_CHARS]}).encode()


def decode(answer: bytes) -> Extraction:
    """What the child found.

    Raises:
        DocumentRefused: the child refused the document.
        Malformed: the answer is none.
    """
    try:
        body = json.loads(answer.decode())
        if "refused" in body:
            reason, detail = RefusalReason(body["refused"]), _text(body["detail"])
        else:
            elements = tuple(_element(*fields) for fields in body["elements"])
            return Extraction(_text(body["title"]), elements, _text(body["media_type"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Malformed(f"not an answer: {type(error).__name__}") from error
    raise DocumentRefused(reason, detail[:MAX_DETAIL_CHARS])


def _element(kind: object, text: object, level: object, page: object) -> Element:
    if not isinstance(level, int) or not isinstance(page, int | None):
        raise TypeError("level and page are numbers")
    return Element(ElementKind(_text(kind)), _text(text), level, page)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is a string")
    value.encode()  # a lone surrogate raises UnicodeEncodeError, which is a ValueError
    return value
