"""An embedder that stands before another one, for those that change a part of what it does."""

from __future__ import annotations

from collections.abc import Sequence

from rag.documents import IndexProfile
from rag.ports import Embedder, OnProgress, Vectors


class PassingOn:
    """An embedder (`rag.ports.Embedder`) that leaves everything to the one behind it."""

    def __init__(self, embedder: Embedder) -> None:
        self._behind = embedder

    @property
    def profile(self) -> IndexProfile:
        return self._behind.profile

    @property
    def max_tokens(self) -> int:
        return self._behind.max_tokens

    def count_tokens(self, text: str) -> int:
        return self._behind.count_tokens(text)

    def embed_documents(self, texts: Sequence[str], on_progress: OnProgress | None = None) -> Vectors:
        """float32[n, dim]."""
        return self._behind.embed_documents(texts, on_progress)

    def embed_question(self, text: str) -> Vectors:
        """float32[dim]."""
        return self._behind.embed_question(text)
