"""From a source to the index: list, plan, then for each document fetch, parse, chunk, embed, write.

Order and crash safety (DESIGN section 8): rights that tighten are committed before anything is read; then moves under
other governing places, then deletions, then content. The catalog's commit is the moment at which a version becomes
current. Points are written before it and announced before that, so that whatever a crash leaves in the index without a
commit is taken out again by the next run; what the catalog has dropped is never released, even while its points remain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event
from time import perf_counter
from typing import TypeVar

from connectors.base import Connector, Item, Listing, Problem
from ingest.plan import AccessChange, Plan, plan
from ingest.progress import Silent, SyncProgress
from ingest.read_ahead import ReadAhead
from ingest.reading import DocumentReader
from rag.access.acl import Acl
from rag.documents import Chunk, IndexPoint, SparseVector, acl_id
from rag.errors import BadInput, ModelUnavailable, NotFound, RefusalReason, Unavailable
from rag.ports import ChunkWriter, Embedder, LexicalEncoder, OnProgress
from rag.stores.catalog_writing import CatalogWriter, NewVersion, Place, Refusal, TaskKind

CHUNKS_A_BATCH = 128  # embedded and committed together; fewer lose less at a crash
CHUNKS_AT_LEAST = 16  # so many are not kept waiting for more where the readers are slower than the embedder
CHUNKS_AHEAD = 4 * CHUNKS_A_BATCH  # read and waiting to be embedded
POINTS_A_WRITE = 1_000
PROBE = "Does the model answer?"
BY_THE_MODEL = "model"  # decides anew in every run: nobody can tell a text that it never embeds from a passing failure

_T = TypeVar("_T")


@dataclass(slots=True)
class SyncReport:
    """What one sync did.

    Attributes:
        still_refused: items that could not be read before and are as they were.
        written: documents taken in; `inside` of them were inside a listed item.
        refused: uri and reason of items, and of files inside them, that could not be read.
        partly_read: uri of documents of which something was left out, and what.
        deferred: uris of items that changed under the reader and are left to the next run.
        unavailable: known documents that the source could not show now; nobody sees them until it does.
        unconfirmed: documents that are missing in suspicious numbers; nobody sees them until an operator confirms.
        embedded: texts that were really embedded; chunks that an edit left alone are not.
    """

    source: str
    listed: int = 0
    unchanged: int = 0
    still_refused: int = 0
    written: int = 0
    inside: int = 0
    rights_changed: int = 0
    moved: int = 0
    deleted: int = 0
    unavailable: int = 0
    unconfirmed: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    partly_read: list[tuple[str, str]] = field(default_factory=list)
    deferred: list[str] = field(default_factory=list)
    problems: tuple[Problem, ...] = ()
    chunks: int = 0
    embedded: int = 0
    seconds: float = 0.0


class Ingestion:
    """Brings catalog and index to the state of a source. One at a time per tenant.

    Args:
        readers: items read at the same time, while others are embedded.
        stop: set by whoever wants a sync to end early; what it had not committed is left to the next run.
    """

    def __init__(
        self,
        tenant: str,
        catalog: CatalogWriter,
        index: ChunkWriter,
        *,
        embedder: Embedder,
        lexical: LexicalEncoder,
        reader: DocumentReader,
        readers: int = 2,
        stop: Event | None = None,
    ) -> None:
        self._tenant = tenant
        self._catalog = catalog
        self._index = index
        self._embedder = embedder
        self._lexical = lexical
        self._reader = reader
        self._readers = readers
        self._stop = stop or Event()

    def sync(
        self,
        connector: Connector,
        *,
        root: str = "",
        moved: bool = False,
        confirm_deletions: bool = False,
        progress: SyncProgress | None = None,
    ) -> SyncReport:
        """One full sync of a source.

        Args:
            root: where the source is, remembered with it; empty where a source has no such place.
            moved: an operator has confirmed that the source is at another `root` than before.

        Raises:
            BadInput: the source was at another `root` before; nothing was listed.
            SourceUnavailable: the source cannot be listed, or looks emptied; nothing was deleted.
            ModelUnavailable, StoreUnavailable: what was committed stays; the next run goes on from there.
            Unavailable: `stop` was set; the same holds.
        """
        progress, started = progress or Silent(), perf_counter()
        source = connector.source
        if not moved:
            self._refuse_another_root(source, root)
        self._go_on()
        listing = connector.list(self._catalog.cursor(source) or "")
        self._go_on()
        applied = self._applied(listing)
        if applied == self._catalog.applied(source) and root == self._catalog.root(source):
            return self._nothing_to_do(listing, source, applied, started)
        planned = self._plan(source, listing, confirm_deletions=confirm_deletions)
        report = SyncReport(
            source,
            listed=len(listing.items),
            unchanged=planned.unchanged,
            still_refused=planned.still_refused,
            rights_changed=len({each.reference for each in planned.access}),
            moved=len(planned.regoverned),
            deleted=len(planned.gone),
            unavailable=planned.unavailable,
            unconfirmed=planned.unconfirmed,
            problems=listing.problems,
        )
        self._catalog.begin(source, type(connector).__name__, root)
        self._govern(source, listing, planned)
        self._read_and_write(connector, (*(each.item for each in planned.changed), *planned.new), report, progress)
        self.follow()
        self._index.settle()
        self._catalog.forget_places(source, listing.access)
        left = report.deferred or report.refused or report.unavailable or report.unconfirmed
        self._catalog.complete(source, listing.cursor, "" if left else applied)
        report.seconds = perf_counter() - started
        return report

    def _govern(self, source: str, listing: Listing, planned: Plan) -> None:
        """Everything but content: rights shrink, documents move and leave, rights grow; and the index follows."""
        self._set_places(source, listing, planned.tightening)
        self._catalog.regovern(
            {each.document_id: acl_id(self._tenant, source, each.reference) for each in planned.regoverned}
        )
        self._catalog.remove(planned.gone)
        self._set_places(source, listing, planned.loosening)
        self._name_origins(source, listing)
        self.follow()

    def _applied(self, listing: Listing) -> str:
        """Names the listing together with what reads and decides now: where both are the same, so is the plan."""
        today = self._reader.today
        told = "\0".join((listing.fingerprint(), today.decided_by, today.read_by))
        return hashlib.sha256(told.encode()).hexdigest()

    def _nothing_to_do(self, listing: Listing, source: str, applied: str, started: float) -> SyncReport:
        """The sync of a listing that an earlier sync left no work of; it does not look at the documents one by one."""
        self.follow()
        refused, listed = self._catalog.refused_items(source), len(listing.items)
        report = SyncReport(source, listed, listed - refused, refused, problems=listing.problems)
        self._catalog.complete(source, listing.cursor, applied)
        report.seconds = perf_counter() - started
        return report

    def forget(self, source: str) -> int:
        """Takes a source out of catalog and index with everything that came from it. Returns how many items it had.

        Whatever a crash leaves, a second attempt removes.

        Raises:
            NotFound: there is no such source.
            StoreUnavailable, Unavailable: what was committed stays.
        """
        was_known, items = self._catalog.disown(source), self._catalog.known(source)
        if not was_known and not items:
            raise NotFound(f"there is no source {source!r}; `kustos status` lists those that there are")
        self._catalog.remove([each.document_id for each in items])
        self._catalog.forget_places(source, ())
        self.follow()
        self._index.settle()
        return len(items)

    def write(self, versions: Sequence[NewVersion], on_embedded: OnProgress | None = None) -> int:
        """Embeds what is new in `versions`, writes its points, makes the versions current. Returns texts embedded."""
        families = [each for version in versions for each in version.family]
        known = self._catalog.chunk_ids([each.document.id for each in families])
        fresh = [(each.document, chunk) for each in families for chunk in each.chunks if chunk.id not in known]
        if fresh:
            self._catalog.intend([chunk.id for _, chunk in fresh])
            places = {each.document.acl_id: self._catalog.acl_of(each.document.acl_id) for each in versions}
            self._write_points(
                ((chunk, about.source, about.acl_id, places[about.acl_id]) for about, chunk in fresh),
                on_embedded,
            )
        chunks = [chunk for each in families for chunk in each.chunks]
        self._catalog.commit(versions, {each.id: self._terms(each).indices for each in chunks})
        return len(fresh)

    def follow(self) -> None:
        """Lets the index follow the catalog: works off every open index task, oldest first."""
        while tasks := self._catalog.tasks():
            self._go_on()
            for task in tasks:
                match task.kind:
                    case TaskKind.SETTLE:
                        self._index.delete(self._catalog.not_current(task.subject))
                    case TaskKind.REPERMIT:
                        self._index.set_acl(task.subject[0], self._catalog.acl_of(task.subject[0]))
                    case TaskKind.MOVE:
                        self._follow_move(task.subject)
            self._catalog.done([task.id for task in tasks])

    def rebuild(self, on_embedded: OnProgress | None = None) -> int:
        """Fills an empty index from the catalog, without touching the sources. Returns passages written."""
        number = self._write_points(self._counted_anew(), on_embedded)
        self._index.settle()
        return number

    def _counted_anew(self) -> Iterator[tuple[Chunk, str, str, Acl]]:
        """Everything in the catalog; its terms are counted as the lexical index will have them."""
        for batch in _batches(self._catalog.everything(), POINTS_A_WRITE):
            self._catalog.recount({chunk.id: self._terms(chunk).indices for chunk, *_ in batch})
            yield from batch

    def _terms(self, chunk: Chunk) -> SparseVector:
        return self._lexical.document(chunk.indexed_text, chunk.language)

    def _refuse_another_root(self, source: str, root: str) -> None:
        before = self._catalog.root(source)
        if before and root and root != before:
            raise BadInput(
                f"source {source} was taken in from {before}, and now from {root}: every document would count as "
                "missing. If the folder has moved, add --moved; if it is another one, give it another --source"
            )

    def _plan(self, source: str, listing: Listing, *, confirm_deletions: bool) -> Plan:
        known = self._catalog.known(source, self._reader.today)
        return plan(known, self._catalog.places(source), listing, confirm_deletions=confirm_deletions)

    def _set_places(self, source: str, listing: Listing, changes: Iterable[AccessChange]) -> None:
        places = []
        for change in changes:
            entry = listing.access.get(change.reference)
            origin, problem = (entry.origin, entry.problem) if entry else ("not in the source any more", None)
            places.append(Place(change.reference, change.acl, origin, problem))
        if places:
            self._catalog.set_places(source, places)

    def _name_origins(self, source: str, listing: Listing) -> None:
        """Keeps up to date where rights come from and what is wrong with them, also where they stay as they are."""
        self._catalog.set_places(
            source, [Place(each.reference, each.acl, each.origin, each.problem) for each in listing.access.values()]
        )

    def _read_and_write(
        self, connector: Connector, items: Sequence[Item], report: SyncReport, progress: SyncProgress
    ) -> None:
        progress.listed(len(items))
        waiting: list[NewVersion] = []
        reading = ReadAhead(
            items,
            partial(self._reader.read, connector),
            readers=self._readers,
            weigh=lambda read: read.passages,
            budget=CHUNKS_AHEAD,
        )
        with closing(iter(reading)) as results:
            for read in results:
                self._go_on()
                progress.read(read.item.name)
                if read.refusal:
                    self._catalog.refuse(read.refusal)
                elif not read.version:
                    report.deferred.append(read.item.uri)
                    continue
                else:
                    waiting.append(read.version)
                    progress.chunked(read.passages)
                report.refused += map(_told, read.refusals)
                chunks = sum(len(each.chunks) for version in waiting for each in version.family)
                if chunks >= (CHUNKS_A_BATCH if reading.ready else CHUNKS_AT_LEAST):
                    self._flush(waiting, report, progress)
        self._flush(waiting, report, progress)

    def _flush(self, waiting: list[NewVersion], report: SyncReport, progress: SyncProgress) -> None:
        if not waiting:
            return
        try:
            self._write_counted(waiting, report, progress.embedded)
        except (ModelUnavailable, BadInput):
            self._embedder.embed_documents([PROBE])  # a model that does not even embed this is down: raised as it is
            for each in waiting:
                self._write_or_refuse(each, report)
        waiting.clear()
        self.follow()

    def _write_counted(
        self, versions: Sequence[NewVersion], report: SyncReport, on_embedded: OnProgress | None = None
    ) -> None:
        report.embedded += self.write(versions, on_embedded)
        families = [each for version in versions for each in version.family]
        report.written += len(families)
        report.inside += len(families) - len(versions)
        report.partly_read += [(each.document.uri, each.unread) for each in families if each.unread]
        report.chunks += sum(len(each.chunks) for each in families)

    def _write_or_refuse(self, version: NewVersion, report: SyncReport) -> None:
        """One document by itself, so that a text that the model cannot embed costs its document and no other."""
        self._go_on()
        try:
            self._write_counted([version], report)
        except (ModelUnavailable, BadInput):
            self._embedder.embed_documents([PROBE])
            self._write_what_can_be_embedded(version, report)

    def _write_what_can_be_embedded(self, version: NewVersion, report: SyncReport) -> None:
        """The document without those inside it that the model refuses; not at all if it refuses the document itself."""
        refused = {each.document.id: told for each in version.family if (told := self._refused_by_model(each))}
        report.refused += map(_told, refused.values())
        if itself := refused.get(version.document.id):
            self._catalog.refuse(itself)
            return
        inside = tuple(each for each in version.inside if each.document.id not in refused)
        self._write_counted([replace(version, inside=inside, refused=(*version.refused, *refused.values()))], report)

    def _refused_by_model(self, version: NewVersion) -> Refusal | None:
        try:
            self._embedder.embed_documents([each.indexed_text for each in version.chunks])
        except (ModelUnavailable, BadInput) as error:
            about = version.document
            return Refusal(
                document_id=about.id,
                source=about.source,
                item_id=version.item_id,
                uri=about.uri,
                change_token=version.change_token,
                acl_id=about.acl_id,
                reason=RefusalReason.NOT_EMBEDDED,
                detail=str(error),
                decided_by=BY_THE_MODEL,
                parent_id=about.parent_id,
            )
        return None

    def _write_points(self, chunks: Iterable[tuple[Chunk, str, str, Acl]], on_embedded: OnProgress | None) -> int:
        number = 0
        for batch in _batches(chunks, POINTS_A_WRITE):
            vectors = self._embedder.embed_documents(
                [each.indexed_text for each, *_ in batch], partial(self._embedded, on_embedded)
            )
            self._index.upsert(
                [
                    IndexPoint(
                        chunk_id=chunk.id,
                        document_id=chunk.document_id,
                        source=source,
                        language=chunk.language,
                        tenant=self._tenant,
                        acl_id=place,
                        allow=tuple(sorted(acl.allow)),
                        deny=tuple(sorted(acl.deny)),
                        dense=tuple(vector.tolist()),
                        lexical=self._terms(chunk),
                    )
                    for (chunk, source, place, acl), vector in zip(batch, vectors, strict=True)
                ]
            )
            number += len(batch)
        return number

    def _embedded(self, tell: OnProgress | None, number: int) -> None:
        self._go_on()
        if tell:
            tell(number)

    def _go_on(self) -> None:
        """Raises Unavailable once `stop` is set. Called where a sync may end as if it had crashed, only in peace."""
        if self._stop.is_set():
            raise Unavailable("the service is stopping; what is committed stays, and the next run goes on from there")

    def _follow_move(self, documents: Sequence[str]) -> None:
        for place, moved in self._catalog.governed(documents).items():
            self._index.move(moved, place, self._catalog.acl_of(place))


def _told(refusal: Refusal) -> tuple[str, str]:
    return refusal.uri, f"{refusal.reason.value}: {refusal.detail}"


def _batches(values: Iterable[_T], size: int) -> Iterator[list[_T]]:
    batch: list[_T] = []
    for value in values:
        batch.append(value)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
