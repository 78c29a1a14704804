"""The embedder that the settings name, through whichever runtime carries it."""

from __future__ import annotations

from rag.models.embedding import FastembedEmbedder
from rag.models.ollama import OllamaEmbedder
from rag.models.registry import Runtime, embedding_model, fetched_into
from rag.ports import Embedder
from rag.settings import Settings


def open_embedder(settings: Settings) -> Embedder:
    """The embedder behind the setting `embedder`; weights are read at the first text.

    Raises:
        Misconfigured: the registry has no such model.
        ModelUnavailable: it is not here; the message has the command that fetches it.
    """
    model = fetched_into(embedding_model(settings.embedder), settings.models_dir)
    if model.runtime is Runtime.OLLAMA:
        return OllamaEmbedder(model, settings.ollama_url)
    return FastembedEmbedder(model, settings.models_dir / model.model)
