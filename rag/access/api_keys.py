"""API keys: how they are written, what is kept of them, and what they are for. No I/O but the system's randomness.

    kustos_<id, 12>_<secret, 43><checksum, 6>        letters and digits, 256 bits of secret

The id finds the row; the checksum (CRC-32 of all before it) lets a scanner for leaked secrets, or a person who missed a
character, know without asking anybody. Kept is a sha256 of the whole key, nothing else. A slow hash (argon2, scrypt)
protects secrets that can be guessed; 256 random bits cannot, and a slow hash would cost each request tens of
milliseconds, and an attacker's requests too (OWASP ASVS 5.0, 11.4.2 asks for slow ones of passwords).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from rag.errors import BadInput, NotAuthenticated

PREFIX = "kustos_"
ID_CHARS, SECRET_CHARS, CHECKSUM_CHARS = 12, 43, 6
MOST_KEYS = 20
"""Valid keys of one subject. Who needs more has lost sight of them."""
NO_DIGEST = "0" * 64
"""Compared with where there is no such key, so that this takes as long as a wrong one."""
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_FORM = re.compile(rf"kustos_([0-9A-Za-z]{{{ID_CHARS}}})_[0-9A-Za-z]{{{SECRET_CHARS + CHECKSUM_CHARS}}}")
_ANY = re.compile(r"(kustos_[0-9A-Za-z]{1,12})_[0-9A-Za-z]+")


class KeyScope(StrEnum):
    """What a key may be used for; the rights and duties of its subject bound each of them."""

    QUERY = "query"  # ask, search, read
    PUSH = "push"  # have a known source brought up to date
    EVALUATE = "evaluate"  # measure retrieval


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. `text` is shown to its owner once and kept nowhere."""

    id: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What the catalog keeps of a key. Times are in UTC."""

    id: str
    tenant: str
    subject: str
    name: str
    scopes: frozenset[KeyScope]
    digest: str
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and now < self.expires_at


def check_room(valid: int) -> None:
    """Whether somebody with so many valid keys may have another one.

    Raises:
        BadInput: he may not.
    """
    if valid >= MOST_KEYS:
        raise BadInput(f"there are {MOST_KEYS} valid keys of this account, as many as may be; revoke one")


def mint() -> NewKey:
    """A new key."""
    identifier = _written(secrets.randbits(71), ID_CHARS)
    body = f"{PREFIX}{identifier}_{_written(secrets.randbits(256), SECRET_CHARS)}"
    return NewKey(identifier, body + _checksum(body))


def id_of(key: str) -> str:
    """The id in a key that is written as a key is.

    Raises:
        NotAuthenticated: it is not, or its checksum is wrong.
    """
    found = _FORM.fullmatch(key)
    if found is None or _checksum(key[:-CHECKSUM_CHARS]) != key[-CHECKSUM_CHARS:]:
        raise NotAuthenticated("this is not an API key: its form or its checksum is wrong")
    return found[1]


def digest(key: str) -> str:
    """sha256 hex of the whole key: what is kept of it."""
    return hashlib.sha256(key.encode()).hexdigest()


def is_digest_of(kept: str, key: str) -> bool:
    """Whether `kept` was made from `key`; takes the same time whatever the answer."""
    return hmac.compare_digest(kept, digest(key))


def redacted(text: str) -> str:
    """`text` with every key in it cut down to its id."""
    return _ANY.sub(r"\1_...", text)


def _checksum(body: str) -> str:
    return _written(zlib.crc32(body.encode()), CHECKSUM_CHARS)


def _written(number: int, chars: int) -> str:
    """`number` in `chars` digits of base 62, which hold it."""
    digits = []
    for _ in range(chars):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
