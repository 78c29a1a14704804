"""Where the public keys of an issuer come from: a fixed set, or its JWKS address, asked sparingly."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

import httpx

from api.tokens.published import client, read_json
from rag.errors import Unavailable

log = logging.getLogger(__name__)

Jwk = Mapping[str, object]
"""One key as the issuer publishes it, not yet trusted to be usable."""

COOL_DOWN_S = 30.0
MAX_AGE_S = 600.0
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
        """Keys at `url`, asked directly."""
        return cls(url, client())

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
            return _by_id(read_json(self._client, self._url, self._clock))
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


def _by_id(document: object) -> Mapping[str, Jwk]:
    """The keys of a JWKS by id; entries without one are left out.

    Raises:
        ValueError: it is not a JWKS, or holds no key at all.
    """
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not keys or len(keys) > MAX_KEYS:
        raise ValueError("not a JWKS with 1 to 100 keys")
    return {each["kid"]: each for each in keys if isinstance(each, dict) and isinstance(each.get("kid"), str)}
