"""The seam between the sandbox and whatever reads a format."""

from __future__ import annotations

from typing import Protocol

from ingest.extraction import Extraction


class Parser(Protocol):
    """Reads one format. Content that cannot be read leaves as DocumentRefused."""

    def parse(self, data: bytes, name: str) -> Extraction:
        """What `data` holds; `name` is the file's name, for formats whose content does not tell enough.

        Raises:
            DocumentRefused: with the reason an operator can act on.
        """
