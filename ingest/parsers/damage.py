"""How failures of the libraries below a parser become refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rag.errors import DocumentRefused, RefusalReason

OUT_OF_MEMORY = "unknown error"  # all that lxml says when libxml2 could not allocate


@contextmanager
def damage(what: str) -> Iterator[None]:
    """Readers of foreign formats fail on bad input in more ways than they document: each means a damaged file.

    Raises:
        DocumentRefused: whatever was raised inside, unless it was a refusal already or lack of memory.
    """
    try:
        yield
    except (MemoryError, DocumentRefused):
        raise
    except Exception as error:
        if str(error) == OUT_OF_MEMORY:
            raise MemoryError from error
        raise damaged(f"{what} cannot be read: {type(error).__name__}") from error


def damaged(detail: str) -> DocumentRefused:
    return DocumentRefused(RefusalReason.DAMAGED, detail)


def encrypted(detail: str) -> DocumentRefused:
    return DocumentRefused(RefusalReason.ENCRYPTED, detail)


def too_large(detail: str) -> DocumentRefused:
    return DocumentRefused(RefusalReason.TOO_LARGE, detail)


def unsupported(detail: str) -> DocumentRefused:
    return DocumentRefused(RefusalReason.UNSUPPORTED, detail)
