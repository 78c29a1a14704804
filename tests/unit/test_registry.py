"""The names of models, and what is said about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag.errors import Misconfigured, ModelUnavailable
from rag.models.embedders import open_embedder
from rag.models.inventory import inventory
from rag.models.registry import (
    EMBEDDING_MODELS,
    TEXT_GENERAL,
    Capability,
    EmbeddingModel,
    Present,
    Runtime,
    embedding_model,
    served_models,
)
from rag.settings import Settings

NOTHING = Present(folders=frozenset(), ollama=None)
BUNDLED = embedding_model("multilingual-e5-small")


@pytest.mark.parametrize(
    ("name", "runtime", "dimension", "query", "document"),
    [
        ("multilingual-e5-small", Runtime.FASTEMBED, 384, "query: ", "passage: "),
        ("nomic-embed-text-v1.5", Runtime.FASTEMBED, 768, "search_query: ", "search_document: "),
        ("nomic-embed-text-v2-moe", Runtime.FASTEMBED, 768, "search_query: ", "search_document: "),
        ("ollama/nomic-embed-text", Runtime.OLLAMA, 768, "search_query: ", "search_document: "),
        ("ollama/nomic-embed-text-v2-moe", Runtime.OLLAMA, 768, "search_query: ", "search_document: "),
    ],
)
def test_every_embedder_has_its_own_runtime_dimension_and_prefixes(
    name: str, runtime: Runtime, dimension: int, query: str, document: str
) -> None:
    model = embedding_model(name)
    assert (model.runtime, model.dimension) == (runtime, dimension)
    assert (model.query_prefix, model.document_prefix) == (query, document)


def test_the_default_setting_names_a_model() -> None:
    assert embedding_model(Settings().embedder) is BUNDLED


def test_an_unknown_name_is_refused_with_all_names() -> None:
    with pytest.raises(Misconfigured, match=r"multilingual-e5-small.*ollama/nomic-embed-text-v2-moe"):
        embedding_model("text-embedding-ada-002")


def test_what_nothing_uses_yet_is_listed_as_later(tmp_path: Path) -> None:
    listed = inventory(Settings(home=tmp_path, models_dir=tmp_path, ollama_url=""))
    kinds = {each.name: each.kind for each in listed}
    assert kinds["rerank"] == "rerank (later)"
    assert kinds["vision-general"] == "chat, vision (later)"
    assert kinds["text-general"] == "chat"


def test_names_are_unique() -> None:
    served = [model.name for model in served_models(BUNDLED)]
    embedders = [model.name for model in EMBEDDING_MODELS]
    assert len(set(served)) == len(served)
    assert len(set(embedders)) == len(embedders)


@pytest.mark.parametrize(
    ("name", "language", "covered"),
    [
        ("multilingual-e5-small", "de", True),
        ("multilingual-e5-small", "en", True),
        ("multilingual-e5-small", "tlh", False),
        ("nomic-embed-text-v1.5", "en", True),
        ("nomic-embed-text-v1.5", "de", False),
        ("ollama/nomic-embed-text", "de", False),
        ("ollama/nomic-embed-text-v2-moe", "de", True),
    ],
)
def test_an_embedder_says_which_languages_its_vectors_mean_something_in(
    name: str, language: str, covered: bool
) -> None:
    assert embedding_model(name).covers(language) is covered


@pytest.mark.parametrize("model", EMBEDDING_MODELS, ids=lambda model: model.name)
def test_an_embedder_is_available_exactly_when_it_is_present(model: EmbeddingModel) -> None:
    folders = Present(frozenset({model.model}), None)
    ollama = Present(frozenset(), frozenset({f"{model.model}:latest"}))
    assert not model.available(NOTHING)
    assert model.available(folders) is (model.runtime is Runtime.FASTEMBED)
    assert model.available(ollama) is (model.runtime is Runtime.OLLAMA)


@pytest.mark.parametrize(
    ("pulled", "available"),
    [
        (None, False),
        (frozenset(), False),
        (frozenset({"qwen3:8b"}), True),
        (frozenset({"qwen3:14b"}), False),
        (frozenset({"qwen3:latest"}), False),
        (frozenset({"someone/qwen3:8b"}), False),
    ],
)
def test_a_chat_model_becomes_available_by_itself_when_it_is_pulled(
    pulled: frozenset[str] | None, available: bool
) -> None:
    assert TEXT_GENERAL.available(Present(frozenset(), pulled)) is available


def test_every_public_name_is_listed_with_the_command_that_fetches_it() -> None:
    served = {model.name: model for model in served_models(BUNDLED)}
    assert set(served) == {"text-general", "text-reasoning", "vision-general", "embed", "rerank", "transcribe"}
    assert served["text-general"].fetch == "ollama pull qwen3:8b"
    assert served["embed"].fetch == "make setup"
    assert all(model.fetch and model.licence and model.capabilities for model in served.values())


def test_the_operators_chat_model_stands_behind_text_general_and_nothing_is_claimed_about_it() -> None:
    general = served_models(BUNDLED, "mistral-small3.2")[0]
    assert (general.name, general.model, general.fetch) == (
        "text-general",
        "mistral-small3.2",
        "ollama pull mistral-small3.2",
    )
    assert general.capabilities == {Capability.CHAT}
    assert not general.languages
    assert general.context_tokens == 0
    assert general.available(Present(frozenset(), frozenset({"mistral-small3.2:latest"})))


@pytest.mark.parametrize(
    ("folder", "named"), [("/opt/kustos/models", "/opt/kustos/models"), ("my models", "'my models'")]
)
def test_fetched_folders_end_up_where_the_setting_of_another_folder_looks(tmp_path: Path, folder, named) -> None:
    listed = inventory(Settings(home=tmp_path, models_dir=Path(folder), ollama_url=""))
    commands = {each.name: each.fetch for each in listed}
    assert commands["nomic-embed-text-v1.5"].endswith(f"--local-dir {named}/nomic-embed-text-v1.5")
    assert commands["rerank"].endswith(f"--local-dir {named}/bge-reranker-v2-m3")
    assert commands["multilingual-e5-small"] == commands["embed"]
    assert commands["embed"] == f"python -m rag.models.bundled fetch --into {named}/multilingual-e5-small"
    assert commands["text-general"] == TEXT_GENERAL.fetch
    assert not [command for command in commands.values() if ".kustos-models" in command]


def test_a_model_that_is_missing_names_the_command_for_the_folder_of_the_setting(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=f"--local-dir {tmp_path}/nomic-embed-text-v1.5"):
        open_embedder(Settings(home=tmp_path, models_dir=tmp_path, embedder="nomic-embed-text-v1.5"))


def test_fetched_folders_end_up_where_the_default_setting_looks() -> None:
    folder = Settings().models_dir
    every = [model.fetch for model in EMBEDDING_MODELS] + [model.fetch for model in served_models(BUNDLED)]
    commands = [command for command in every if "--local-dir" in command]
    assert commands
    assert all(Path(command.split("--local-dir ")[1]).parent == folder for command in commands)
