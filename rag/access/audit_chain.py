"""The chain of audit records: each is sealed with the one before it, so that none can change, go or come unseen.

    mac(n) = HMAC-SHA256(key, mac(n - 1) + "\\n" + all other fields of record n as one JSON array)

Records of a tenant are numbered from 1 without a gap. The key is not in the database, so who can write there and
nowhere else can make no record that fits. The head, the last number with its mac, is noted outside as well (`Mark`):
cutting off the end leaves a chain that fits in itself, but not with that note.

People stand in the chain as pseudonyms, a new one each day: HMAC over name, day and a random salt. Name and salt are
kept beside the chain. Once they are erased the pseudonym is nobody's, even for who has the key, and the chain still
fits; as long as they are there, a name cannot be exchanged for another.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

GENESIS = "0" * 64
DAY_MS = 86_400_000
MAX_FAULTS = 100
"""So many are named; of more there is the number."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a chain: a record's number and mac; number 0 is before the first."""

    number: int = 0
    mac: str = GENESIS

    def __str__(self) -> str:
        return f"{self.number}:{self.mac}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as it is kept. Every field but `mac` is under the seal, in this order.

    Attributes:
        person, concerning: pseudonyms, or a name of ours that begins with `sys:`.
        principals_hash, question_hash, text_hash: keyed, so that nobody without the key can try what fits.
        released: JSON array of [document, version, chunk ids].
        grants: JSON array of ids.
        detail: JSON object.
    """

    tenant: str
    number: int
    at_ms: int
    person: str
    action: str
    outcome: str
    about: str | None
    concerning: str | None
    principals_hash: str | None
    question_hash: str | None
    text_hash: str | None
    released: str
    stale_index: int
    model: str | None
    grants: str
    detail: str
    request_id: str
    mac: str = ""


SEALED = tuple(name for name in Entry.__slots__ if name != "mac")


class Seal:
    """Makes macs and pseudonyms with one secret. Each use has a key of its own, so that none answers for another."""

    def __init__(self, secret: bytes) -> None:
        self._chain, self._people, self._content, self._cut = (
            hmac.digest(secret, use, "sha256") for use in (b"chain", b"people", b"content", b"cut")
        )
        self.key_id = hmac.digest(secret, b"id", "sha256").hex()[:16]

    def mac(self, previous: str, values: Sequence[object]) -> str:
        """The mac of a record, given that of the one before and its fields in the order of `SEALED`."""
        text = json.dumps(values, ensure_ascii=True, separators=(",", ":"), default=repr)
        return hmac.digest(self._chain, f"{previous}\n{text}".encode(), "sha256").hex()

    def person(self, tenant: str, day: int, subject: str, salt: str) -> str:
        """The pseudonym of somebody on one day."""
        return self._digest(self._people, tenant, str(day), subject, salt)[:24]

    def content(self, *parts: str) -> str:
        """Hash of something whose content is not kept, comparable within this chain only."""
        return self._digest(self._content, *parts)

    def cut(self, tenant: str, mark: Mark) -> str:
        """Proof that records up to `mark` were removed by who has the key."""
        return self._digest(self._cut, tenant, str(mark))

    @staticmethod
    def _digest(key: bytes, *parts: str) -> str:
        return hmac.digest(key, "\0".join(parts).encode("utf-8", "surrogatepass"), "sha256").hex()


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that does not fit, at the first record that it concerns."""

    number: int
    what: str


@dataclass(slots=True)
class Verdict:
    """What verifying a chain came to."""

    records: int = 0
    begins_after: int = 0
    head: Mark = field(default_factory=Mark)
    faults: list[Fault] = field(default_factory=list)
    faults_in_all: int = 0

    @property
    def intact(self) -> bool:
        return not self.faults_in_all

    def add(self, number: int, what: str) -> None:
        self.faults_in_all += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(number, what))


def verify(seal: Seal, entries: Iterable[Sequence[object]], begin: Mark, noted: Sequence[Mark]) -> Verdict:
    """Checks a chain from behind `begin` to its end.

    Args:
        entries: fields of `Entry` in its order, `mac` last, by ascending number.
        noted: marks that were noted outside the database, the head among them.
    """
    verdict = Verdict(begins_after=begin.number, head=begin)
    expected = {mark.number: mark.mac for mark in noted if mark.number > begin.number}
    for values in entries:
        number, mac = values[1], str(values[-1])
        if not isinstance(number, int) or number <= verdict.head.number:
            verdict.add(
                begin.number, f"record {number!r} is not where records are; up to {begin.number} all are removed"
            )
            continue
        if number > verdict.head.number + 1:
            verdict.add(verdict.head.number + 1, _missing(verdict.head.number + 1, number - 1))
        elif not hmac.compare_digest(mac.encode(), seal.mac(verdict.head.mac, values[:-1]).encode()):
            verdict.add(number, f"record {number} was changed, or is not of this chain")
        if expected.pop(number, mac) != mac:
            verdict.add(number, f"record {number} is not the one that was noted outside the database")
        verdict.head = Mark(number, mac)
        verdict.records += 1
    if last := max((each for each in expected if each > verdict.head.number), default=0):
        verdict.add(verdict.head.number + 1, f"{_missing(verdict.head.number + 1, last)} at the end")
    return verdict


def _missing(first: int, last: int) -> str:
    return f"record {first} is missing" if first == last else f"records {first} to {last} are missing"
