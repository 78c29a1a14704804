"""How often a caller may ask, and what he is told about it (RFC 9110, 10.2.3; draft-ietf-httpapi-ratelimit-headers-11).

Requests are counted by the verified subject and by the key, never by what a request says of itself (SA-06), in the
catalog, so that replicas count together. The catalog is needed to decide anyway: without it the answer is 503, limited
or not (DESIGN 2.5).

Failures are counted by address, in the memory of each process, because writing them down would be work that an outsider
can order. An address may be a proxy that everybody comes through, so the count shuts nobody out: it only turns the
refusals that are over it into a 429, without the log line and the audit record of a 401. Who has a valid token passes.

A token that was signed for a person but that the provider no longer accepts is not his any more: what it took from his
bucket is given back, and after a few refusals a minute the provider is not asked about it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock

from rag.errors import BadInput, TooManyRequests
from rag.ports import Bucket, Level, Limits

WINDOW_S = 60
REFUSALS_OF_A_TOKEN = 10
"""So often a minute the provider is asked about a token that it refuses."""
MOST_NAMES = 10_000


class OverLimit(TooManyRequests):
    """Somebody has asked too often. `headers` tell what is left of the limit that says so."""

    def __init__(self, level: Level) -> None:
        super().__init__(_sentence(level), level.next_s)
        self.headers = _headers((level,))


class RequestLimits:
    """The limits of people and keys. A size of 0 is no limit."""

    def __init__(self, limits: Limits, per_subject: int, per_key: int) -> None:
        self._limits = limits
        self._per_subject = per_subject
        self._per_key = per_key

    def take(
        self, subject: str, key_id: str | None = None, *, apart: bool = False, further: int = 0
    ) -> Mapping[str, str]:
        """Counts a request; returns the headers that tell what is left.

        Args:
            apart: it is for what no key opens. Whoever has got hold of keys cannot use that up, and so cannot keep
                their owner from taking them back.
            further: the request is counted already, and does the work of so many others.

        Raises:
            BadInput: it is more than the limits ever allow at once.
            OverLimit: too little is left.
            StoreUnavailable: the catalog does not answer.
        """
        wanted = [self._of_subject(subject, apart)]
        if key_id is not None:
            wanted.insert(0, Bucket(f"key:{key_id}", self._per_key))
        buckets = [each for each in wanted if each.size]
        if not buckets:
            return {}
        if further + 1 > (most := min(each.size for each in buckets)):
            raise BadInput(
                f"this counts as {further + 1} requests, and {most} a minute are allowed; ask for less at a time"
            )
        taken = self._limits.take(buckets, further or 1)
        if taken.refused is not None:
            raise OverLimit(taken.refused)
        return _headers(taken.levels)

    def give_back(self, subject: str, *, apart: bool = False) -> None:
        """Undoes that a request was counted, which turned out not to be this subject's.

        Raises:
            StoreUnavailable: as above.
        """
        if self._per_subject:
            self._limits.give_back(self._of_subject(subject, apart))

    def _of_subject(self, subject: str, apart: bool) -> Bucket:
        return Bucket(f"{'keyless' if apart else 'subject'}:{subject}", self._per_subject)


class _Counts:
    """Buckets in memory, as those of `rag.stores.catalog_limits`; the least used are dropped beyond `MOST_NAMES`."""

    def __init__(self, size: int, clock: Callable[[], float]) -> None:
        self._step_s = WINDOW_S / size
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._lock = Lock()

    def over_s(self, name: str, *, count: bool) -> float:
        """Seconds until there is room for one more, 0 where there is; `count` takes that room."""
        with self._lock:
            now = self._clock()
            ahead = max(self._full_at.get(name, now), now) + self._step_s - now
            if count and ahead <= WINDOW_S:
                self._full_at[name] = now + ahead
                self._full_at.move_to_end(name)
            if len(self._full_at) > MOST_NAMES:
                self._full_at.popitem(last=False)
        return max(0.0, ahead - WINDOW_S)


class Failures:
    """How many requests without a valid token or key came from which address within the last minute or so."""

    def __init__(self, per_address: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._counts = _Counts(per_address, clock) if per_address else None

    def count(self, address: str) -> None:
        """Counts one failure.

        Raises:
            TooManyRequests: there were too many from this address.
        """
        over_s = self._counts.over_s(_network(address), count=True) if self._counts else 0.0
        if over_s:
            raise TooManyRequests("Too many requests without a valid token or API key came from this address.", over_s)


class Refusals:
    """How often the provider refused which token within the last minute or so."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._counts = _Counts(REFUSALS_OF_A_TOKEN, clock)

    def check(self, token: str) -> None:
        """Whether the provider may be asked about the token.

        Raises:
            TooManyRequests: it has refused it too often.
        """
        if over_s := self._counts.over_s(_hash(token), count=False):
            raise TooManyRequests("The identity provider does not accept this token.", over_s)

    def count(self, token: str) -> None:
        """Counts a refusal."""
        self._counts.over_s(_hash(token), count=True)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _network(address: str) -> str:
    """What one guest of a network can choose freely within: an IPv6 address stands for its /64."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    mapped = parsed.ipv4_mapped
    return str(mapped or ipaddress.ip_network((parsed, 64), strict=False))


def _headers(levels: tuple[Level, ...]) -> Mapping[str, str]:
    named = [(each.bucket.name.partition(":")[0], each) for each in levels]
    return {
        "RateLimit-Policy": ", ".join(f'"{name}";q={each.bucket.size};w={WINDOW_S}' for name, each in named),
        "RateLimit": ", ".join(f'"{name}";r={each.tokens};t={round(each.full_s)}' for name, each in named),
    }


def _sentence(level: Level) -> str:
    kind, _, _ = level.bucket.name.partition(":")
    whose = "This API key" if kind == "key" else "This account"
    return f"{whose} may send {level.bucket.size} requests a minute. Try again after the seconds in Retry-After."
