"""Files that are nearly right: seeds with damage in their bytes, or inside of a part of the package that they are."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from random import Random

TOKENS = (
    *(b"", b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"-1", b"0", b"1e999", b"99999999999999999999"),
    *(b"<", b">", b"/>", b'"', b"&#0;", b"&x;", b"]]>", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"<a><a><a>"),
    *(
        b"../",
        b"\r\n\r\n",
        b"=?utf-8?b?",
        b"%s%n",
        b"\xe2\x80\xae",
        b"\xed\xa0\x80",
        b"{{{{",
        b"[[[[",
        b"\\'",
        b"\\bin9",
    ),
    *(b" obj", b"endobj", b"stream\n", b"/Length 4294967296", b"/Kids [1 0 R]", b"/Filter [/FlateDecode /FlateDecode]"),
)


def mutated(seed: bytes, random: Random) -> bytes:
    """The seed with one to eight faults; a package mostly with faults inside one of its parts."""
    if seed.startswith(b"PK\x03\x04") and random.random() < 0.8:
        return _with_damaged_part(seed, random)
    return _damaged(seed, random)


def _damaged(data: bytes, random: Random) -> bytes:
    found = bytearray(data)
    for _ in range(random.randint(1, 8)):
        random.choice(FAULTS)(found, random)
    return bytes(found)


def _with_damaged_part(package: bytes, random: Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(package)) as old:
        parts = {each: old.read(each) for each in old.namelist()}
    damaged = random.choice(sorted(parts))
    return zipped({name: _damaged(part, random) if name == damaged else part for name, part in parts.items()})


def zipped(parts: Mapping[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name, part in parts.items():
            new.writestr(name, part)
    return target.getvalue()


def _place(data: bytearray, random: Random) -> int:
    return random.randint(0, max(len(data) - 1, 0))


def _flip(data: bytearray, random: Random) -> None:
    if data:
        data[_place(data, random)] ^= 1 << random.randrange(8)


def _insert(data: bytearray, random: Random) -> None:
    at = _place(data, random)
    data[at:at] = random.choice(TOKENS)


def _overwrite(data: bytearray, random: Random) -> None:
    at, token = _place(data, random), random.choice(TOKENS)
    data[at : at + len(token)] = token


def _cut(data: bytearray, random: Random) -> None:
    at = _place(data, random)
    del data[at : at + random.choice((1, 2, 16, 256, len(data)))]


def _repeat(data: bytearray, random: Random) -> None:
    at = _place(data, random)
    data[at:at] = data[at : at + random.choice((1, 8, 64, 1024))] * random.choice((1, 2, 50))


def _swap(data: bytearray, random: Random) -> None:
    first, second, size = _place(data, random), _place(data, random), random.choice((1, 4, 32))
    data[first : first + size], data[second : second + size] = data[second : second + size], data[first : first + size]


FAULTS: tuple[Callable[[bytearray, Random], None], ...] = (_flip, _insert, _overwrite, _cut, _repeat, _swap)
