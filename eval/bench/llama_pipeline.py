"""LlamaIndex's own ingestion over a folder, as its manual has it: reader, pipeline, document store, upserts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_index.core import SimpleDirectoryReader
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore
from pydantic import PrivateAttr

from rag.ports import Embedder

BATCH = 128
SENTENCE = re.compile(r"(?<=[.!?])\s+")


class _SameEmbedder(BaseEmbedding):
    """The embedder of Kustos as LlamaIndex wants it."""

    _embedder: Embedder = PrivateAttr()

    def __init__(self, embedder: Embedder) -> None:
        super().__init__(embed_batch_size=BATCH)
        self._embedder = embedder

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._embedder.embed_documents(texts).tolist()
        return vectors

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        vector: list[float] = self._embedder.embed_question(query).tolist()
        return vector

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


class LlamaPipeline:
    """A folder of text files in a document store and a vector store, both in memory: nothing is kept on disk.

    Tokens are words and sentences end at full stops, because LlamaIndex's own tokenizers would be downloaded.
    """

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        self._folder = folder
        self._pipeline = IngestionPipeline(
            transformations=[_splitter(), _SameEmbedder(embedder)],
            docstore=SimpleDocumentStore(),
            docstore_strategy=DocstoreStrategy.UPSERTS,
            vector_store=SimpleVectorStore(),
        )

    def run(self) -> int:
        """Brings the stores to the state of the folder. Returns the number of nodes that were embedded."""
        reader = SimpleDirectoryReader(str(self._folder), recursive=True, filename_as_id=True)
        nodes: Sequence[Any] = self._pipeline.run(documents=reader.load_data())
        return len(nodes)


def _splitter() -> SentenceSplitter:
    return SentenceSplitter(chunk_size=300, chunk_overlap=30, tokenizer=str.split, chunking_tokenizer_fn=SENTENCE.split)
