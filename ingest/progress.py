"""What a sync tells while it runs, for progress bars."""

from __future__ import annotations

from typing import Protocol


class SyncProgress(Protocol):
    def listed(self, items: int) -> None:
        """So many items have to be read."""

    def read(self, name: str) -> None:
        """One item was read, refused or put off."""

    def chunked(self, chunks: int) -> None:
        """So many further chunks wait to be embedded or recognised as known."""

    def embedded(self, chunks: int) -> None:
        """So many chunks were embedded."""


class Silent:
    """Tells nobody."""

    def listed(self, items: int) -> None:
        return

    def read(self, name: str) -> None:
        return

    def chunked(self, chunks: int) -> None:
        return

    def embedded(self, chunks: int) -> None:
        return
