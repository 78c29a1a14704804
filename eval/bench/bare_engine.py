"""The baseline: Qdrant Edge without Kustos, set up and asked as somebody would who uses nothing else.

The same points, scanned as exactly, with the text in the payload; one call of the engine's own hybrid query (two
prefetches under the same filter, the same depth, fused by the engine) that returns ten passages. Its IDF is over the
whole collection, as the engine takes it: that betrays hidden passages, and is the faster way.
The only other module that knows qdrant_edge beside its adapters, because a baseline through our adapter would be none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from qdrant_edge import (
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    EdgeVectorParams,
    FieldCondition,
    Filter,
    Fusion,
    HnswIndexConfig,
    KeywordIndexParams,
    MatchAny,
    MatchValue,
    Modifier,
    PayloadSelector,
    Point,
    Prefetch,
    Query,
    QueryRequest,
    SearchParams,
    SparseVector,
    UpdateOperation,
)

from eval.bench.synthetic import DIMENSION, Written
from rag.access.scope import AccessScope
from rag.documents import Question

CITED = ["text", "title", "uri", "document", "version", "ordinal", "page", "heading_path", "start", "end"]
"""What a citation needs, and so what the catalog returns too."""
SEGMENT_KB = 65_536 * DIMENSION * 4 // 1024


class BareEngine:
    """One shard of Qdrant Edge, for the length of a `with` block."""

    def __init__(self, folder: Path) -> None:
        self._shard = EdgeShard.create(
            str(folder),
            EdgeConfig(
                vectors={"dense": EdgeVectorParams(size=DIMENSION, distance=Distance.Dot)},
                sparse_vectors={"bm25": EdgeSparseVectorParams(modifier=Modifier.Idf)},
                hnsw_config=HnswIndexConfig(m=0, ef_construct=100, full_scan_threshold=10_000),
                optimizers=EdgeOptimizersConfig(indexing_threshold=SEGMENT_KB),
            ),
        )
        for field in ("tenant", "allow", "deny"):
            keyword = KeywordIndexParams(is_tenant=field == "tenant")
            self._shard.update(UpdateOperation.create_field_index(field, keyword))

    def __enter__(self) -> BareEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._shard.close()

    def write(self, documents: Iterable[Written]) -> None:
        points = [point for each in documents for point in _points(each)]
        self._shard.update(UpdateOperation.upsert_points(points))

    def settle(self) -> None:
        self._shard.optimize()
        self._shard.flush()

    def search(self, scope: AccessScope, question: Question, *, depth: int, limit: int) -> Sequence[str]:
        """Texts of the best passages that the scope may read."""
        readable = _filter(scope)
        legs = [
            Prefetch(
                limit=depth,
                query=Query.Nearest(list(question.dense or ()), using="dense"),
                filter=readable,
                params=SearchParams(exact=True),
            ),
        ]
        if question.lexical:
            terms = SparseVector(indices=list(question.lexical.indices), values=list(question.lexical.values))
            legs.append(
                Prefetch(
                    limit=depth,
                    query=Query.Nearest(terms, using="bm25"),
                    filter=readable,
                )
            )
        found = self._shard.query(
            QueryRequest(
                limit=limit,
                prefetches=legs,
                query=Fusion.Dbsf(),  # type: ignore[arg-type]  # its stub forgets that it is a Fusion
                with_payload=PayloadSelector.Include(CITED),
            )
        )
        return [str((each.payload or {})["text"]) for each in found]


def _filter(scope: AccessScope) -> Filter:
    principals = [str(each) for each in sorted(scope.principals)]
    return Filter(
        must=[
            FieldCondition("tenant", match=MatchValue(scope.tenant)),
            FieldCondition("allow", match=MatchAny(principals)),
        ],
        must_not=[FieldCondition("deny", match=MatchAny(principals))],
    )


def _points(written: Written) -> Iterable[Point]:
    about = written.version.document
    for chunk, point in zip(written.version.chunks, written.points, strict=True):
        terms = SparseVector(indices=list(point.lexical.indices), values=list(point.lexical.values))
        payload = {
            "tenant": point.tenant,
            "allow": list(point.allow),
            "deny": list(point.deny),
            "text": chunk.text,
            "title": about.title,
            "uri": about.uri,
            "document": about.id,
            "version": about.version,
            "ordinal": chunk.ordinal,
            "page": chunk.page,
            "heading_path": list(chunk.heading_path),
            "start": chunk.start,
            "end": chunk.end,
        }
        yield Point(chunk.id, {"dense": list(point.dense), "bm25": terms}, payload)
