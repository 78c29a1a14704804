"""Whether time tells of hidden documents (SC-05): the same request about what is hidden and about what is not there.

    .venv/bin/python -m tests.security.timing [--requests 1000]

Requests of both kinds take turns, in random order, against a service with a thousand hidden documents. Their times are compared
by the rank sum test of Mann and Whitney (1947). The exit status is 1 where it finds a difference (p < 0.01) whose median is above
the jitter: a tenth of the difference between the quartiles of one kind.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from rag.stores.edge import EdgeIndex
from tests.fakes import WordEmbedder
from tests.library import open_library
from tests.security.test_hidden_documents import ANN, NEVER, hidden, readable

SIGNIFICANT = 0.01
JITTER = 0.1
WARM_UP = 20

Times = NDArray[np.float64]
Send = Callable[[TestClient], object]


@dataclass(frozen=True)
class Verdict:
    """Median times in milliseconds, and how likely such a difference is by chance alone."""

    hidden_ms: float
    absent_ms: float
    p: float
    jitter_ms: float

    @property
    def tells(self) -> bool:
        return self.p < SIGNIFICANT and abs(self.hidden_ms - self.absent_ms) > self.jitter_ms


def compared(one: Times, other: Times) -> Verdict:
    """Both kinds of requests by their times in milliseconds."""
    low, high = np.percentile(other, (25, 75))
    return Verdict(float(np.median(one)), float(np.median(other)), rank_sum_p(one, other), JITTER * float(high - low))


def rank_sum_p(one: Times, other: Times) -> float:
    """Two-sided p of the Mann-Whitney test, by its normal approximation; right for more than twenty times of each."""
    values, both = np.concatenate([one, other]), len(one) + len(other)
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    u = ranks[: len(one)].sum() - len(one) * (len(one) + 1) / 2
    tied = float((counts**3 - counts).sum()) / (both * (both - 1))
    spread = math.sqrt(len(one) * len(other) / 12 * (both + 1 - tied))
    return math.erfc(abs(u - len(one) * len(other) / 2) / spread / math.sqrt(2)) if spread else 1.0


def pairs() -> Mapping[str, tuple[Send, Send]]:
    """Requests about something hidden, and the same about something that is not there."""
    there = hidden(1, 1)[0].id

    def read(path: str) -> tuple[Send, Send]:
        return tuple(lambda client, each=each: client.get(path.format(each), headers=ANN) for each in (there, NEVER))  # type: ignore[return-value]

    def search(body: Callable[[str], dict[str, object]], here: str, nowhere: str) -> tuple[Send, Send]:
        return tuple(
            lambda client, each=each: client.post("/v1/search", json=body(each), headers=ANN)
            for each in (here, nowhere)
        )  # type: ignore[return-value]

    return {
        "a document": read("/v1/documents/{}"),
        "a passage": read("/v1/documents/{}/passages/1"),
        "a page": read("/v1/documents/{}/pages/1"),
        "a search within it": search(lambda each: {"query": "hotel", "narrow": {"document": [each]}}, there, NEVER),
        "a search for its word": search(lambda each: {"query": f"the {each}"}, "zeppelin", "zebrafin"),
    }


def measured(client: TestClient, one: Send, other: Send, requests: int) -> Verdict:
    """Times of both, asked `requests` times each in random order."""
    order = [one, other] * (WARM_UP + requests)
    random.SystemRandom().shuffle(order)
    times: dict[Send, list[float]] = {one: [], other: []}
    for send in order:
        started = time.perf_counter()
        send(client)
        times[send].append(1_000 * (time.perf_counter() - started))
    return compared(*(np.asarray(times[each][WARM_UP:]) for each in (one, other)))


def main(arguments: list[str]) -> int:
    """Measures and prints; exit status."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--requests", type=int, default=1_000)
    requests = options.parse_args(arguments).requests
    told = 0
    with tempfile.TemporaryDirectory(prefix="kustos-timing-") as home:
        index = EdgeIndex.open(Path(home) / "index", WordEmbedder.profile)
        library = open_library(Path(home) / "home", *readable(), *hidden(0, 1_000), real_index=index)
        client = TestClient(library.app(), base_url="http://127.0.0.1")
        for name, (one, other) in pairs().items():
            found = measured(client, one, other, requests)
            told += found.tells
            print(
                f"{name:<22} hidden {found.hidden_ms:6.2f} ms, absent {found.absent_ms:6.2f} ms, p {found.p:.3f}, "
                f"jitter {found.jitter_ms:.2f} ms{': TELLS' if found.tells else ''}",
                flush=True,
            )
        library.kustos.close()
        index.close()
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
