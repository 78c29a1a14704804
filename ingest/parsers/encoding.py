"""Bytes of unknown encoding to text."""

from __future__ import annotations

import codecs
import re
import unicodedata

from charset_normalizer import from_bytes

BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark starts with the same two bytes
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
ESCAPES = (
    (b"\x1b$B", "iso2022_jp_ext"),
    (b"\x1b$@", "iso2022_jp_ext"),
    (b"\x1b(J", "iso2022_jp_ext"),
    (b"\x1b$)C", "iso2022_kr"),
)
SAMPLE_BYTES = 65_536
WESTERN = re.compile("[äöüßÄÖÜéèêáàâçñóíúôîåæøÉÈÀÇÅÆØ€§°²³µ«»„“”‚‘’–—…·×½ ©®]")
MAC_LETTERS = frozenset("äöüßÄÖÜéèêàâçùîñó„“”‚‘’–—…€§°«»")
MAX_SHARE_IN_WESTERN = 0.4  # of bytes beyond ASCII; other scripts have more
MIN_UTF16_BYTES = 32
BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
MAX_CONTROL_SHARE = 0.01


def decode(data: bytes) -> str | None:
    """`data` as text; None where it is no text. Bytes that the encoding found does not know become U+FFFD."""
    sample = data[:SAMPLE_BYTES]
    encoding = _marked(data) or _escaped(data) or _unmarked_utf16(sample)
    if encoding is None and is_binary(sample):
        encoding = _utf16_without_latin(sample)
        if encoding is None:
            return None
    if encoding is None:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            encoding = _eight_bit(sample)
    return data.decode(encoding, errors="replace")


def is_binary(sample: bytes) -> bool:
    """Whether control characters say that this is no 8-bit text."""
    return b"\0" in sample or len(CONTROL.findall(sample)) > MAX_CONTROL_SHARE * len(sample)


def _marked(data: bytes) -> str | None:
    return next((encoding for mark, encoding in BOMS if data.startswith(mark)), None)


def _escaped(data: bytes) -> str | None:
    """Encodings in seven bits, which announce by an escape what their letters stand for (ISO 2022)."""
    return next((each for mark, each in ESCAPES if mark in data[:SAMPLE_BYTES] and _is_sound(data, each)), None)


def _is_sound(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _unmarked_utf16(sample: bytes) -> str | None:
    """UTF-16 without a byte-order mark shows zeros in every second byte and none in the others."""
    even, odd = sample[0::2], sample[1::2]
    if len(odd) < 4:
        return None
    if 0 not in even and odd.count(0) > 0.7 * len(odd):
        return "utf-16-le"
    return "utf-16-be" if 0 not in odd and even.count(0) > 0.7 * len(even) else None


def _utf16_without_latin(sample: bytes) -> str | None:
    """UTF-16 without a mark in other scripts: all of it is letters, digits, punctuation and blanks. Noise never is."""
    if len(sample) < MIN_UTF16_BYTES:
        return None
    return next((each for each in ("utf-16-le", "utf-16-be") if _reads_as(sample[: len(sample) // 2 * 2], each)), None)


def _reads_as(sample: bytes, encoding: str) -> bool:
    try:
        text = sample.decode(encoding)
    except UnicodeDecodeError:
        return False
    return all(each.isalnum() or each in "\r\n\t" or unicodedata.category(each)[0] in "PZSM" for each in text)


def _eight_bit(sample: bytes) -> str:
    """One of Western Europe where that makes Western text, which statistics on short texts miss; else theirs."""
    beyond = _beyond_ascii(sample, "cp1252")
    if _is_western(beyond):
        return "cp1252"
    if "¤" in beyond and _is_western(_beyond_ascii(sample, "iso8859-15")):
        return "iso8859-15"  # where the euro sign took the place of that one
    mac = _beyond_ascii(sample, "mac_roman")
    if len(mac) < MAX_SHARE_IN_WESTERN * len(sample) and all(each in MAC_LETTERS for each in mac):
        return "mac_roman"
    guess = from_bytes(sample).best()
    return guess.encoding if guess else "cp1252"


def _beyond_ascii(sample: bytes, encoding: str) -> list[str]:
    return BEYOND_ASCII.findall(sample.decode(encoding, errors="replace"))


def _is_western(beyond: list[str]) -> bool:
    return len(WESTERN.findall("".join(beyond))) >= 0.8 * len(beyond)
