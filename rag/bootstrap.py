"""Builds the reading half of Kustos from settings. Nothing else creates stores, models or the gate."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rag.access.audit_chain import Seal
from rag.access.break_glass import NO_GRANTS
from rag.access.directory import Directory
from rag.access.explain import Explainer
from rag.access.gate import Gate
from rag.answering import Answering
from rag.documents import IndexProfile
from rag.errors import IndexMismatch, Misconfigured, StoreUnavailable
from rag.home import refuse_closed
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
from rag.stores.audit_notes import Notes, load_secret
from rag.stores.catalog import Catalog, sqlite_url
from rag.stores.catalog_audit import CatalogAudit, KeepText
from rag.stores.catalog_audit_keeping import AuditKeeping
from rag.stores.catalog_audit_trail import AuditTrail
from rag.stores.catalog_directory import CatalogDirectory
from rag.stores.catalog_grants import CatalogGrants
from rag.stores.catalog_history import CatalogHistory
from rag.stores.catalog_indexes import CatalogIndexes
from rag.stores.catalog_keys import CatalogKeys
from rag.stores.catalog_limits import CatalogLimits
from rag.stores.catalog_reading import CatalogReader
from rag.stores.catalog_realm import CatalogRealm
from rag.stores.catalog_sessions import CatalogSessions
from rag.stores.catalog_status import CatalogStatus
from rag.stores.catalog_writing import CatalogWriter
from rag.stores.edge import EdgeIndex
from rag.stores.lease import FileLease
from rag.stores.live_index import LiveIndex
from rag.stores.syslog import Syslog

REINDEX = "kustos ingest --rebuild"
WRITING = "writing"
"""Name of the lease under which sync and rebuild write: one at a time for a tenant, over all processes of a catalog."""
INDEX_HELD = (
    "another Kustos process uses the index in {folder}; wait for it, or start `kustos serve` first: "
    "then ingest, search and ask go through it side by side"
)


@dataclass(frozen=True, slots=True)
class Records:
    """What can be done without the index and without models: it opens beside a running service."""

    settings: Settings
    catalog: Catalog
    directory: CatalogDirectory
    status: CatalogStatus
    writer: CatalogWriter
    explainer: Explainer
    indexes: CatalogIndexes
    realm: CatalogRealm
    history: CatalogHistory
    sessions: CatalogSessions
    keys: CatalogKeys
    limits: CatalogLimits
    audit: CatalogAudit
    trail: AuditTrail
    keeping: AuditKeeping
    syslog: Syslog | None
    grants: CatalogGrants | None

    def close(self) -> None:
        if self.syslog:
            self.syslog.close()
        self.catalog.close()


@dataclass(frozen=True, slots=True)
class Kustos:
    """The reading half, open and ready. `index_writer` is the index's other face, for the sync; it cannot search.

    `check_index` raises StoreUnavailable once a rebuild elsewhere has put another index into the place of this one.
    """

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
    check_index: Callable[[], None]
    close: Callable[[], None]


def open_records(settings: Settings) -> Records:
    """The catalog and what needs nothing else.

    Raises:
        Misconfigured: the home folder cannot be made or opened, or the audit's key cannot be used.
        Misconfigured, StoreUnavailable: the catalog cannot be opened.
    """
    refuse_closed(settings.home)
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(
            f"the home folder {settings.home.absolute()} cannot be made ({error.strerror}); see KUSTOS_HOME"
        ) from error
    catalog = Catalog.open(settings.catalog_url or sqlite_url(settings.home / "catalog.db"))
    directory, reader = CatalogDirectory(catalog), CatalogReader(catalog)
    seal, notes = Seal(load_secret(settings.home, settings.audit_key)), Notes(settings.home)
    syslog = Syslog(settings.audit_syslog) if settings.audit_syslog else None
    audit = CatalogAudit(
        catalog,
        seal,
        notes,
        keep_text=KeepText(settings.audit_text),
        names_days=settings.audit_names_days,
        forward=syslog.send if syslog else None,
    )
    trail = AuditTrail(catalog, seal, notes, settings.tenant)
    hours = settings.break_glass_hours
    grants = CatalogGrants(catalog, audit, settings.tenant, hours) if hours else None
    return Records(
        settings=settings,
        catalog=catalog,
        directory=directory,
        status=CatalogStatus(catalog, settings.tenant),
        writer=CatalogWriter(catalog, settings.tenant),
        explainer=Explainer(reader, Directory(directory), directory, reader, grants or NO_GRANTS),
        grants=grants,
        indexes=CatalogIndexes(catalog, settings.tenant),
        realm=CatalogRealm(catalog, settings.tenant, settings.realm),
        history=CatalogHistory(catalog, settings.tenant),
        sessions=CatalogSessions(catalog, settings.tenant),
        keys=CatalogKeys(catalog, settings.tenant),
        limits=CatalogLimits(catalog, settings.tenant),
        audit=audit,
        trail=trail,
        keeping=AuditKeeping(catalog, seal, audit, trail, settings.tenant, least_days=settings.audit_prune_days),
        syslog=syslog,
    )


def end_grants(records: Records, *, by: str) -> int:
    """Revokes every break-glass grant, for where it is off: switched on again, none is in force. How many there were.

    Raises:
        StoreUnavailable: the catalog does not answer.
    """
    return CatalogGrants(records.catalog, records.audit, records.settings.tenant, 0).revoke_all(by=by)


def open_kustos(settings: Settings, embedder: Embedder | None = None) -> Kustos:
    """Everything that reads; with an `embedder` that other tenants use too, where there is one.

    Raises:
        Misconfigured: a setting is wrong.
        ModelUnavailable: the embedding model is not there; the message has the command that fetches it.
        IndexMismatch: the index was built with another model; the message has the command that re-indexes.
        StoreUnavailable: catalog or index cannot be opened, for instance because a service holds the index.
    """
    records = open_records(settings)
    records.audit.check_key(settings.tenant)
    model, embedder = embedding_model(settings.embedder), embedder or open_embedder(settings)
    index = open_index(records, embedder.profile)
    lexical, detector = open_languages(settings)
    directory = Directory(records.directory)
    gate = Gate(index.reader, CatalogReader(records.catalog), directory, records.audit, records.grants or NO_GRANTS)
    retrieval = Retrieval(gate, embedder, lexical, detector, model.covers)
    served = served_models(model, settings.chat_model)
    answerers = Answerers(OllamaModels(settings.ollama_url), ExtractiveAnswerer(embedder), served)

    def close() -> None:
        index.close()
        records.close()

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
        check_index=index.check,
        close=close,
    )


def open_languages(settings: Settings) -> tuple[LexicalEncoder, LanguageDetector]:
    """What knows the languages of the settings: term weights, and which language a text is in."""
    return Bm25Encoder(settings.languages), LinguaDetector(settings.languages)


def open_index(records: Records, profile: IndexProfile) -> LiveIndex:
    """The live index of this catalog; a new one where the catalog has no passages yet.

    Raises:
        IndexMismatch: the catalog's index has another profile, or is gone; the message has the command that re-indexes.
        StoreUnavailable: it cannot be opened.
    """
    shelf, live = _Shelf(records.settings), records.indexes.live()
    if live is not None and live[1] != profile:
        raise IndexMismatch(
            f"the index was built with {live[1].model} ({live[1].dimension} dimensions), and the setting is "
            f"{profile.model}; go back to that model, or re-index with: {REINDEX}"
        )
    if records.status.passages() and (live is None or not shelf.exists(live[0])):
        raise IndexMismatch(f"the catalog holds passages, but its index is gone; re-index with: {REINDEX}")
    name = live[0] if live else _begin(records, profile)
    return LiveIndex(shelf.open(name, profile), name, records.indexes.live_name, records.settings.tenant)


def _begin(records: Records, profile: IndexProfile) -> str:
    """The name of the first index, the same for all processes that begin at once."""
    with records.catalog.lease("beginning", records.settings.tenant):
        live = records.indexes.live()
        name = live[0] if live else _new_name(records.settings)
        if live is None:
            records.indexes.set_live(name, profile)
    return name


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A new live index. `left_behind`: which indexes without use could not be removed, each with the reason."""

    passages: int
    left_behind: tuple[str, ...]


def rebuild_index(records: Records, profile: IndexProfile, fill: Callable[[ChunkWriter], int]) -> Rebuilt:
    """Fills a new index beside the live one, makes it the live one, and only then removes the old one.

    What earlier rebuilds left is removed too. Only for who holds the lease for writing. A service that has the old
    index open (of another home, or of any home where the index is on a Qdrant server) answers 503 from then on, and
    takes nothing in, until it is started again.

    Raises:
        StoreUnavailable: a store does not answer, or a service of this home has the embedded index open; the live
            index stays, and what there is of the new one is removed.
    """
    shelf, name = _Shelf(records.settings), _new_name(records.settings)
    records.indexes.begin(name)
    try:
        index = shelf.open(name, profile)
        try:
            _remove(records, shelf, records.indexes.dead() - {name})  # first, because the new one needs the room
            passages = fill(index.writer)
            records.indexes.set_live(name, profile)
            return Rebuilt(passages, _remove(records, shelf, records.indexes.dead()))
        finally:
            index.close()
    except BaseException:
        with suppress(StoreUnavailable):  # its name is on record, so the next rebuild finds it
            _remove(records, shelf, records.indexes.dead() & {name})
        raise


def _remove(records: Records, shelf: _Shelf, names: Iterable[str]) -> tuple[str, ...]:
    """Removes indexes. A name under which nothing is here stays on record: it may be the embedded one of another home.

    Returns:
        Why those that are left could not be removed.
    """
    left = []
    for name in sorted(names):
        try:
            if shelf.exists(name):
                shelf.remove(name)
                records.indexes.forget(name)
        except StoreUnavailable as error:
            left.append(str(error))
    return tuple(left)


def remove_indexes(records: Records) -> int:
    """Removes every index that was ever begun for this tenant, the live one too; how many there were.

    Raises:
        StoreUnavailable: one of them could not be removed. The rest is left for the next attempt.
    """
    shelf, live = _Shelf(records.settings), records.indexes.live_name()
    names = [each for each in sorted(records.indexes.dead() | ({live} if live else set())) if shelf.exists(each)]
    for each in names:
        shelf.remove(each)
    return len(names)


def index_lock(settings: Settings) -> Path:
    """The file that a process of this home locks while it has the embedded index open."""
    return settings.home / "index" / "lock"


class _Shelf:
    """Where indexes lie: folders of this home, or collections of a Qdrant server."""

    def __init__(self, settings: Settings) -> None:
        self._lock = index_lock(settings)
        self._folder = self._lock.parent
        self._server = settings.qdrant_url
        self._key = settings.qdrant_api_key or None

    def exists(self, name: str) -> bool:
        if self._server:
            from rag.stores.qdrant import QdrantIndex  # loading the client takes longer than a search

            return QdrantIndex.exists(self._server, name, api_key=self._key)
        return (self._folder / name).exists()

    def open(self, name: str, profile: IndexProfile) -> Index:
        if self._server:
            from rag.stores.qdrant import QdrantIndex

            return QdrantIndex.open(self._server, name, profile, api_key=self._key)
        lease = FileLease.take(self._lock, INDEX_HELD.format(folder=self._folder))
        try:
            return LeasedIndex(EdgeIndex.open(self._folder / name, profile), lease)
        except BaseException:
            lease.release()
            raise

    def remove(self, name: str) -> None:
        if self._server:
            from rag.stores.qdrant import QdrantIndex

            QdrantIndex.remove(self._server, name, api_key=self._key)
            return
        try:
            shutil.rmtree(self._folder / name)
        except OSError as error:
            raise StoreUnavailable(f"cannot remove the index {self._folder / name}: {error.strerror}") from error


def _new_name(settings: Settings) -> str:
    """A name that no other home and no earlier rebuild has used."""
    return f"{settings.tenant}-{secrets.token_hex(8)}"


class LeasedIndex:
    """An embedded index together with the right to it, so that a rebuild cannot begin beside a running service."""

    def __init__(self, index: Index, lease: FileLease) -> None:
        self._index = index
        self._lease = lease
        self.reader, self.writer, self.profile = index.reader, index.writer, index.profile

    def points(self) -> int:
        """Number of stored points, for operators only."""
        return self._index.points()

    def close(self) -> None:
        """Closes the index, then gives the right back."""
        self._index.close()
        self._lease.release()
