"""What a child says is read back exactly, and whatever else it says is malformed: no other outcome, whatever the bytes."""

from __future__ import annotations

import io
import json
import math
import struct
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.extraction import Attachment, Element, ElementKind, Extraction, clean, is_clean
from ingest.parsers.kinds import FileKind
from ingest.parsers.wire import (
    LENGTH,
    MAX_ATTACHMENTS,
    MAX_ELEMENTS,
    MAX_HEAD_BYTES,
    MAX_LEVEL,
    MAX_PAGE,
    RECORD,
    Malformed,
    NeedsProgram,
    encode_extraction,
    encode_refusal,
    receive_extraction,
    receive_image,
    send,
)
from rag.documents import Box
from rag.errors import DocumentRefused, RefusalReason


def stream(*parts: bytes) -> io.BytesIO:
    buffer = io.BytesIO()
    send(buffer, *parts)
    buffer.seek(0)
    return buffer


def received(*parts: bytes) -> Extraction:
    return receive_extraction(stream(*parts))


def whole(**changes: object) -> Extraction:
    return Extraction(**({"title": "", "elements": (), "media_type": "text/plain"} | changes))  # type: ignore[arg-type]


# What goes in comes out -----------------------------------------------------------------------------------------------

shares = st.floats(0, 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50).filter(is_clean)
boxes = st.builds(
    lambda x, y: Box(min(x), min(y), max(x), max(y)), st.tuples(shares, shares), st.tuples(shares, shares)
)
elements = st.builds(
    Element,
    st.sampled_from(ElementKind),
    texts,
    st.integers(0, MAX_LEVEL),
    st.none() | st.integers(1, MAX_PAGE),
    st.none() | boxes,
    st.none() | shares,
)
moments = st.none() | st.datetimes(timezones=st.just(UTC))
extractions = st.builds(
    Extraction,
    texts,
    st.lists(elements, max_size=5).map(tuple),
    st.sampled_from([str(kind) for kind in FileKind]),
    texts,
    moments,
    moments,
    st.lists(st.builds(Attachment, texts, st.binary(max_size=50)), max_size=3).map(tuple),
)


@given(extractions)
def test_an_extraction_arrives_as_it_was_sent(extraction: Extraction) -> None:
    assert received(*encode_extraction(extraction)) == extraction


NAMES = ("../../etc/cron.d/x", "C:\\x", "a\0b", ".", "CON", "x" * 5_000, "\u202egpj.exe")


@pytest.mark.parametrize("name", NAMES)
def test_in_01_in_02_the_name_of_a_file_inside_is_data(name: str) -> None:
    found = received(*encode_extraction(whole(attachments=(Attachment(name, b"content"),))))
    assert found.attachments == (Attachment(name[:2000], b"content"),)


@pytest.mark.parametrize(
    ("moment", "arrives"),
    [
        (datetime(2024, 5, 1, 12), datetime(2024, 5, 1, 12, tzinfo=UTC)),
        (datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=2))), datetime(2024, 5, 1, 10, tzinfo=UTC)),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2))), None),
    ],
    ids=["without a zone", "in another zone", "before all time"],
)
def test_moments_arrive_in_utc(moment: datetime, arrives: datetime | None) -> None:
    assert received(*encode_extraction(whole(created_at=moment))).created_at == arrives


@pytest.mark.parametrize(
    "too_much",
    [
        {"elements": (Element(ElementKind.PARAGRAPH, "x" * 100_000),) * 1_001},
        {"elements": (Element(ElementKind.PARAGRAPH, "x"),) * (MAX_ELEMENTS + 1)},
        {"attachments": (Attachment("a", b""),) * (MAX_ATTACHMENTS + 1)},
        {"attachments": (Attachment("a", bytes(1_000_000)),) * 301},
    ],
    ids=["text", "elements", "files", "bytes of files"],
)
def test_in_04_what_is_too_much_for_an_answer_is_refused_as_too_large(too_much: dict[str, object]) -> None:
    with pytest.raises(DocumentRefused) as refusal:
        received(*encode_extraction(whole(**too_much)))
    assert refusal.value.reason is RefusalReason.TOO_LARGE


@pytest.mark.parametrize("reason", RefusalReason)
def test_a_refusal_arrives_with_its_reason(reason: RefusalReason) -> None:
    for receiver in (receive_extraction, receive_image):
        with pytest.raises(DocumentRefused) as refusal:
            receiver(stream(*encode_refusal(DocumentRefused(reason, "why " * 1000))))
        assert (refusal.value.reason, refusal.value.detail) == (reason, ("why " * 1000)[:300])


def test_levels_and_pages_that_no_document_has_are_sent_as_the_last_ones() -> None:
    sent = whole(elements=(Element(ElementKind.HEADING, "x", 10**6, 10**12),))
    assert received(*encode_extraction(sent)).elements == (Element(ElementKind.HEADING, "x", MAX_LEVEL, MAX_PAGE),)


def test_what_the_operator_is_told_is_on_one_line_and_moves_no_cursor() -> None:
    told = "left\nout: \x1b[2J\0"
    assert received(*encode_extraction(whole(notices=(told,)))).notices == ("left out:  [2J ",)
    with pytest.raises(DocumentRefused) as refusal:
        received(*encode_refusal(DocumentRefused(RefusalReason.DAMAGED, told)))
    assert refusal.value.detail == "left out:  [2J "


@given(st.text(max_size=30))
def test_a_cleaned_text_is_clean(text: str) -> None:
    assert is_clean(clean(text))


def test_a_refusal_names_the_program_that_would_help() -> None:
    with pytest.raises(NeedsProgram, match="install it") as refusal:
        received(*encode_refusal(NeedsProgram("soffice", "install it")))
    assert refusal.value.program == "soffice"


# Nothing else is believed -----------------------------------------------------------------------------------------------

HEAD = json.loads(encode_extraction(whole())[0])
NAN = float("nan")


def head(**changes: object) -> bytes:
    return json.dumps(HEAD | changes).encode()


def record(
    *place: float, kind: int = 2, level: int = 0, present: int = 3, page: int = 1, text: bytes = b"x", length: int = 1
) -> bytes:
    return RECORD.pack(kind, level, present, page, *(place or (0, 0, 1, 1, 0.5)), length) + text


def test_the_cases_below_differ_from_an_answer_in_one_thing_each() -> None:
    assert received(head(), record()).elements == (Element(ElementKind.PARAGRAPH, "x", 0, 1, Box(0, 0, 1, 1), 0.5),)


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93",
        b"null",
        b"[]",
        b"7",
        b'{"title": "x"}',
        b"[" * 50_000,
        b'{"refused": "because", "detail": "", "needs": ""}',
        b'{"refused": "damaged", "detail": 7, "needs": ""}',
        b'{"refused": "damaged", "detail": ""}',
        b'{"refused": ["damaged"], "detail": "", "needs": ""}',
        head(title="\ud800"),
        head(title=None),
        head(title="x" * 3_000),
        head(author=["x"]),
        head(media_type=1),
        head(media_type=""),
        head(media_type="text/x-nobody"),
        head(media_type="text/plain" * 200),
        head(title="a\0b"),
        head(title="a\x1b[2Jb"),
        head(title="a\u202eb"),
        head(author="a\x07b"),
        head(author="a\r\nb"),
        head(created_at="yesterday"),
        head(created_at="2024-05-01T12:00:00"),
        head(created_at=1e400),
        head(modified_at="0001-01-01T00:00:00+23:59"),
        head(attachments=-1),
        head(attachments=True),
        head(attachments=1.0),
        head(attachments="1"),
        head(attachments=1 << 40),
        head(attachments=1),
        head() + b" " * MAX_HEAD_BYTES,
    ],
    ids=lambda part: part[:60].decode(errors="replace"),
)
def test_a_head_of_the_wrong_form_is_malformed(part: bytes) -> None:
    with pytest.raises(Malformed):
        received(part, b"")


@pytest.mark.parametrize(
    "part",
    [
        record()[:-1],
        record()[:5],
        record() + b"\0",
        record(kind=len(ElementKind)),
        record(present=4),
        record(text=b"\xff"),
        record(text=b"\xed\xa0\x80", length=3),
        record(length=2),
        record(length=0xFFFFFFFF),
        record(level=MAX_LEVEL + 1),
        record(page=MAX_PAGE + 1),
        *(
            record(text=text.encode(), length=len(text.encode()))
            for text in ("\0", "\x1b", "\r", "\x85", "\u202e", "\ufeff")
        ),
        record(0, 0, 1, 1, 1.5),
        record(0, 0, 1, 1, NAN),
        record(0, 0, NAN, 1, 0.5),
        record(0, 0, 1.1, 1, 0.5),
        record(-0.1, 0, 1, 1, 0.5),
        record(0.6, 0, 0.5, 1, 0.5),
        record(0, 0.6, 1, 0.5, 0.5),
        record(0, 0, math.inf, 1, 0.5),
    ],
    ids=str,
)
def test_records_of_the_wrong_form_are_malformed(part: bytes) -> None:
    with pytest.raises(Malformed):
        received(head(), part)


def test_more_records_than_an_answer_may_hold_are_malformed() -> None:
    with pytest.raises(Malformed):
        received(head(), record(text=b"", length=0) * (MAX_ELEMENTS + 1))


def test_files_that_are_together_too_large_are_not_taken_in() -> None:
    parts = stream(head(attachments=2), b"", b"a", bytes(1_000_000), b"b")
    parts.seek(0, io.SEEK_END)
    parts.write(LENGTH.pack(299_500_000))
    parts.seek(0)
    with pytest.raises(Malformed, match="299,500,000 bytes announced, 299,000,000 allowed"):
        receive_extraction(parts)


@given(st.binary(max_size=300))
def test_any_bytes_are_an_answer_or_malformed(noise: bytes) -> None:
    for receiver in (receive_extraction, receive_image):
        with pytest.raises((Malformed, DocumentRefused)):
            receiver(io.BytesIO(noise))


@given(extractions, st.data())
def test_an_answer_cut_or_changed_anywhere_is_an_answer_or_malformed(
    extraction: Extraction, data: st.DataObject
) -> None:
    answer = bytearray(stream(*encode_extraction(extraction)).getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        answer[data.draw(st.integers(0, len(answer) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(answer)))
    try:
        found = receive_extraction(io.BytesIO(answer[:end]))
    except (Malformed, DocumentRefused):
        return
    for element in found.elements:
        element.text.encode()
        assert element.confidence is None or 0 <= element.confidence <= 1


@given(st.binary(max_size=400))
def test_any_records_are_elements_or_malformed(noise: bytes) -> None:
    try:
        found = received(head(), noise)
    except Malformed:
        return
    assert sum(len(element.text.encode()) for element in found.elements) == len(noise) - RECORD.size * len(
        found.elements
    )


def test_a_record_is_packed_without_gaps() -> None:
    assert RECORD.size == struct.calcsize(">BBBIdddddI") == 51
