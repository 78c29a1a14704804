"""Answers by Ollama, over a small real server that speaks its protocol well and badly."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from rag.errors import ModelUnavailable
from rag.models.ollama import LISTING_HOLDS_S, OllamaAnswerer, OllamaModels
from rag.ports import Answerer
from tests.fake_ollama import FakeOllama, break_off, line, redirect, say, serving
from tests.fakes import Clock
from tests.unit.test_prompt import passage

pytestmark = pytest.mark.loopback


@pytest.fixture
def ollama() -> Iterator[FakeOllama]:
    with serving() as fake:
        yield fake


def answerer(fake: FakeOllama, name: str = "text-general", model: str = "qwen3:8b") -> Answerer:
    return OllamaAnswerer(name, model, fake.url, timeout_s=0.3)


def test_pieces_arrive_as_they_were_sent_under_the_public_name(ollama: FakeOllama) -> None:
    answering = answerer(ollama)
    assert list(answering.answer("Wie hoch?", [passage("Zwanzig Euro.")], "de")) == ["Zwanzig ", "Euro ", "[1]."]
    assert answering.model == "text-general"


def test_a_piece_is_handed_on_before_the_next_one_exists(ollama: FakeOllama) -> None:
    ollama.replies["/api/chat"] = ollama.hang_after_a_piece
    pieces = answerer(ollama).answer("Wie hoch?", [passage("Zwanzig Euro.")], "de")
    assert next(pieces) == "Zwanzig "
    with pytest.raises(ModelUnavailable, match="in time"):
        next(pieces)


def test_pi_09_the_request_holds_question_and_passages_only(ollama: FakeOllama) -> None:
    list(answerer(ollama).answer("Wie hoch?", [passage("Zwanzig Euro.")], "de"))
    ((path, body),) = ollama.asked
    assert path == "/api/chat"
    assert set(body) == {"model", "messages", "stream", "think", "options", "tools"}
    assert not body["tools"]
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert "Zwanzig Euro." in body["messages"][1]["content"]
    for secret in ("-id-7", "tenant-7", "source-7", "version-7", "hash-7", "secret-path"):
        assert secret not in json.dumps(body)


@pytest.mark.parametrize(("name", "think"), [("text-general", False), ("text-reasoning", None)])
def test_only_the_reasoning_name_lets_a_model_think(ollama: FakeOllama, name: str, think: bool | None) -> None:
    list(answerer(ollama, name).answer("Wie hoch?", [passage("Zwanzig Euro.")], "de"))
    assert ollama.asked[0][1].get("think") is think


def test_what_a_model_thinks_is_not_part_of_the_answer(ollama: FakeOllama) -> None:
    thought = {"model": "m", "message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": False}
    ollama.replies["/api/chat"] = say(json.dumps(thought).encode() + b"\n" + line("Ja [1].") + line("", done=True))
    assert list(answerer(ollama).answer("?", [passage("x")], "de")) == ["Ja [1]."]


def test_a_consumer_that_leaves_closes_the_connection(ollama: FakeOllama) -> None:
    ollama.replies["/api/chat"] = ollama.hang_after_a_piece
    pieces = answerer(ollama).answer("Wie hoch?", [passage("Zwanzig Euro.")], "de")
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert list(pieces) == []


BAD_STREAMS = {
    "the connection breaks in a line": break_off(line("Zwanzig ") + b'{"model": "m", "mess'),
    "the connection breaks between lines": break_off(line("Zwanzig ")),
    "it ends without saying that it is done": say(line("Zwanzig ")),
    "it ends in the middle of a line": say(line("Zwanzig ") + b'{"model": "m", "mess'),
    "an error in mid-stream": say(line("Zwanzig ") + b'{"error": "out of memory"}\n'),
    "a line that is no object": say(line("Zwanzig ") + b"[1]\n"),
    "a line without message": say(line("Zwanzig ") + b'{"done": true}\n'),
    "not JSON": say(b"<html>"),
    "nothing": say(b""),
    "server error": say(b'{"error": "out of memory"}', 500),
    "server error that is no JSON": say(b"oops", 502),
    "redirect": redirect("http://192.0.2.1/"),
}


@pytest.mark.parametrize("reply", BAD_STREAMS)
def test_a_stream_that_goes_wrong_is_unavailable_and_never_ends_as_if_whole(ollama: FakeOllama, reply: str) -> None:
    ollama.replies["/api/chat"] = BAD_STREAMS[reply]
    with pytest.raises(ModelUnavailable, match="Ollama"):
        list(answerer(ollama).answer("Wie hoch?", [passage("Zwanzig Euro.")], "de"))


def test_a_model_that_is_not_there_is_named_with_the_command_that_pulls_it(ollama: FakeOllama) -> None:
    with pytest.raises(ModelUnavailable, match=r"ollama pull mistral-small3\.2"):
        list(answerer(ollama, model="mistral-small3.2").answer("?", [passage("x")], "de"))


def test_a_server_that_hangs_is_unavailable_within_its_time(ollama: FakeOllama) -> None:
    ollama.replies["/api/chat"] = ollama.hang
    with pytest.raises(ModelUnavailable, match="in time"):
        list(answerer(ollama).answer("?", [passage("x")], "de"))


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with serving() as fake:
        url = fake.url
    with pytest.raises(ModelUnavailable, match="ollama serve"):
        list(OllamaAnswerer("text-general", "qwen3:8b", url).answer("?", [passage("x")], "de"))


def test_a_proxy_named_in_the_environment_is_not_used(ollama: FakeOllama, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert list(answerer(ollama).answer("Wie hoch?", [passage("Zwanzig Euro.")], "de"))


# What the server has


def test_models_are_listed_with_their_tags(ollama: FakeOllama) -> None:
    assert OllamaModels(ollama.url).names() == frozenset({"nomic-embed-text:latest", "qwen3:8b"})


def test_a_model_that_was_pulled_appears_by_itself_after_a_few_seconds(ollama: FakeOllama) -> None:
    clock = Clock()
    models = OllamaModels(ollama.url, clock)
    models.names()
    ollama.models["mistral-small3.2:latest"] = "digest-3"
    clock.now += LISTING_HOLDS_S / 2
    assert "mistral-small3.2:latest" not in (models.names() or ())
    clock.now += LISTING_HOLDS_S
    assert "mistral-small3.2:latest" in (models.names() or ())


def test_no_address_and_no_server_are_none_and_no_error() -> None:
    with serving() as fake:
        url = fake.url
    assert OllamaModels(url).names() is None
    assert OllamaModels("").names() is None


@pytest.mark.parametrize("data", [b"", b"<html>", b"[]", b'{"models": 7}', b'{"error": "no"}'])
def test_a_server_that_is_no_ollama_has_no_models(ollama: FakeOllama, data: bytes) -> None:
    ollama.replies["/api/tags"] = say(data)
    assert not OllamaModels(ollama.url).names()
