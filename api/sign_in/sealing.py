"""What is kept for a session can be read only by who brings its cookie: the key is made from the cookie each time.

So neither a copy of the catalog nor one of the whole home folder holds a token that anybody could use. A cookie is 256
random bits; HMAC-SHA256 with a name for each purpose makes independent values of it (NIST SP 800-108), so the row's id,
which is stored, says nothing about the key, which is not.
"""

from __future__ import annotations

import base64
import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rag.errors import NotAuthenticated

_NONCE_BYTES = 12


def new_secret() -> str:
    """256 random bits, fit for a cookie."""
    return secrets.token_urlsafe(32)


def derived(secret: str, purpose: str) -> bytes:
    """32 bytes that only who knows the secret can make; another purpose gives others."""
    return hmac.digest(secret.encode(), f"kustos {purpose}".encode(), "sha256")


def named(secret: str, purpose: str) -> str:
    """As `derived`, as 43 characters of base64url."""
    return base64.urlsafe_b64encode(derived(secret, purpose)).rstrip(b"=").decode()


def seal(secret: str, data: bytes) -> str:
    """`data`, encrypted and authenticated (AES-256-GCM)."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return base64.b64encode(nonce + AESGCM(derived(secret, "seal")).encrypt(nonce, data, None)).decode()


def unseal(secret: str, sealed: str) -> bytes:
    """What `seal` was given.

    Raises:
        NotAuthenticated: it was sealed with another secret, or changed since.
    """
    raw = base64.b64decode(sealed)
    try:
        return AESGCM(derived(secret, "seal")).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None)
    except (InvalidTag, ValueError) as error:
        raise NotAuthenticated("what is kept for this session was not sealed for it") from error
