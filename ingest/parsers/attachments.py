"""Files inside files, within bounds. A name is data: nothing is ever written under it."""

from __future__ import annotations

from collections.abc import Iterator

from ingest.extraction import Attachment, clean
from ingest.parsers.damage import too_large

MAX_ATTACHMENTS = 1_000
MAX_ATTACHMENT_BYTES = 200_000_000
"""Of all attachments of one document together."""
MAX_NAME_CHARS = 200
UNNAMED = "attachment"


class Attachments:
    """Collects what a file holds.

    Raises:
        DocumentRefused: at the attachment that is one, or a byte, too many (IN-04).
    """

    def __init__(self) -> None:
        self._found: list[Attachment] = []
        self._bytes = 0

    @property
    def room(self) -> int:
        """Bytes that may still be added."""
        return MAX_ATTACHMENT_BYTES - self._bytes

    def add(self, name: str, data: bytes) -> None:
        """Empty files are left out."""
        if not data:
            return
        self._bytes += len(data)
        if len(self._found) >= MAX_ATTACHMENTS or self.room < 0:
            raise too_large(f"it holds more than {MAX_ATTACHMENTS:,} files or {MAX_ATTACHMENT_BYTES:,} bytes of them")
        self._found.append(Attachment(shown_name(name), data))

    def __iter__(self) -> Iterator[Attachment]:
        return iter(self._found)

    def as_tuple(self) -> tuple[Attachment, ...]:
        return tuple(self._found)


def shown_name(name: str) -> str:
    """The name on one line, without what disguises it, at most `MAX_NAME_CHARS` long; its end tells the kind."""
    return " ".join(clean(name).split())[-MAX_NAME_CHARS:] or UNNAMED
