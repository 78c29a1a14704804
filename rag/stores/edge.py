"""The embedded index: Qdrant Edge, Qdrant's own engine inside this process. One process per folder.

Two properties of the engine decide how it is used (measured in docs/decisions/0002-index.md):

* It holds the interpreter for the whole of each call. So calls never overlap, threads need no lock of ours, and a graph
  that takes half a minute to build would stop the whole service for that time.
* A graph searched under a filter misses passages that the caller may read. So there is none: what the caller may read
  is scanned, about 0.4 ms a thousand passages. Every result is exact and independent of what is hidden.

Beyond some hundred thousand passages the server adapter is the right one.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from qdrant_edge import (
    CountRequest,
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    EdgeVectorParams,
    FieldCondition,
    Filter,
    HnswIndexConfig,
    KeywordIndexParams,
    MatchAny,
    Point,
    Query,
    QueryBatchRequest,
    QueryRequest,
    SearchParams,
    SparseVector,
    UpdateOperation,
)

from rag.access.acl import Acl
from rag.access.scope import AccessScope
from rag.documents import Candidate, IndexPoint, IndexProfile, Question
from rag.documents import SparseVector as TermWeights
from rag.errors import KustosError, StoreUnavailable
from rag.stores.access_filter import (
    ACL,
    DOCUMENT,
    FIELDS,
    TENANT,
    AccessFilter,
    AnyOf,
    access_filter,
    narrowed,
    refuse_unless_guarded,
)
from rag.stores.legs import Hit, LegQuery, candidates
from rag.stores.points import (
    DENSE,
    LEXICAL,
    checked_batches,
    describe,
    document_batches,
    payload,
    refuse_other_profile,
    rights,
)

SEGMENT_VECTORS = 65_536
"""Written points are merged into a compact segment above this number; below, scanning them is as fast as they are."""

_BYTES_A_NUMBER = 4
_PANIC = "PanicException"  # raised by the engine's Rust code; not an Exception, and its type cannot be imported


class EdgeIndex:
    """One open folder of the embedded engine."""

    def __init__(self, shard: EdgeShard, profile: IndexProfile) -> None:
        self._shard = shard
        self._profile = profile
        self._reader = EdgeReader(shard)
        self._writer = EdgeWriter(shard, profile.dimension)

    @classmethod
    def open(cls, path: Path, profile: IndexProfile) -> Self:
        """Opens the index in the folder `path`, and creates it if there is none.

        Raises:
            IndexMismatch: the folder holds an index with another profile, or with none.
            StoreUnavailable: another process has it open, or it cannot be read.
        """
        folder, record = path / "shard", path / "profile.json"
        with _engine(f"open the index in {path}"):
            path.mkdir(parents=True, exist_ok=True)
            if folder.exists() or record.exists():
                refuse_other_profile(_read(record), profile, f"in {path}")
            else:
                _write(record, profile)
            config = _config(profile.dimension)
            if not folder.exists():
                _create(folder, config)
            shard = EdgeShard.load(str(folder), config)
            indexed = shard.info().payload_schema
            for field in FIELDS:
                if field not in indexed:
                    keyword = KeywordIndexParams(is_tenant=field == TENANT)
                    shard.update(UpdateOperation.create_field_index(field, keyword))
        return cls(shard, profile)

    @property
    def reader(self) -> EdgeReader:
        return self._reader

    @property
    def writer(self) -> EdgeWriter:
        return self._writer

    @property
    def profile(self) -> IndexProfile:
        return self._profile

    def points(self) -> int:
        with _engine("count the points of the index"):
            return self._shard.count(CountRequest(exact=True))

    def close(self) -> None:
        """Ends the use of the folder. What is called afterwards raises StoreUnavailable."""
        with _engine("close the index"):
            self._shard.close()


class EdgeReader:
    """Searches, always within a scope."""

    def __init__(self, shard: EdgeShard) -> None:
        self._shard = shard

    def candidates(self, scope: AccessScope, question: Question, limit: int) -> Sequence[Candidate]:
        with _engine("search the index"):
            access = access_filter(scope)
            within = _guarded(scope, narrowed(access, question.narrow))

            def ask(queries: Sequence[LegQuery]) -> list[list[Hit]]:
                requests = [_request(each, within) for each in queries]
                found = self._shard.query_batch(QueryBatchRequest(requests))
                return [[Hit(str(each.id), each.score) for each in leg] for leg in found]

            return candidates(ask, question, limit)


class EdgeWriter:
    """Writes, and has no way to search or to read a payload.

    Every write is flushed to the disk before the call returns, about 15 ms: what the catalog believes to be in the
    index survives `kill -9` (the engine's log would do for that) and the loss of power (it would not).
    """

    def __init__(self, shard: EdgeShard, dimension: int) -> None:
        self._shard = shard
        self._dimension = dimension

    def upsert(self, points: Sequence[IndexPoint]) -> None:
        for batch in checked_batches(points, self._dimension):
            self._update(UpdateOperation.upsert_points([_point(each) for each in batch]))

    def delete(self, chunk_ids: Sequence[str]) -> None:
        if chunk_ids:
            self._update(UpdateOperation.delete_points(list(chunk_ids)))

    def set_acl(self, acl_id: str, acl: Acl) -> None:
        governed = Filter(must=[_condition(AnyOf(ACL, (acl_id,)))])
        self._update(UpdateOperation.set_payload_by_filter(governed, rights(acl)))

    def move(self, document_ids: Sequence[str], acl_id: str, acl: Acl) -> None:
        for moved in document_batches(document_ids):
            chosen = Filter(must=[_condition(AnyOf(DOCUMENT, moved))])
            self._update(UpdateOperation.set_payload_by_filter(chosen, {ACL: acl_id, **rights(acl)}))

    def settle(self) -> None:
        """Compacts what was deleted or grew large: rarely, and then this process stands still, 4 s a 100,000 points."""
        with _engine("settle the index"):
            self._shard.optimize()
            self._shard.flush()

    def _update(self, operation: UpdateOperation) -> None:
        with _engine("write to the index"):
            self._shard.update(operation)
            self._shard.flush()


def _config(dimension: int) -> EdgeConfig:
    return EdgeConfig(
        vectors={DENSE: EdgeVectorParams(size=dimension, distance=Distance.Dot)},
        sparse_vectors={LEXICAL: EdgeSparseVectorParams()},
        hnsw_config=HnswIndexConfig(m=0, ef_construct=100, full_scan_threshold=10_000),  # m=0: no graph
        optimizers=EdgeOptimizersConfig(indexing_threshold=SEGMENT_VECTORS * dimension * _BYTES_A_NUMBER // 1024),
    )


def _create(folder: Path, config: EdgeConfig) -> None:
    """An empty shard, whole or not at all: the engine can neither open nor create over half of one."""
    draft = Path(tempfile.mkdtemp(prefix="creating-", dir=folder.parent))
    EdgeShard.create(str(draft), config).close()
    draft.rename(folder)


def _point(point: IndexPoint) -> Point:
    terms = SparseVector(indices=list(point.lexical.indices), values=list(point.lexical.values))
    return Point(point.chunk_id, {DENSE: list(point.dense), LEXICAL: terms}, payload(point))


def _request(query: LegQuery, within: Filter) -> QueryRequest:
    """One search `within` the access filter."""
    if isinstance(query.vector, TermWeights):
        terms = SparseVector(indices=list(query.vector.indices), values=list(query.vector.values))
        nearest, params = Query.Nearest(terms, using=LEXICAL), None
    else:
        nearest, params = Query.Nearest(list(query.vector), using=DENSE), SearchParams(exact=True)
    return QueryRequest(limit=query.limit, query=nearest, filter=within, params=params)


def _guarded(scope: AccessScope, access: AccessFilter) -> Filter:
    filter_ = Filter(
        must=[_condition(each) for each in access.must],
        must_not=[_condition(each) for each in access.must_not],
    )
    refuse_unless_guarded(scope, _read_back(filter_.must), _read_back(filter_.must_not))
    return filter_


def _condition(condition: AnyOf) -> FieldCondition:
    return FieldCondition(condition.field, match=MatchAny(list(condition.values)))


def _read_back(conditions: Sequence[object] | None) -> dict[str, list[str]]:
    """Field and values of the conditions that the engine was handed."""
    return {
        each.key: [str(value) for value in each.match.value]
        for each in conditions or ()
        if isinstance(each, FieldCondition) and isinstance(each.match, MatchAny)
    }


def _read(record: Path) -> object:
    """The stored profile; None where there is none that can be read."""
    try:
        return json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _write(record: Path, profile: IndexProfile) -> None:
    """Written whole or not at all: an index without its profile is refused for ever."""
    draft = record.with_suffix(".new")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(describe(profile), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(record)


@contextmanager
def _engine(doing: str) -> Iterator[None]:
    """Everything that the engine or the disk raises becomes StoreUnavailable. The engine's own errors have no type."""
    try:
        yield
    except KustosError:
        raise
    except Exception as error:
        if "WouldBlock" in str(error):
            raise StoreUnavailable(
                f"cannot {doing}: another Kustos process is using it. Stop that process, or let it do the work"
            ) from error
        raise StoreUnavailable(f"cannot {doing}: {error}") from error
    except BaseException as error:
        if type(error).__name__ != _PANIC:
            raise
        raise StoreUnavailable(f"cannot {doing}: the engine stopped on an error of its own: {error}") from error
