"""What of the registry is on this machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rag.models.ollama import OllamaModels
from rag.models.registry import EMBEDDING_MODELS, Capability, Present, embedding_model, fetched_into, served_models
from rag.settings import Settings

LATER = frozenset({Capability.VISION, Capability.RERANK, Capability.TRANSCRIBE})
"""Named and chosen, so that clients and disks can be prepared; nothing uses them yet."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One model: under which name, what carries it, whether it is here, and the command that fetches it."""

    name: str
    kind: str
    runtime: str
    model: str
    available: bool
    chosen: bool
    languages: str
    licence: str
    fetch: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def inventory(settings: Settings) -> list[Listed]:
    """Every model of the registry: embedding models first, then the public names that clients use."""
    present = Present(folders(settings), OllamaModels(settings.ollama_url).names())
    embedders = [
        Listed(
            each.name,
            "embedding",
            each.runtime.value,
            each.model,
            each.available(present),
            each.name == settings.embedder,
            _languages(each.languages),
            each.licence,
            fetched_into(each, settings.models_dir).fetch,
        )
        for each in EMBEDDING_MODELS
    ]
    served = [
        Listed(
            each.name,
            ", ".join(_kind(one) for one in sorted(each.capabilities)),
            each.runtime.value,
            each.model,
            each.available(present),
            True,
            _languages(each.languages),
            each.licence,
            fetched_into(each, settings.models_dir).fetch,
        )
        for each in served_models(embedding_model(settings.embedder), settings.chat_model)
    ]
    return embedders + served


def folders(settings: Settings) -> frozenset[str]:
    """Names of the model folders that are there; whether they are whole is checked when they are opened."""
    if not settings.models_dir.is_dir():
        return frozenset()
    return frozenset(each.name for each in settings.models_dir.iterdir() if (each / "tokenizer.json").is_file())


def _kind(capability: Capability) -> str:
    return f"{capability} (later)" if capability in LATER else capability.value


def _languages(codes: frozenset[str]) -> str:
    return ", ".join(sorted(codes)) if len(codes) <= 4 else f"{len(codes)} languages"
