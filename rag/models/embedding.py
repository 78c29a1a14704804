"""The adapter of fastembed: embedding in this process, from a folder on this machine.

fastembed asks a model hub only for models without `specific_model_path`; with one it uses that folder before any code
that could open a connection runs, so no environment variable has to forbid it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import TypeVar

import numpy as np
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
from tokenizers import Tokenizer

from rag.documents import IndexProfile
from rag.errors import ModelUnavailable
from rag.models.folder import TOKENIZER, fingerprint
from rag.models.registry import EmbeddingModel
from rag.ports import OnProgress, Vectors

BATCH = 8  # with texts sorted by length as fast as 32, in half the memory
THREADS = 2
_T = TypeVar("_T")


class FastembedEmbedder:
    """Embeds with the ONNX model in a local folder: mean pooling, vectors of length 1.

    The weights are read at the first text, the files are fingerprinted at once: an index can be refused within
    milliseconds. Safe to use from several threads.
    """

    def __init__(self, model: EmbeddingModel, folder: Path, threads: int = THREADS) -> None:
        """An embedder over the files in `folder`, whose weights are read later.

        Raises:
            ModelUnavailable: one of the files is not there; the message has the command that fetches it.
        """
        self._model = model
        self._folder = folder
        self._threads = threads
        self._loading = Lock()
        self._engine: TextEmbedding | None = None
        self._tokenizer: Tokenizer | None = None
        try:
            digest = fingerprint(folder, model.file)
        except ModelUnavailable as error:
            raise ModelUnavailable(f"{model.name} is not in {folder}; fetch it with: {model.fetch}") from error
        self._profile = IndexProfile(model.name, model.dimension, model.query_prefix, model.document_prefix, digest)

    @property
    def profile(self) -> IndexProfile:
        """Identifies every vector made here; its sha256 is over weights and tokenizer as they lie in the folder."""
        return self._profile

    @property
    def max_tokens(self) -> int:
        return self._model.max_tokens

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` without prefix and special tokens, however many."""
        with self._loading:
            if self._tokenizer is None:
                self._tokenizer = self._load(self._load_tokenizer)
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def embed_documents(self, texts: Sequence[str], on_progress: OnProgress | None = None) -> Vectors:
        """float32[n, dim], normalised, in the order of `texts`. A text's vector does not depend on the others.

        What goes beyond `max_tokens` is cut off.

        Raises:
            ModelUnavailable: the model cannot be loaded, or makes vectors of another dimension.
        """
        vectors = np.empty((len(texts), self._model.dimension), np.float32)
        for batch in batches_by_length(texts):
            vectors[batch] = self._embed([self._model.document_prefix + texts[at] for at in batch])
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
        with self._loading:
            if self._engine is None:
                self._engine = self._load(self._load_engine)
        vectors = np.stack(list(self._engine.embed(texts, batch_size=len(texts)))).astype(np.float32)
        if vectors.shape[1] != self._model.dimension:
            raise ModelUnavailable(
                f"{self._folder} makes vectors of {vectors.shape[1]} numbers, but {self._model.name} has "
                f"{self._model.dimension}; it holds another model. Fetch the right one with: {self._model.fetch}"
            )
        return vectors

    def _load_engine(self) -> TextEmbedding:
        name = _registered(self._model)
        return TextEmbedding(
            name, specific_model_path=str(self._folder), local_files_only=True, threads=self._threads, cuda=False
        )

    def _load_tokenizer(self) -> Tokenizer:
        tokenizer = Tokenizer.from_file(str(self._folder / TOKENIZER))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    def _load(self, load: Callable[[], _T]) -> _T:
        try:
            return load()
        except Exception as error:  # onnxruntime's and tokenizers' errors have no base class of their own
            raise ModelUnavailable(
                f"{self._model.name} in {self._folder} cannot be loaded ({error}). "
                f"Delete the folder and fetch it again with: {self._model.fetch}"
            ) from error


def batches_by_length(texts: Sequence[str], size: int = BATCH) -> Iterator[list[int]]:
    """Positions of `texts` in batches of similar length, longest first, so that little is padded.

    Longest first lets a machine with too little memory fail at once and not at the end.
    """
    order = sorted(range(len(texts)), key=lambda at: (-len(texts[at]), at))
    for start in range(0, len(order), size):
        yield order[start : start + size]


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
