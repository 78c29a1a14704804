"""Reads what an identity provider publishes for everybody: JSON at an address, whole and within bounds, or nothing."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable

import httpx

TIMEOUT_S = 5.0
MAX_BYTES = 256_000


def client() -> httpx.Client:
    """Asks directly: no redirects, no proxies or credentials from the environment.

    Certificates are checked against this machine's own store, where a company's own authority stands.
    """
    trusted = ssl.create_default_context()
    return httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, verify=trusted)


def read_json(http: httpx.Client, url: str, clock: Callable[[], float] = time.monotonic) -> object:
    """The parsed JSON at the address.

    Raises:
        httpx.HTTPError: no answer in time.
        ValueError, RecursionError: an answer that cannot be read, or is not complete in time.
    """
    with http.stream("GET", url, headers={"Accept": "application/json"}) as response:
        if response.status_code != httpx.codes.OK:
            raise ValueError(f"status {response.status_code}")
        body, until = bytearray(), clock() + TIMEOUT_S
        for piece in response.iter_bytes():
            body += piece
            if len(body) > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES} bytes")
            if clock() > until:
                raise ValueError(f"not complete in {TIMEOUT_S} s")
    return json.loads(body)
