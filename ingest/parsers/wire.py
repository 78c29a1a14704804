"""What parent and child say to each other.

A question is one message on a local socket: a number, what is wanted, and the document as an open file. An answer is
that number, said when the child begins, and parts behind their lengths: a head in JSON, the elements as packed records,
the files inside. Never pickle.

A child may have been taken over by the document it reads, so nothing it says is believed beyond its form. Every length
is bounded before anything is read, records hold numbers of known ranges and text as `clean` leaves it, and packed
records rather than JSON keep an answer from growing as it is unpacked.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import BinaryIO, TypeGuard

from ingest.extraction import Attachment, Element, ElementKind, Extraction, is_clean, on_one_line
from ingest.parsers.confinement import Measures
from ingest.parsers.kinds import FileKind
from rag.documents import Box
from rag.errors import DocumentRefused, RefusalReason

LENGTH = struct.Struct(">Q")
QUESTION = struct.Struct(">16sIIHH")  # number, page, width, boxes, length of the name
BOX = struct.Struct(">dddd")
RECORD = struct.Struct(">BBBIdddddI")  # kind, level, what is present, page, box, confidence, length of the text
HAS_BOX, HAS_CONFIDENCE = 1, 2
KINDS = tuple(ElementKind)

NUMBER_BYTES = 16  # of the random number that ties an answer to its question
MAX_HEAD_BYTES = 64_000
MAX_ELEMENTS_BYTES = 100_000_000
MAX_ELEMENTS = 500_000
MAX_LEVEL = 10  # of a heading; a chunk carries the headings above it
MAX_PAGE = (1 << 31) - 1  # what the catalog can hold
MAX_IMAGE_BYTES = 32_000_000
MAX_ATTACHMENTS = 1_000
MAX_ATTACHED_BYTES = 300_000_000
MAX_NAME_BYTES = 2_000
MAX_MARKED = 100
MAX_QUESTION_BYTES = QUESTION.size + MAX_MARKED * BOX.size + MAX_NAME_BYTES
MAX_DETAIL_CHARS = 300
MAX_NOTICES = 20
MAX_LINE_CHARS = 2_000


class Malformed(Exception):
    """The other side did not keep to the protocol, or is gone."""


class NeedsProgram(DocumentRefused):
    """Only a child that may start `program` can read this document; the pool asks one, where there is the program."""

    def __init__(self, program: str, detail: str) -> None:
        super().__init__(RefusalReason.UNSUPPORTED, detail)
        self.program = program

    def __reduce__(self) -> tuple[type[NeedsProgram], tuple[str, str]]:  # type: ignore[override]
        return NeedsProgram, (self.program, self.detail)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked about a document: its content, or with a `page` from 1 the image of that page.

    Attributes:
        name: of the file, for formats whose content does not tell enough.
        width: of the image, in pixels.
        marked: places on that page to highlight.
    """

    name: str = ""
    page: int = 0
    width: int = 0
    marked: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    number: bytes
    wanted: Wanted
    data: bytes


# Questions ------------------------------------------------------------------------------------------------------------


def ask(to: socket.socket, number: bytes, wanted: Wanted, document: int) -> None:
    """Sends a question; `document` is an open file, read from its beginning."""
    name = wanted.name.encode(errors="replace")[-MAX_NAME_BYTES:]
    marked = wanted.marked[:MAX_MARKED]
    head = QUESTION.pack(number, wanted.page, wanted.width, len(marked), len(name))
    boxes = b"".join(BOX.pack(box.left, box.top, box.right, box.bottom) for box in marked)
    socket.send_fds(to, [head + boxes + name], [document])


def take(questions: socket.socket) -> Question | None:
    """The next question; None where the other side is gone.

    Raises:
        Malformed: it is none.
    """
    message, documents, _, _ = socket.recv_fds(questions, MAX_QUESTION_BYTES, 1)
    if not message:
        return None
    if len(message) < QUESTION.size or len(documents) != 1:
        raise Malformed("not a question")
    number, page, width, marked, length = QUESTION.unpack_from(message)
    rest = _exactly(message[QUESTION.size :], marked * BOX.size + length)
    boxes = tuple(Box(*BOX.unpack_from(rest, at * BOX.size)) for at in range(marked))
    wanted = Wanted(rest[marked * BOX.size :].decode(errors="replace"), page, width, boxes)
    with open(documents[0], "rb", buffering=0) as document:
        document.seek(0)
        return Question(number, wanted, document.readall())


# Parts ----------------------------------------------------------------------------------------------------------------


def send(stream: BinaryIO, *parts: bytes) -> None:
    """Writes each part behind its length. `stream` may be unbuffered."""
    for part in parts:
        _write(stream, LENGTH.pack(len(part)))
        _write(stream, part)


def receive(stream: BinaryIO, max_bytes: int) -> bytes:
    """One part.

    Raises:
        Malformed: the stream ended before or inside it, or it is announced as longer than `max_bytes`.
    """
    (length,) = LENGTH.unpack(_exactly(_read(stream, LENGTH.size), LENGTH.size))
    if length > max_bytes:
        raise Malformed(f"{length:,} bytes announced, {max_bytes:,} allowed")
    return _exactly(_read(stream, length), length)


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


def _exactly(part: bytes, length: int) -> bytes:
    if len(part) < length:
        raise Malformed("the stream ended inside a part")
    return part


# Ready ----------------------------------------------------------------------------------------------------------------


def encode_ready(measures: Measures) -> bytes:
    """First word of a child that has started and confined itself."""
    return json.dumps(asdict(measures)).encode()


def decode_ready(word: bytes) -> Measures:
    """What holds the child, which has seen no document yet.

    Raises:
        Malformed: it is no such word.
    """
    with _Checked():
        body = json.loads(word)
        if not isinstance(body, dict) or not all(isinstance(value, bool) for value in body.values()):
            raise TypeError("measures hold or do not")
        return Measures(**body)


# Answers --------------------------------------------------------------------------------------------------------------


def encode_extraction(extraction: Extraction) -> list[bytes]:
    """Parts of an answer that holds content; where that would be too much, of one that says so."""
    elements = b"".join(_record(each) for each in extraction.elements)
    files = extraction.attachments
    if len(elements) > MAX_ELEMENTS_BYTES or len(extraction.elements) > MAX_ELEMENTS:
        return encode_refusal(DocumentRefused(RefusalReason.TOO_LARGE, "it holds more text than a document may"))
    if len(files) > MAX_ATTACHMENTS or sum(len(each.data) for each in files) > MAX_ATTACHED_BYTES:
        return encode_refusal(
            DocumentRefused(RefusalReason.TOO_LARGE, "the files inside are more than a document may hold")
        )
    head = {
        "title": extraction.title[:MAX_LINE_CHARS],
        "media_type": extraction.media_type,
        "author": extraction.author[:MAX_LINE_CHARS],
        "created_at": _utc(extraction.created_at),
        "modified_at": _utc(extraction.modified_at),
        "notices": [each[:MAX_LINE_CHARS] for each in extraction.notices[:MAX_NOTICES]],
        "attachments": len(files),
    }
    parts = [json.dumps(head).encode(), elements]
    for each in files:
        parts += [each.name.encode(errors="replace")[:MAX_NAME_BYTES], each.data]
    return parts


def encode_refusal(refusal: DocumentRefused) -> list[bytes]:
    """Parts of an answer that says why there is nothing."""
    needs = refusal.program if isinstance(refusal, NeedsProgram) else ""
    detail = refusal.detail[:MAX_DETAIL_CHARS]
    return [json.dumps({"refused": refusal.reason.value, "detail": detail, "needs": needs}).encode()]


def receive_extraction(answers: BinaryIO) -> Extraction:
    """What the child found in the document.

    Raises:
        DocumentRefused: the child refused it.
        NeedsProgram: it refused because it may not start a program.
        Malformed: the answer is none.
    """
    head = _head(receive(answers, MAX_HEAD_BYTES))
    elements = tuple(_elements(receive(answers, MAX_ELEMENTS_BYTES)))
    with _Checked():
        return Extraction(
            _clean_line(head["title"]),
            elements,
            FileKind(_line(head["media_type"])).value,
            author=_clean_line(head["author"]),
            created_at=_moment(head["created_at"]),
            modified_at=_moment(head["modified_at"]),
            notices=_notices(head["notices"]),
            attachments=tuple(_attachments(answers, head["attachments"])),
        )


def receive_image(answers: BinaryIO) -> bytes:
    """The image of a page, of whatever content the child gave it.

    Raises:
        DocumentRefused: the child refused the document.
        Malformed: the answer is none.
    """
    _head(receive(answers, MAX_HEAD_BYTES))
    return receive(answers, MAX_IMAGE_BYTES)


class _Checked:
    """Whatever goes wrong in believing an answer makes it malformed."""

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, ValueError | TypeError | KeyError | RecursionError | OverflowError | struct.error):
            raise Malformed(f"not an answer: {type(error).__name__}") from error


def _head(part: bytes) -> dict[str, object]:
    with _Checked():
        head = json.loads(part)
        if not isinstance(head, dict):
            raise TypeError("a head is an object")
        if "refused" not in head:
            return head
        reason, needs = RefusalReason(head["refused"]), _line(head["needs"])
        detail = on_one_line(_line(head["detail"]))
    raise (
        NeedsProgram(needs, detail[:MAX_DETAIL_CHARS]) if needs else DocumentRefused(reason, detail[:MAX_DETAIL_CHARS])
    )


def _record(element: Element) -> bytes:
    text = element.text.encode(errors="replace")
    box = element.box or Box(0.0, 0.0, 0.0, 0.0)
    present = HAS_BOX * (element.box is not None) | HAS_CONFIDENCE * (element.confidence is not None)
    level, page = min(max(element.level, 0), MAX_LEVEL), min(max(element.page or 0, 0), MAX_PAGE)
    place = (box.left, box.top, box.right, box.bottom, element.confidence or 0.0, len(text))
    return RECORD.pack(KINDS.index(element.kind), level, present, page, *place) + text


def _elements(part: bytes) -> Iterator[Element]:
    at, count = 0, 0
    with _Checked():
        while at < len(part):
            *fields, length = RECORD.unpack_from(part, at)
            at += RECORD.size
            text = _exactly(part[at : at + length], length).decode()
            at, count = at + length, count + 1
            if count > MAX_ELEMENTS:
                raise ValueError("too many elements")
            yield _element(text, *fields)


def _element(text: str, kind: int, level: int, present: int, page: int, *place: float) -> Element:
    *edges, confidence = place
    if present > (HAS_BOX | HAS_CONFIDENCE) or kind >= len(KINDS):
        raise ValueError("unknown kind or flag")
    if level > MAX_LEVEL or page > MAX_PAGE or not is_clean(text):
        raise ValueError("a level, a page or a character that no document has")
    return Element(
        KINDS[kind],
        text,
        level,
        page or None,
        _box(*edges) if present & HAS_BOX else None,
        _share(confidence) if present & HAS_CONFIDENCE else None,
    )


def _box(left: float, top: float, right: float, bottom: float) -> Box:
    if not (left <= right and top <= bottom):
        raise ValueError("a box ends where it begins, or after")
    return Box(_share(left), _share(top), _share(right), _share(bottom))


def _share(value: float) -> float:
    if not 0.0 <= value <= 1.0:  # nan is neither
        raise ValueError("a share is between 0 and 1")
    return value


def _notices(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_NOTICES:
        raise TypeError("notices are a short list")
    return tuple(on_one_line(_line(each)) for each in value)


def _attachments(answers: BinaryIO, count: object) -> Iterator[Attachment]:
    if not _is_count(count) or count > MAX_ATTACHMENTS:
        raise ValueError("too many files, or not a number of them")
    room = MAX_ATTACHED_BYTES
    for _ in range(count):
        name = receive(answers, MAX_NAME_BYTES).decode(errors="replace")
        data = receive(answers, room)
        room -= len(data)
        yield Attachment(name, data)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _line(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_LINE_CHARS:
        raise TypeError("a line is a string of bounded length")
    value.encode()  # a lone surrogate raises UnicodeEncodeError, which is a ValueError
    return value


def _clean_line(value: object) -> str:
    line = _line(value)
    if not is_clean(line):
        raise ValueError("a line holds what no reader sees")
    return line


def _utc(moment: datetime | None) -> str | None:
    """A moment without a zone is taken for one in UTC; one that UTC cannot express for none."""
    if moment is None:
        return None
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except (OverflowError, ValueError):
        return None


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    moment = datetime.fromisoformat(_line(value))
    if moment.tzinfo is None:
        raise ValueError("a moment is in UTC")
    return moment.astimezone(UTC)
