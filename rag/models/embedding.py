"""The adapter of fastembed: embedding in this process, from a folder on this machine.

fastembed asks a model hub only for models without `specific_model_path`; with one it uses that folder before any code
that could open a connection runs, so no environment variable has to forbid it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
from fastembed.text.custom_text_embedding import CustomTextEmbedding
from tokenizers import Tokenizer

from rag.documents import IndexProfile
from rag.errors import ModelUnavailable
from rag.machine import processors
from rag.models.folder import TOKENIZER, fingerprint
from rag.models.registry import EmbeddingModel
from rag.ports import OnProgress, Vectors

QUESTION_THREADS = 2  # halve the time of a question; further ones gain little
_T = TypeVar("_T")


class _Engine(CustomTextEmbedding):
    """onnxruntime whose threads sleep when there is nothing to do.

    By default they turn in circles, between the steps of a question and for 40 ms after it: more processor time than
    encoding takes, and taken from Keycloak, the search and the answer's model.
    """

    @classmethod
    def add_extra_session_options(cls, session_options: Any, extra_options: dict[str, Any]) -> None:
        super().add_extra_session_options(session_options, extra_options)
        session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")


class FastembedEmbedder:
    """Embeds with the ONNX model in a local folder: mean pooling, vectors of length 1.

    A question gets several threads at once. Documents are embedded one by one, each on one thread, as many at a time as
    there are processors: a fifth faster than in batches that share all threads, as nothing is padded and nobody waits
    for the slowest thread, and a text's vector cannot depend on its neighbours. The engine fixes its threads when it
    opens, so there are two of them, each opened at its first text.

    The files are fingerprinted at once: an index can be refused within milliseconds. Safe to use from several threads.
    """

    def __init__(self, model: EmbeddingModel, folder: Path) -> None:
        """An embedder over the files in `folder`, whose weights are read later.

        Raises:
            ModelUnavailable: one of the files is not there; the message has the command that fetches it.
        """
        self._model = model
        self._folder = folder
        self._loading = Lock()
        self._engines: dict[int, _Engine] = {}
        self._tokenizer: Tokenizer | None = None
        try:
            digest = fingerprint(folder, model.file)
        except ModelUnavailable as error:
            raise ModelUnavailable(
                f"{model.name} is not in {folder.absolute()} (KUSTOS_MODELS_DIR); fetch it with: {model.fetch}"
            ) from error
        self._profile = IndexProfile(model.name, model.dimension, model.query_prefix, model.document_prefix, digest)

    @property
    def profile(self) -> IndexProfile:
        """Identifies every vector made here; its sha256 is over weights and tokenizer as they lie in the folder."""
        return self._profile

    @property
    def max_tokens(self) -> int:
        return self._model.max_tokens

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` without prefix and special tokens, however many.

        Raises:
            ModelUnavailable: the tokenizer cannot be loaded, or fails.
        """
        with self._loading:
            if self._tokenizer is None:
                self._tokenizer = self._typed("be loaded", self._load_tokenizer)
            tokenizer = self._tokenizer
        return self._typed("count tokens", lambda: len(tokenizer.encode(text, add_special_tokens=False).ids))

    def embed_documents(self, texts: Sequence[str], on_progress: OnProgress | None = None) -> Vectors:
        """float32[n, dim], normalised, in the order of `texts`. A text's vector does not depend on the others.

        What goes beyond `max_tokens` is cut off.

        Raises:
            ModelUnavailable: the model cannot be loaded, fails, or makes vectors of another dimension.
        """
        vectors = np.empty((len(texts), self._model.dimension), np.float32)
        if not texts:
            return vectors
        order = longest_first(texts)
        prefixed = (self._model.document_prefix + texts[at] for at in order)
        with ThreadPoolExecutor(processors(), thread_name_prefix="embedding") as pool:
            try:
                for at, vector in zip(order, pool.map(self._embed, prefixed), strict=True):
                    vectors[at] = vector
                    if on_progress:
                        on_progress(1)
            finally:
                pool.shutdown(cancel_futures=True)
        return vectors

    def embed_question(self, text: str) -> Vectors:
        """float32[dim], normalised.

        Raises:
            ModelUnavailable: as above.
        """
        return self._embed(self._model.query_prefix + text, QUESTION_THREADS)

    def _embed(self, text: str, threads: int = 1) -> Vectors:
        engine = self._engine(threads)
        vector: Vectors = self._typed("embed a text", lambda: next(iter(engine.embed([text]))).astype(np.float32))
        if len(vector) != self._model.dimension:
            raise ModelUnavailable(
                f"{self._folder} makes vectors of {len(vector)} numbers, but {self._model.name} has "
                f"{self._model.dimension}; it holds another model. Fetch the right one with: {self._model.fetch}"
            )
        return vector

    def _engine(self, threads: int) -> _Engine:
        with self._loading:
            if threads not in self._engines:
                self._engines[threads] = self._typed("be loaded", lambda: self._load_engine(threads))
            return self._engines[threads]

    def _load_engine(self, threads: int) -> _Engine:
        name = _registered(self._model)
        return _Engine(name, specific_model_path=str(self._folder), local_files_only=True, threads=threads, cuda=False)

    def _load_tokenizer(self) -> Tokenizer:
        tokenizer = Tokenizer.from_file(str(self._folder / TOKENIZER))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    def _typed(self, doing: str, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except Exception as error:  # onnxruntime's and tokenizers' errors have no base class of their own
            raise ModelUnavailable(
                f"{self._model.name} in {self._folder} cannot {doing} ({error}). "
                f"If it stays so, delete the folder and fetch it again with: {self._model.fetch}"
            ) from error


def longest_first(texts: Sequence[str]) -> list[int]:
    """Positions of `texts`, longest text first.

    So no thread is left with a long text when the others are done, and a machine with too little memory fails at once.
    """
    return sorted(range(len(texts)), key=lambda at: (-len(texts[at]), at))


def _registered(model: EmbeddingModel) -> str:
    """fastembed's name for the model; it keeps one list for the whole process and refuses a name that is on it."""
    name = f"kustos/{model.name}/{model.dimension}/{model.file}"
    if not any(each["model"] == name for each in TextEmbedding.list_supported_models()):
        TextEmbedding.add_custom_model(
            model=name,
            pooling=PoolingType.MEAN,
            normalization=True,
            sources=ModelSource(url="file:///nowhere"),
            dim=model.dimension,
            model_file=model.file,
        )
    return name
