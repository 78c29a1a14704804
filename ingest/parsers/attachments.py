"""Files inside files, within bounds. A name is data: nothing is ever written under it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ingest.extraction import Attachment, clean
from ingest.parsers.damage import damage
from rag.errors import DocumentRefused

MAX_ATTACHMENTS = 1_000
MAX_ATTACHMENT_BYTES = 200_000_000
"""Of all attachments of one document together."""
MAX_NAME_CHARS = 200
MAX_NAMED_IN_NOTICE = 5
UNNAMED = "attachment"


class Attachments:
    """Collects what a file holds. What is too much, or cannot be read, is left out and named; it costs nothing else."""

    def __init__(self) -> None:
        self._found: list[Attachment] = []
        self._left: list[tuple[str, str]] = []
        self._refusal: DocumentRefused | None = None
        self._bytes = 0

    @property
    def room(self) -> int:
        """Bytes that may still be added."""
        return MAX_ATTACHMENT_BYTES - self._bytes

    def add(self, name: str, data: bytes) -> None:
        """Empty files are left out without a word, those that are one, or a byte, too many with one (IN-04)."""
        if not data:
            return
        if reason := self._unfit(len(data)):
            self.leave_out(name, reason)
            return
        self._bytes += len(data)
        self._found.append(Attachment(shown_name(name), data))

    def take(self, name: str, read: Callable[[], bytes], declared_bytes: int = 0) -> None:
        """Reads and adds one file unless there is no room for what it declares to be."""
        if reason := self._unfit(declared_bytes):
            self.leave_out(name, reason)
            return
        try:
            with damage("a file inside"):
                data = read()
        except DocumentRefused as refusal:
            self._refusal = self._refusal or refusal
            self.leave_out(name, refusal.reason.value)
        else:
            self.add(name, data)

    def leave_out(self, name: str, reason: str) -> None:
        self._left.append((shown_name(name), reason))

    def _unfit(self, size: int) -> str:
        if len(self._found) >= MAX_ATTACHMENTS:
            return f"more than {MAX_ATTACHMENTS:,} files are in one"
        return "" if size <= self.room else f"with it there are more than {MAX_ATTACHMENT_BYTES:,} bytes of files"

    def refuse_if_none_is_left(self) -> None:
        """For a file that is nothing but what is inside it.

        Raises:
            DocumentRefused: for the reason for which the first of them could not be read, if no other could.
        """
        if self._refusal and not self._found:
            raise self._refusal

    def listed(self) -> Iterator[str]:
        """Names of what was found, then of what was left out, with why."""
        yield from (each.name for each in self._found)
        yield from (_left_out(*each) for each in self._left)

    def notices(self) -> tuple[str, ...]:
        """What was left out, for the operator; empty where nothing was."""
        if not self._left:
            return ()
        some = ", ".join(f"{name} ({reason})" for name, reason in self._left[:MAX_NAMED_IN_NOTICE])
        files = "1 file" if len(self._left) == 1 else f"{len(self._left):,} files"
        return (f"{files} inside left out: {some}{', …' if len(self._left) > MAX_NAMED_IN_NOTICE else ''}",)

    def __iter__(self) -> Iterator[Attachment]:
        return iter(self._found)

    def as_tuple(self) -> tuple[Attachment, ...]:
        return tuple(self._found)


def _left_out(name: str, reason: str) -> str:
    return f"{name} (left out: {reason})"


def shown_name(name: str) -> str:
    """The name on one line, without what disguises it, at most `MAX_NAME_CHARS` long; its end tells the kind."""
    return " ".join(clean(name).split())[-MAX_NAME_CHARS:] or UNNAMED
