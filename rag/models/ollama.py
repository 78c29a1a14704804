"""The adapter of Ollama: embedding and answering by a model server of the operator's own.

Passages are sent to the configured address and to no other: redirects are not followed, and proxies named in the
environment are not used. Whatever goes wrong comes out as `ModelUnavailable` with what to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict

import httpx
import numpy as np
import ollama

from rag.documents import IndexProfile, Passage
from rag.errors import Misconfigured, ModelUnavailable
from rag.models.prompt import build_messages
from rag.models.registry import TEXT_REASONING, EmbeddingModel, full_name
from rag.ports import OnProgress, Vectors

CONNECT_TIMEOUT_S = 2.0
LIST_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 180.0  # between two pieces; the first waits for the model to be read from disk
LISTING_HOLDS_S = 5.0
BATCH = 16
BYTES_A_TOKEN = 3
CONTEXT_TOKENS = 8_192  # Ollama's default of 4,096 would cut long questions without a word; one value, one load
MAX_ANSWER_TOKENS = 2_048

# httpx and pydantic errors pass through the ollama package; a reply that is JSON but no object gives the last two.
_VENDOR_ERRORS = (
    ollama.ResponseError,
    ollama.RequestError,
    httpx.HTTPError,
    httpx.StreamError,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
)


class OllamaModels:
    """What the server has. Asked anew after a few seconds, so a model that was pulled becomes available by itself."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`url`: address of the server; empty means that there is none."""
        self.url = url
        self._clock = clock
        self._known: tuple[float, frozenset[str] | None] | None = None

    def names(self) -> frozenset[str] | None:
        """Names with tags of the models that are there; None if the server does not answer."""
        now = self._clock()
        if self._known is None or now - self._known[0] >= LISTING_HOLDS_S:
            self._known = (now, self._ask())
        return self._known[1]

    def _ask(self) -> frozenset[str] | None:
        if not self.url:
            return None
        try:
            return frozenset(_digests(self.url))
        except ModelUnavailable:
            return None


class OllamaEmbedder:
    """Embeds with a model that Ollama serves. Vectors are brought to length 1 here."""

    def __init__(self, model: EmbeddingModel, url: str, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """An embedder over a model that is there now.

        Raises:
            Misconfigured: `url` is not an address.
            ModelUnavailable: the server does not answer, or has no such model; the message has the command for it.
        """
        self._model = model
        self._url = url
        self._timeout_s = timeout_s
        digest = _digests(url).get(full_name(model.model))
        if digest is None:
            raise ModelUnavailable(f"Ollama at {url} has no {model.model}; fetch it with: {model.fetch}")
        self._profile = IndexProfile(model.name, model.dimension, model.query_prefix, model.document_prefix, digest)

    @property
    def profile(self) -> IndexProfile:
        """Identifies every vector made here; its sha256 is the digest that Ollama reports for the model."""
        return self._profile

    @property
    def max_tokens(self) -> int:
        return self._model.max_tokens

    def count_tokens(self, text: str) -> int:
        """An estimate on the high side: Ollama does not tell. One token per three bytes; prose has four or more."""
        return -(-len(text.encode()) // BYTES_A_TOKEN)

    def embed_documents(self, texts: Sequence[str], on_progress: OnProgress | None = None) -> Vectors:
        """float32[n, dim], normalised, in the order of `texts`. What goes beyond `max_tokens` is cut off by Ollama.

        Raises:
            ModelUnavailable: the server does not answer, or its vectors are not what the registry says.
        """
        vectors = np.empty((len(texts), self._model.dimension), np.float32)
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            vectors[start : start + len(batch)] = self._embed([self._model.document_prefix + text for text in batch])
            if on_progress:
                on_progress(len(batch))
        return vectors

    def embed_question(self, text: str) -> Vectors:
        """float32[dim], normalised.

        Raises:
            ModelUnavailable: as above.
        """
        question: Vectors = self._embed([self._model.query_prefix + text])[0]
        return question

    def _embed(self, texts: list[str]) -> Vectors:
        with _typed(self._url, self._model.model), _client(self._url, self._timeout_s) as client:
            reply = client.embed(model=self._model.model, input=texts)
            vectors = np.asarray(reply.embeddings, np.float32)
        if vectors.shape != (len(texts), self._model.dimension):
            raise ModelUnavailable(
                f"Ollama's {self._model.model} gave vectors of shape {vectors.shape} for {len(texts)} texts; "
                f"{self._model.name} has dimension {self._model.dimension}. Is another model behind that name? "
                f"Fetch the right one with: {self._model.fetch}"
            )
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.all(np.isfinite(lengths)) or not np.all(lengths > 0):
            raise ModelUnavailable(f"Ollama's {self._model.model} gave a vector without a direction")
        normalised: Vectors = vectors / lengths
        return normalised


class OllamaAnswerer:
    """Writes answers with a chat model that Ollama serves."""

    def __init__(self, name: str, model: str, url: str, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """`name` is public, `model` is Ollama's name; `timeout_s` is the longest silence between two pieces."""
        self._name = name
        self._model = model
        self._url = url
        self._timeout_s = timeout_s
        # Models that can do both answer at once, except under the name that asks for reasoning.
        self._think = None if name == TEXT_REASONING.name else False

    @property
    def model(self) -> str:
        return self._name

    def answer(self, question: str, passages: Sequence[Passage], language: str) -> Iterator[str]:
        """Pieces of the answer as they arise. What a reasoning model thinks is not among them.

        Raises:
            ModelUnavailable: before the first piece, or later if the stream breaks off.
        """
        messages = [asdict(message) for message in build_messages(question, passages, language)]
        options = {"temperature": 0, "num_ctx": CONTEXT_TOKENS, "num_predict": MAX_ANSWER_TOKENS}
        with _typed(self._url, self._model), _client(self._url, self._timeout_s) as client:
            stream = client.chat(self._model, messages, stream=True, think=self._think, options=options)
            done = False
            with closing(stream):
                for part in stream:
                    done = bool(part.done)
                    if part.message.content:
                        yield part.message.content
        if not done:
            raise ModelUnavailable(f"Ollama's {self._model} broke off in the middle of an answer; ask again")


def _digests(url: str) -> dict[str, str]:
    """Digest of every model that the server has, by full name."""
    with _typed(url, "list of models"), _client(url, LIST_TIMEOUT_S) as client:
        return {full_name(each.model): each.digest or "" for each in client.list().models if each.model}


def _client(url: str, timeout_s: float) -> ollama.Client:
    limits = httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S))
    try:
        return ollama.Client(url, timeout=limits, follow_redirects=False, trust_env=False)
    except (ValueError, httpx.InvalidURL) as error:
        raise Misconfigured(f"KUSTOS_OLLAMA_URL={url!r} is not an address ({error})") from error


@contextmanager
def _typed(url: str, model: str) -> Iterator[None]:
    """Turns what the ollama package raises into `ModelUnavailable`."""
    try:
        yield
    except ollama.ResponseError as error:
        raise ModelUnavailable(_refusal(url, model, error)) from error
    except httpx.TimeoutException as error:
        raise ModelUnavailable(f"Ollama at {url} did not answer in time about {model}") from error
    except (ConnectionError, httpx.ConnectError) as error:
        raise ModelUnavailable(f"Ollama at {url} cannot be reached; start it with: ollama serve") from error
    except _VENDOR_ERRORS as error:
        raise ModelUnavailable(
            f"Ollama at {url} gave no usable reply about {model} ({type(error).__name__})"
        ) from error


def _refusal(url: str, model: str, error: ollama.ResponseError) -> str:
    if error.status_code == httpx.codes.NOT_FOUND:
        return f"Ollama at {url} has no {model}; fetch it with: ollama pull {model}"
    return f"Ollama at {url} refused {model} with status {error.status_code}: {error.error[:200]}"
