"""Where the public keys of an issuer come from: a fixed set, or its JWKS address, asked sparingly."""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

import httpx

from rag.errors import Unavailable

log = logging.getLogger(__name__)

Jwk = Mapping[str, object]
"""One key as the issuer publishes it, not yet trusted to be usable."""

TIMEOUT_S = 5.0
COOL_DOWN_S = 30.0
MAX_AGE_S = 600.0
MAX_BYTES = 256_000
MAX_KEYS = 100


class KeySource(Protocol):
    def key(self, kid: str) -> Jwk | None:
        """The published key with this id; None if the issuer has none.

        Raises:
            Unavailable: nothing current is known, and the issuer does not answer.
        """


@dataclass(frozen=True, slots=True)
class StaticKeys:
    """Keys that are known beforehand, by id."""

    keys: Mapping[str, Jwk]

    def key(self, kid: str) -> Jwk | None:
        return self.keys.get(kid)


class HttpKeys:
    """Keys at a JWKS address.

    They are used for `MAX_AGE_S` at most, so a key that the issuer withdraws is refused after that time even if the
    issuer is then down (TV-11). An unknown id asks again, but at most once in `COOL_DOWN_S`, whatever is thrown at it
    (TV-10). Nothing is remembered about unknown ids. Redirects are refused (TV-07); a failed fetch keeps the keys.
    """

    def __init__(self, url: str, client: httpx.Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._client = client
        self._clock = clock
        self._lock = Lock()
        self._keys: Mapping[str, Jwk] = {}
        self._fetched_at = self._asked_at = float("-inf")

    @classmethod
    def at(cls, url: str) -> HttpKeys:
        """Keys at `url`, asked directly: no redirects, no proxies or credentials from the environment.

        Certificates are checked against this machine's own store, where a company's own authority stands.
        """
        trusted = ssl.create_default_context()
        return cls(url, httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, verify=trusted))

    def key(self, kid: str) -> Jwk | None:
        if kid not in self._keys or self._too_old():
            self._refresh()
        if self._too_old():
            raise Unavailable("the identity provider's keys cannot be fetched")
        return self._keys.get(kid)

    def published(self) -> Mapping[str, Jwk]:
        """The keys that the issuer publishes now, by id. Asks each time: for operators, not for callers.

        Raises:
            Unavailable: they cannot be had; the message says why.
        """
        try:
            return _by_id(self._fetch())
        except (httpx.HTTPError, ValueError, RecursionError) as error:
            raise Unavailable(f"keys of the identity provider at {self._url} cannot be fetched: {error}") from error

    def _too_old(self) -> bool:
        return self._clock() - self._fetched_at > MAX_AGE_S

    def _refresh(self) -> None:
        with self._lock:
            if self._clock() - self._asked_at < COOL_DOWN_S:
                return
            self._asked_at = self._clock()
            try:
                self._keys = self.published()
            except Unavailable as error:
                log.warning("%s", error)
                return
            self._fetched_at = self._clock()

    def _fetch(self) -> object:
        """The parsed JSON at the address.

        Raises:
            httpx.HTTPError: no answer in time.
            ValueError: an answer that is no JWKS, or is not complete in time.
        """
        with self._client.stream("GET", self._url, headers={"Accept": "application/json"}) as response:
            if response.status_code != httpx.codes.OK:
                raise ValueError(f"status {response.status_code}")
            body, until = bytearray(), self._clock() + TIMEOUT_S
            for piece in response.iter_bytes():
                body += piece
                if len(body) > MAX_BYTES:
                    raise ValueError(f"more than {MAX_BYTES} bytes")
                if self._clock() > until:
                    raise ValueError(f"not complete in {TIMEOUT_S} s")
        return json.loads(body)


def _by_id(document: object) -> Mapping[str, Jwk]:
    """The keys of a JWKS by id; entries without one are left out.

    Raises:
        ValueError: it is not a JWKS, or holds no key at all.
    """
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not keys or len(keys) > MAX_KEYS:
        raise ValueError("not a JWKS with 1 to 100 keys")
    return {each["kid"]: each for each in keys if isinstance(each, dict) and isinstance(each.get("kid"), str)}
