"""Builds the reading half of Kustos from settings. Nothing else creates stores, models or the gate."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rag.access.directory import Directory
from rag.access.explain import Explainer
from rag.access.gate import Gate
from rag.answering import Answering
from rag.documents import IndexProfile
from rag.errors import IndexMismatch
from rag.models.answerers import Answerers
from rag.models.embedders import open_embedder
from rag.models.extractive import ExtractiveAnswerer
from rag.models.language import LinguaDetector
from rag.models.lexical import Bm25Encoder
from rag.models.ollama import OllamaModels
from rag.models.registry import embedding_model, served_models
from rag.ports import ChunkWriter, Embedder, Index, LanguageDetector, LexicalEncoder
from rag.retrieval import Retrieval
from rag.settings import Settings
from rag.stores.catalog import Catalog, sqlite_url
from rag.stores.catalog_audit import CatalogAudit
from rag.stores.catalog_directory import CatalogDirectory
from rag.stores.catalog_reading import CatalogReader
from rag.stores.catalog_status import CatalogStatus
from rag.stores.catalog_writing import CatalogWriter
from rag.stores.edge import EdgeIndex
from rag.stores.qdrant import QdrantIndex

_BUILDING = ".building"


@dataclass(frozen=True, slots=True)
class Records:
    """What can be done without the index and without models: it opens beside a running service."""

    settings: Settings
    catalog: Catalog
    directory: CatalogDirectory
    status: CatalogStatus
    writer: CatalogWriter
    explainer: Explainer


@dataclass(frozen=True, slots=True)
class Kustos:
    """The reading half, open and ready. `writer` is the index's other face, for the sync; it cannot search."""

    records: Records
    embedder: Embedder
    lexical: LexicalEncoder
    detector: LanguageDetector
    gate: Gate
    retrieval: Retrieval
    answering: Answering
    answerers: Answerers
    index_writer: ChunkWriter
    points: Callable[[], int]
    close: Callable[[], None]


def open_records(settings: Settings) -> Records:
    """The catalog and what needs nothing else.

    Raises:
        Misconfigured, StoreUnavailable: the catalog cannot be opened.
    """
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    catalog = Catalog.open(settings.catalog_url or sqlite_url(settings.home / "catalog.db"))
    directory, reader = CatalogDirectory(catalog), CatalogReader(catalog)
    return Records(
        settings=settings,
        catalog=catalog,
        directory=directory,
        status=CatalogStatus(catalog, settings.tenant),
        writer=CatalogWriter(catalog, settings.tenant),
        explainer=Explainer(reader, Directory(directory), directory, reader),
    )


def open_kustos(settings: Settings, *, rebuild: bool = False) -> Kustos:
    """Everything that reads. With `rebuild` an empty index is begun beside the live one, whatever its profile.

    Raises:
        Misconfigured: a setting is wrong.
        ModelUnavailable: the embedding model is not there; the message has the command that fetches it.
        IndexMismatch: the index was built with another model; the message has the command that re-indexes.
        StoreUnavailable: catalog or index cannot be opened, for instance because a service holds the index.
    """
    records = open_records(settings)
    model, embedder = embedding_model(settings.embedder), open_embedder(settings)
    index = open_index(settings, embedder.profile, rebuild=rebuild)
    lexical, detector = Bm25Encoder(settings.languages), LinguaDetector(settings.languages)
    directory = Directory(records.directory)
    gate = Gate(index.reader, CatalogReader(records.catalog), directory, CatalogAudit(records.catalog))
    retrieval = Retrieval(gate, embedder, lexical, detector, model.covers)
    served = served_models(model, settings.chat_model)
    answerers = Answerers(OllamaModels(settings.ollama_url), ExtractiveAnswerer(embedder), served)

    def close() -> None:
        index.close()
        records.catalog.close()

    return Kustos(
        records=records,
        embedder=embedder,
        lexical=lexical,
        detector=detector,
        gate=gate,
        retrieval=retrieval,
        answering=Answering(retrieval, answerers.choose),
        answerers=answerers,
        index_writer=index.writer,
        points=index.points,
        close=close,
    )


def open_index(settings: Settings, profile: IndexProfile, *, rebuild: bool) -> Index:
    """The index of this profile: a folder or collection of its own, so that another model builds beside the live one.

    Raises:
        IndexMismatch: there is an index, but of another profile.
        StoreUnavailable: it cannot be opened.
    """
    name = f"{settings.tenant}-{profile.fingerprint()}"
    if settings.qdrant_url:
        return QdrantIndex.open(settings.qdrant_url, name, profile, api_key=settings.qdrant_api_key or None)
    folder = settings.home / "index"
    if rebuild:
        shutil.rmtree(folder / f"{name}{_BUILDING}", ignore_errors=True)
        return EdgeIndex.open(folder / f"{name}{_BUILDING}", profile)
    if not (folder / name).exists() and (other := _live_index(folder)):
        raise IndexMismatch(
            f"the index {other.name} was built with another embedding model than {profile.model}; "
            "re-index with: kustos ingest --rebuild"
        )
    return EdgeIndex.open(folder / name, profile)


def switch_index(settings: Settings, profile: IndexProfile) -> None:
    """Makes the index that a rebuild has completed the live one, and removes every other. Nothing may be open."""
    if settings.qdrant_url:
        return
    folder = settings.home / "index"
    name = f"{settings.tenant}-{profile.fingerprint()}"
    shutil.rmtree(folder / name, ignore_errors=True)
    (folder / f"{name}{_BUILDING}").rename(folder / name)
    for other in folder.iterdir():
        if other.name != name:
            shutil.rmtree(other)


def _live_index(folder: Path) -> Path | None:
    if not folder.exists():
        return None
    return next((each for each in sorted(folder.iterdir()) if not each.name.endswith(_BUILDING)), None)
