"""A throw-away Kustos, filled with one corpus by the real pipeline: nothing of the operator's is read or written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from connectors.base import Connector
from eval.corpus import SOURCE, Corpus, parse
from eval.embedders import PassingOn
from eval.leakage import Opened
from eval.originals import Originals
from ingest.chunking import Chunker
from ingest.pipeline import Ingestion
from ingest.progress import SyncProgress
from ingest.reading import DocumentReader, Parse
from rag.access.audit import Action, Purpose
from rag.access.scope import Caller
from rag.bootstrap import Kustos, open_kustos
from rag.documents import Passage, Question, document_id
from rag.errors import NotFound
from rag.ports import Embedder, OnProgress, Vectors
from rag.retrieval import MAX_PASSAGES
from rag.settings import Settings

PURPOSE = Purpose(Action.SEARCH, "eval")


class RememberingEmbedder(PassingOn):
    """An embedder that embeds every text once, however many installations it fills."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__(embedder)
        self._vectors: dict[str, Vectors] = {}

    def embed_documents(self, texts: Sequence[str], on_progress: OnProgress | None = None) -> Vectors:
        """float32[n, dim], as the embedder behind makes them."""
        new = [each for each in dict.fromkeys(texts) if each not in self._vectors]
        if new:
            self._vectors.update(zip(new, super().embed_documents(new, on_progress), strict=True))
        if on_progress:
            on_progress(len(texts) - len(new))
        return np.stack([self._vectors[each] for each in texts])


AUDITED = 50
"""So many documents of a search are looked at for leaks, or all that it finds."""


@dataclass(frozen=True, slots=True)
class Installation:
    """One filled Kustos, asked in ids of the corpus.

    Attributes:
        ids: id of a document in Kustos to its id in the corpus.
        originals: files that take the place of documents; None where the corpus is taken in as it is.
        refused: documents that the pipeline refused, for instance because they hold no text; no search can find them.
    """

    kustos: Kustos
    embedder: RememberingEmbedder
    ids: Mapping[str, str]
    refused: tuple[str, ...]
    originals: Originals | None = None

    def found(self, caller: Caller, question: Question) -> list[str]:
        """Documents of the passages that a search releases, in the order of each one's best passage.

        As many as the service hands out at most; where these belong to fewer than `AUDITED` documents, further ones
        that a deeper search releases stand behind them.
        """
        scope = self.kustos.gate.scope_for(caller, PURPOSE)
        if scope is None:
            return []
        found: dict[str, None] = {}
        limit = MAX_PASSAGES
        while True:
            passages = self.kustos.retrieval.search_as(scope, question, limit, PURPOSE)
            found |= dict.fromkeys(chain.from_iterable(map(self._stands_for, passages)))
            if len(found) >= AUDITED or len(passages) < limit:
                return list(found)
            limit *= 4

    def _stands_for(self, passage: Passage) -> Sequence[str]:
        identifier = self.ids.get(passage.document.id)
        if identifier is not None:
            return [identifier]
        return self.originals.stands_for(passage.document.uri, passage.chunk) if self.originals else []

    def opened(self, caller: Caller, document: str) -> Opened:
        """What reading by id shows: of the metadata and the first passage both, one or none."""
        gate, scope = self.kustos.gate, self.kustos.gate.scope_for(caller, PURPOSE)
        identifier = document_id(caller.tenant, SOURCE, document)
        metadata = _released(lambda: gate.document(scope, identifier, PURPOSE))
        passage = _released(lambda: gate.passages(scope, identifier, (1, 1), PURPOSE))
        return Opened(metadata + passage)


@contextmanager
def installed(
    settings: Settings,
    corpus: Corpus,
    progress: SyncProgress,
    embedder: RememberingEmbedder | None = None,
    originals: Originals | None = None,
) -> Iterator[Installation]:
    """A new Kustos in a temporary folder that holds the corpus, and `originals` beside it; gone after the block.

    It uses the configured embedding model, or the vectors that `embedder` of another installation remembers, and the
    embedded stores whatever is configured.

    Raises:
        ModelUnavailable: the embedding model is not here.
    """
    with TemporaryDirectory(prefix="kustos-eval-") as home:
        own = replace(settings, home=Path(home), catalog_url="", qdrant_url="", qdrant_api_key="")
        with closing(open_kustos(own)) as kustos:
            source = embedder or RememberingEmbedder(kustos.embedder)

            def sync(connector: Connector, parse: Parse) -> list[str]:
                report = Ingestion(
                    own.tenant,
                    kustos.records.writer,
                    kustos.index_writer,
                    embedder=source,
                    lexical=kustos.lexical,
                    reader=DocumentReader(own.tenant, parse, Chunker.of_embedder(source), kustos.detector),
                ).sync(connector, progress=progress)
                return [f"{uri}: {reason}" for uri, reason in report.refused]

            refused = sync(corpus, parse)
            if originals:
                refused += sync(originals, originals.parse)
            ids = {document_id(own.tenant, SOURCE, each): each for each in corpus.ids}
            yield Installation(kustos, source, ids, tuple(refused), originals)


def _released(read: Callable[[], object]) -> bool:
    try:
        read()
    except NotFound:
        return False
    return True
