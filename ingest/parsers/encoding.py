"""Bytes of unknown encoding to text."""

from __future__ import annotations

import codecs
import re

from charset_normalizer import from_bytes

BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark starts with the same two bytes
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SAMPLE_BYTES = 65_536
WESTERN = re.compile("[äöüßÄÖÜéèêáàâçñóíúôîåæøÉÈÀÇÅÆØ€§°²³µ«»„“”‚‘’–—…·×½ ©®]")
BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
MAX_CONTROL_SHARE = 0.01


def decode(data: bytes) -> str | None:
    """`data` as text; None where it is no text. Bytes that the encoding found does not know become U+FFFD."""
    encoding = _marked(data) or _unmarked_utf16(data[:SAMPLE_BYTES])
    if encoding is None and is_binary(data[:SAMPLE_BYTES]):
        return None
    if encoding is None:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            encoding = _eight_bit(data[:SAMPLE_BYTES])
    return data.decode(encoding, errors="replace")


def is_binary(sample: bytes) -> bool:
    """Whether control characters say that this is no 8-bit text."""
    return b"\0" in sample or len(CONTROL.findall(sample)) > MAX_CONTROL_SHARE * len(sample)


def _marked(data: bytes) -> str | None:
    return next((encoding for mark, encoding in BOMS if data.startswith(mark)), None)


def _unmarked_utf16(sample: bytes) -> str | None:
    """UTF-16 without a byte-order mark shows zeros in every second byte and none in the others."""
    even, odd = sample[0::2], sample[1::2]
    if len(odd) < 4:
        return None
    if 0 not in even and odd.count(0) > 0.7 * len(odd):
        return "utf-16-le"
    return "utf-16-be" if 0 not in odd and even.count(0) > 0.7 * len(even) else None


def _eight_bit(sample: bytes) -> str:
    """cp1252 where that makes Western text, which statistics on short texts miss; else what the statistics say."""
    beyond = BEYOND_ASCII.findall(sample.decode("cp1252", errors="replace"))
    if len(WESTERN.findall("".join(beyond))) >= 0.8 * len(beyond):
        return "cp1252"
    guess = from_bytes(sample).best()
    return guess.encoding if guess else "cp1252"
