"""A tiny embedding model in the format that the bundled one is packed in: same code path, made in milliseconds."""

from __future__ import annotations

import hashlib
import struct
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag.models.bundled import Source
from rag.models.registry import BUNDLED, EmbeddingModel

HIDDEN, LAYERS, HEADS, FEED_FORWARD, POSITIONS, TYPES = 64, 2, 4, 96, 48, 2
WORDS = ["query", "passage", "vertrag", "gebühr", "the", "contract", "lager", "halle"]
PIECES = [
    *("<s>", "<pad>", "</s>", "<unk>"),
    *(f"▁{word}" for word in WORDS),
    *("▁", *"abcdefghijklmnopqrstuvwxyzäöüß0123456789:.,?!</>"),
    "<mask>",
]
VOCABULARY = len(PIECES) + 3
MEMBER = "tiny/weights.bin"
MODEL = EmbeddingModel(
    name="tiny",
    runtime=BUNDLED.runtime,
    model="tiny",
    dimension=HIDDEN,
    max_tokens=POSITIONS,
    query_prefix="query: ",
    document_prefix="passage: ",
    languages=frozenset({"de", "en"}),
    licence="none",
    fetch="make tiny",
)

Floats = NDArray[np.float32]


def weight_file(seed: int = 7) -> bytes:
    """A complete weight file with random weights."""
    tensors = _tensors(np.random.default_rng(seed))
    head = b"E5S1" + struct.pack("<I7i", 1, HIDDEN, LAYERS, HEADS, FEED_FORWARD, VOCABULARY, POSITIONS, TYPES)
    head += struct.pack("<fi", 1e-12, 32) + _tokenizer() + struct.pack("<iI", 1, 9) + bytes(9)
    start = len(head) + 4 + sum(23 + len(name) for name in tensors)
    directory, body = struct.pack("<i", len(tensors)), b""
    for name, (kind, count, data) in tensors.items():
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, count, start + len(body), len(data))
        body += data
    return head + directory + body


def wheel(path: Path, data: bytes | None = None, member: str = MEMBER) -> Source:
    """Writes a wheel with `data` (default: a good weight file) at `path`; the source describes a good one."""
    good = weight_file()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, good if data is None else data)
    return Source(MEMBER, len(good), hashlib.sha256(good).hexdigest())


def _tokenizer() -> bytes:
    texts = [piece.encode() for piece in PIECES]
    offsets = np.cumsum([0, *map(len, texts)]).astype("<u4")
    scores = np.array([-3.0 - 0.1 * at if at >= 4 else 0.0 for at in range(len(PIECES))], "<f4")
    blob = b"".join(texts)
    return struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, len(blob)) + offsets.tobytes() + scores.tobytes() + blob


def _tensors(random: np.random.Generator) -> dict[str, tuple[int, int, bytes]]:
    def vector(name: str, count: int, around: float = 0.0) -> None:
        values = (around + 0.1 * random.standard_normal(count)).astype("<f4")
        tensors[name] = (0, count, values.tobytes())

    def matrix(name: str, rows: int, columns: int) -> None:
        blocks = rows * columns // 32
        scales = (0.02 + 0.02 * random.random((blocks, 1))).astype("<f2").view(np.uint8)
        weights = random.integers(0, 256, (blocks, 16), np.uint8)
        tensors[name] = (1, rows * columns, np.concatenate((scales, weights), axis=1).tobytes())

    tensors: dict[str, tuple[int, int, bytes]] = {}
    matrix("emb.word", VOCABULARY, HIDDEN)
    for name, count in (("pos", POSITIONS * HIDDEN), ("type", TYPES * HIDDEN), ("ln.b", HIDDEN)):
        vector(f"emb.{name}", count)
    vector("emb.ln.w", HIDDEN, 1.0)
    for layer in range(LAYERS):
        for part in ("q", "k", "v", "ao"):
            matrix(f"l{layer}.{part}.w", HIDDEN, HIDDEN)
            vector(f"l{layer}.{part}.b", HIDDEN)
        matrix(f"l{layer}.fi.w", FEED_FORWARD, HIDDEN)
        vector(f"l{layer}.fi.b", FEED_FORWARD)
        matrix(f"l{layer}.fo.w", HIDDEN, FEED_FORWARD)
        vector(f"l{layer}.fo.b", HIDDEN)
        for norm in ("aln", "oln"):
            vector(f"l{layer}.{norm}.w", HIDDEN, 1.0)
            vector(f"l{layer}.{norm}.b", HIDDEN)
    return tensors
