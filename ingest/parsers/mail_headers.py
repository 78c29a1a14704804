"""Headers of mail, within bounds: the standard library takes them apart in time that grows with their length squared.

RFC 5322 allows lines of 998 characters, but a header may go on over any number of them, and 300 kB of `a@b, ` or of
parameters keep `email` busy for a minute. Mails to a thousand people have 50 kB of addresses; those are read, but as
plain text, of which the mail program's names and addresses are a part anyway.
"""

from __future__ import annotations

from email.message import EmailMessage, Message
from email.policy import EmailPolicy, Policy
from typing import Any, cast

MAX_HEADER_CHARS = 64_000
MAX_TAKEN_APART_CHARS = 8_000
MAX_MIME_HEADER_CHARS = 2_000
"""Of `Content-Type` and its like: a type, a boundary, the name of a file. They are asked for again and again."""


class _BoundedPolicy(EmailPolicy):
    """`email.policy.default` that cuts headers off, and takes only short ones apart."""

    def header_fetch_parse(self, name: str, value: str) -> Any:
        if hasattr(value, "name"):
            return value
        if name.lower().startswith("content-"):
            return super().header_fetch_parse(name, value[:MAX_MIME_HEADER_CHARS])
        kind = name if len(value) <= MAX_TAKEN_APART_CHARS else "Subject"  # which has no structure
        return super().header_fetch_parse(kind, value[:MAX_HEADER_CHARS])


BOUNDED = cast("Policy[EmailMessage]", _BoundedPolicy())


def cut_headers(message: Message) -> tuple[str, ...]:
    """Which headers of a message are cut off, for the operator; empty where none is."""
    long = [name for name, value in message.raw_items() if len(value) > MAX_HEADER_CHARS]
    return (f"headers cut off after {MAX_HEADER_CHARS:,} characters: {', '.join(long[:5])}",) if long else ()
