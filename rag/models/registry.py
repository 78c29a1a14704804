"""Which name means which model. The only place that maps the names clients and settings use to what runs.

Pure data and pure functions: what is on this machine comes in as `Present`.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from rag.errors import Misconfigured

MODELS_DIR = ".kustos-models"
"""The default of the setting `models_dir`, which the commands below name; `fetched_into` names another."""
MAKE_SETUP = "make setup"


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


ENGLISH = frozenset({"en"})
E5_LANGUAGES = _codes(
    "af am ar as az be bg bn br bs ca cs cy da de el en eo es et eu fa fi fr fy ga gd gl gu ha he hi hr hu hy id is "
    "it ja jv ka kk km kn ko ku ky la lo lt lv mg mk ml mn mr ms my ne nl no om or pa pl ps pt ro ru sa sd si sk sl "
    "so sq sr su sv sw ta te th tl tr ug uk ur uz vi xh yi zh"
)
"""The languages on the model card of multilingual-e5-small."""
NOMIC_V2_LANGUAGES = _codes(
    "af am ar az ba be bg bn bs ca ce co cs cy da de dv el en eo es et eu fa fi fr fy ga gd gl gn gu gv ha he hi hr "
    "ht hu hy id ig it ja jv ka km kn ko ku ky la lo lt lv mg mi mk ml mn mr ms my nl nn no ny pa pl ps pt ro ru sd "
    "si sk sl sm sn so sq st su sv sw ta te tg th tl tn tr ug uk ur uz vi xh yi yo zh zu"
)
"""The languages on the model card of nomic-embed-text-v2-moe."""
QWEN3_LANGUAGES = _codes("ar cs da de el en es fi fr he hi hu id it ja ko ms nl no pl pt ro ru sv th tr uk vi zh")
"""Some of the 119 languages that Qwen3 names: those that a company is likely to ask in."""


class Runtime(StrEnum):
    """What carries a model out."""

    FASTEMBED = "fastembed"
    OLLAMA = "ollama"
    FASTER_WHISPER = "faster-whisper"


class Capability(StrEnum):
    """What a public name can be asked to do."""

    CHAT = "chat"
    REASONING = "reasoning"
    VISION = "vision"
    EMBED = "embed"
    RERANK = "rerank"
    TRANSCRIBE = "transcribe"


@dataclass(frozen=True, slots=True)
class Present:
    """What this machine has: model folders by name, and the models that Ollama lists (None: it does not answer)."""

    folders: frozenset[str]
    ollama: frozenset[str] | None

    def has(self, runtime: Runtime, model: str) -> bool:
        if runtime is Runtime.OLLAMA:
            return self.ollama is not None and full_name(model) in {full_name(each) for each in self.ollama}
        return model in self.folders


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """An embedding model as the setting `embedder` names it.

    Attributes:
        model: name of its folder in the models folder, or Ollama's name for it.
        dimension: numbers in a vector.
        max_tokens: tokens of one text, prefix included, beyond which the model cuts.
        query_prefix, document_prefix: what the model was trained to see in front of a text.
        languages: ISO 639-1 codes.
        fetch: the command that brings it here.
        file: the weights inside the folder.
    """

    name: str
    runtime: Runtime
    model: str
    dimension: int
    max_tokens: int
    query_prefix: str
    document_prefix: str
    languages: frozenset[str]
    licence: str
    fetch: str
    file: str = "model.onnx"

    def covers(self, language: str) -> bool:
        """Whether vectors of texts in `language` mean anything. If not, the lexical leg must decide alone."""
        return language in self.languages

    def available(self, present: Present) -> bool:
        return present.has(self.runtime, self.model)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A public name and what stands behind it.

    Attributes:
        model: the runtime's name for it.
        languages: ISO 639-1 codes that it is good at; empty where nobody says.
        context_tokens: what fits into one request; 0 where nobody says.
        fetch: the command that brings it here.
    """

    name: str
    capabilities: frozenset[Capability]
    runtime: Runtime
    model: str
    languages: frozenset[str]
    context_tokens: int
    licence: str
    fetch: str

    def available(self, present: Present) -> bool:
        return present.has(self.runtime, self.model)


_Model = TypeVar("_Model", EmbeddingModel, ServedModel)


def full_name(model: str) -> str:
    """Ollama's name with its tag: `nomic-embed-text` is `nomic-embed-text:latest`."""
    return model if ":" in model.rsplit("/", 1)[-1] else f"{model}:latest"


def _pull(model: str) -> str:
    return f"ollama pull {model}"


def _download(repository: str, folder: str) -> str:
    return f"hf download {repository} --local-dir {MODELS_DIR}/{folder}"


_TOKENIZER_FILES = "tokenizer.json tokenizer_config.json special_tokens_map.json config.json"


def _nomic(name: str, runtime: Runtime, model: str, fetch: str) -> EmbeddingModel:
    multilingual = "v2" in model
    return EmbeddingModel(
        name=name,
        runtime=runtime,
        model=model,
        dimension=768,
        max_tokens=512 if multilingual else 2048,
        query_prefix="search_query: ",
        document_prefix="search_document: ",
        languages=NOMIC_V2_LANGUAGES if multilingual else ENGLISH,
        licence="Apache-2.0",
        fetch=fetch,
        file="onnx/model.onnx",
    )


BUNDLED = EmbeddingModel(
    name="multilingual-e5-small",
    runtime=Runtime.FASTEMBED,
    model="multilingual-e5-small",
    dimension=384,
    max_tokens=512,
    query_prefix="query: ",
    document_prefix="passage: ",
    languages=E5_LANGUAGES,
    licence="MIT",
    fetch=MAKE_SETUP,
)
EMBEDDING_MODELS = (
    BUNDLED,
    _nomic(
        "nomic-embed-text-v1.5",
        Runtime.FASTEMBED,
        "nomic-embed-text-v1.5",
        _download(f"nomic-ai/nomic-embed-text-v1.5 onnx/model.onnx {_TOKENIZER_FILES}", "nomic-embed-text-v1.5"),
    ),
    _nomic(
        "nomic-embed-text-v2-moe",
        Runtime.FASTEMBED,
        "nomic-embed-text-v2-moe",
        # Its makers publish no ONNX file, and its routing between experts does not survive a plain export.
        "none: no ONNX file is published; use ollama/nomic-embed-text-v2-moe, or put an export of your own into "
        f"{MODELS_DIR}/nomic-embed-text-v2-moe/onnx/model.onnx",
    ),
    _nomic("ollama/nomic-embed-text", Runtime.OLLAMA, "nomic-embed-text", _pull("nomic-embed-text")),
    _nomic(
        "ollama/nomic-embed-text-v2-moe", Runtime.OLLAMA, "nomic-embed-text-v2-moe", _pull("nomic-embed-text-v2-moe")
    ),
)
TEXT_GENERAL = ServedModel(
    name="text-general",
    capabilities=frozenset({Capability.CHAT}),
    runtime=Runtime.OLLAMA,
    model="qwen3:8b",
    languages=QWEN3_LANGUAGES,
    context_tokens=40_960,
    licence="Apache-2.0",
    fetch=_pull("qwen3:8b"),
)
TEXT_REASONING = ServedModel(
    name="text-reasoning",
    capabilities=frozenset({Capability.CHAT, Capability.REASONING}),
    runtime=Runtime.OLLAMA,
    model="gpt-oss:20b",
    languages=frozenset(),
    context_tokens=131_072,
    licence="Apache-2.0",
    fetch=_pull("gpt-oss:20b"),
)
VISION_GENERAL = ServedModel(
    name="vision-general",
    capabilities=frozenset({Capability.CHAT, Capability.VISION}),
    runtime=Runtime.OLLAMA,
    model="qwen3-vl:8b",
    languages=QWEN3_LANGUAGES,
    context_tokens=262_144,
    licence="Apache-2.0",
    fetch=_pull("qwen3-vl:8b"),
)
RERANK = ServedModel(
    name="rerank",
    capabilities=frozenset({Capability.RERANK}),
    runtime=Runtime.FASTEMBED,
    model="bge-reranker-v2-m3",
    languages=E5_LANGUAGES,  # the same base model, XLM-RoBERTa
    context_tokens=8_192,
    licence="Apache-2.0",
    fetch=_download(
        f"onnx-community/bge-reranker-v2-m3-ONNX onnx/model_int8.onnx {_TOKENIZER_FILES}", "bge-reranker-v2-m3"
    ),
)
TRANSCRIBE = ServedModel(
    name="transcribe",
    capabilities=frozenset({Capability.TRANSCRIBE}),
    runtime=Runtime.FASTER_WHISPER,
    model="faster-whisper-small",
    languages=frozenset(),
    context_tokens=0,
    licence="MIT",
    fetch=_download("Systran/faster-whisper-small", "faster-whisper-small"),
)


def fetched_into(model: _Model, models_dir: Path) -> _Model:
    """The model with a command that fetches it into `models_dir`. What Ollama keeps is the same everywhere."""
    if models_dir == Path(MODELS_DIR):
        return model
    folder = shlex.quote(str(models_dir))
    if model.fetch == MAKE_SETUP:  # knows the default folder only
        return replace(model, fetch=f"python -m rag.models.bundled fetch --into {folder}/{model.model}")
    return replace(model, fetch=model.fetch.replace(MODELS_DIR, folder))


def embedding_model(name: str) -> EmbeddingModel:
    """The embedding model that the setting `embedder` names.

    Raises:
        Misconfigured: there is none of that name; the message has all names.
    """
    for model in EMBEDDING_MODELS:
        if model.name == name:
            return model
    raise Misconfigured(f"no embedding model {name!r}; there are {', '.join(each.name for each in EMBEDDING_MODELS)}")


def served_models(embedder: EmbeddingModel, chat_model: str = "") -> tuple[ServedModel, ...]:
    """Every public name with what stands behind it under these settings, present or not.

    A `chat_model` of the operator's choice stands behind `text-general`; nothing is claimed about what it can.
    """
    general = TEXT_GENERAL
    if chat_model and chat_model != TEXT_GENERAL.model:
        general = replace(
            TEXT_GENERAL,
            model=chat_model,
            languages=frozenset(),
            context_tokens=0,
            licence=f"see: ollama show {chat_model} --license",
            fetch=_pull(chat_model),
        )
    return (general, TEXT_REASONING, VISION_GENERAL, _served(embedder), RERANK, TRANSCRIBE)


def _served(embedder: EmbeddingModel) -> ServedModel:
    return ServedModel(
        name="embed",
        capabilities=frozenset({Capability.EMBED}),
        runtime=embedder.runtime,
        model=embedder.model,
        languages=embedder.languages,
        context_tokens=embedder.max_tokens,
        licence=embedder.licence,
        fetch=embedder.fetch,
    )
