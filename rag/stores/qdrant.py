"""The index on a Qdrant server: the same engine and the same queries as the embedded one, over REST.

The server has its own threads, so it may keep a graph and build it in the background. Under a filter that graph is
searched with ACORN and a wide beam, and the blocks of the filtered fields have links of their own in it: without these,
readable passages are missed (measured in docs/decisions/0002-index.md). Strict mode refuses a filter on a field
that has no index (FB-04).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Self, cast

from qdrant_client import QdrantClient, models

from rag.access.acl import Acl
from rag.access.scope import AccessScope
from rag.documents import Candidate, IndexPoint, IndexProfile, Question
from rag.documents import SparseVector as TermWeights
from rag.errors import KustosError, Misconfigured, StoreUnavailable
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

TIMEOUT_S = 10
OLDEST_SERVER = (1, 19)
"""The engine that is embedded is as old. An older server ignores what it does not know without a word (FB-11)."""

SCAN_KB = 1_000
"""Readable sets of vectors up to this size are scanned; blocks above it get links of their own in the graph."""

_PROFILE = "kustos_profile"
_WALK = models.SearchParams(hnsw_ef=512, acorn=models.AcornSearchParams(enable=True, max_selectivity=1.0))


class QdrantIndex:
    """One open collection of a Qdrant server."""

    def __init__(self, client: QdrantClient, collection: str, profile: IndexProfile) -> None:
        self._client = client
        self._collection = collection
        self._profile = profile
        self._reader = QdrantReader(client, collection)
        self._writer = QdrantWriter(client, collection, profile.dimension)

    @classmethod
    def open(
        cls, server: str | QdrantClient, collection: str, profile: IndexProfile, *, api_key: str | None = None
    ) -> Self:
        """Opens `collection` on `server` (an address, or a client made elsewhere), and creates it if there is none.

        Raises:
            IndexMismatch: the collection has another profile, or none.
            Misconfigured: the server is too old to keep ranking independent of what is hidden.
            StoreUnavailable: the server does not answer, or refuses the key.
        """
        with _server(f"open the collection {collection}"):
            client = server if isinstance(server, QdrantClient) else _connect(server, api_key)
            _refuse_old_server(client.info().version)
            if not client.collection_exists(collection):
                _create(client, collection, profile)
            info = client.get_collection(collection)
            refuse_other_profile((info.config.metadata or {}).get(_PROFILE), profile, f"{collection} on the server")
            for field in FIELDS:
                if field not in info.payload_schema:
                    keyword = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=field == TENANT)
                    client.create_payload_index(collection, field, field_schema=keyword, wait=True)
        return cls(client, collection, profile)

    @staticmethod
    def exists(server: str | QdrantClient, collection: str, *, api_key: str | None = None) -> bool:
        """Whether the server has such a collection.

        Raises:
            StoreUnavailable: the server does not answer, or refuses the key.
        """
        with _server(f"look for the index {collection}"), _connected(server, api_key) as client:
            return client.collection_exists(collection)

    @staticmethod
    def remove(server: str | QdrantClient, collection: str, *, api_key: str | None = None) -> None:
        """Deletes a collection with all its points. One that is not there is no error.

        Raises:
            StoreUnavailable: the server does not answer, or refuses the key.
        """
        with _server(f"remove the index {collection}"), _connected(server, api_key) as client:
            client.delete_collection(collection)

    @property
    def reader(self) -> QdrantReader:
        return self._reader

    @property
    def writer(self) -> QdrantWriter:
        return self._writer

    @property
    def profile(self) -> IndexProfile:
        return self._profile

    def points(self) -> int:
        with _server("count the points of the index"):
            return self._client.count(self._collection, exact=True).count

    def close(self) -> None:
        """Ends the connection. What is called afterwards raises StoreUnavailable."""
        with _server("close the connection"):
            self._client.close()


class QdrantReader:
    """Searches, always within a scope."""

    def __init__(self, client: QdrantClient, collection: str) -> None:
        self._client = client
        self._collection = collection

    def candidates(self, scope: AccessScope, question: Question, limit: int) -> Sequence[Candidate]:
        with _server("search the index"):
            access = access_filter(scope)
            within = _guarded(scope, narrowed(access, question.narrow))

            def ask(queries: Sequence[LegQuery]) -> list[list[Hit]]:
                requests = [_request(each, within) for each in queries]
                found = self._client.query_batch_points(self._collection, requests=requests)
                return [[Hit(str(each.id), each.score) for each in leg.points] for leg in found]

            return candidates(ask, question, limit)


class QdrantWriter:
    """Writes, and has no way to search or to read a payload. Each call returns when the server has applied it."""

    def __init__(self, client: QdrantClient, collection: str, dimension: int) -> None:
        self._client = client
        self._collection = collection
        self._dimension = dimension

    def upsert(self, points: Sequence[IndexPoint]) -> None:
        with _server("write to the index"):
            for batch in checked_batches(points, self._dimension):
                self._client.upsert(self._collection, [_point(each) for each in batch], wait=True)

    def delete(self, chunk_ids: Sequence[str]) -> None:
        if not chunk_ids:
            return
        with _server("delete from the index"):
            self._client.delete(self._collection, models.PointIdsList(points=list(chunk_ids)), wait=True)

    def set_acl(self, acl_id: str, acl: Acl) -> None:
        self._rewrite(AnyOf(ACL, (acl_id,)), rights(acl))

    def move(self, document_ids: Sequence[str], acl_id: str, acl: Acl) -> None:
        for moved in document_batches(document_ids):
            self._rewrite(AnyOf(DOCUMENT, moved), {ACL: acl_id, **rights(acl)})

    def settle(self) -> None:
        """Nothing to do: a server merges and indexes in the background."""

    def _rewrite(self, chosen: AnyOf, fields: models.Payload) -> None:
        with _server("change rights in the index"):
            where = models.Filter(must=[_condition(chosen)])
            self._client.set_payload(self._collection, fields, points=where, wait=True)


def _connect(url: str, api_key: str | None) -> QdrantClient:
    """A client that reads no proxy from the environment, follows no redirect and asks nobody for versions."""
    return QdrantClient(url=url, api_key=api_key, timeout=TIMEOUT_S, check_compatibility=False, trust_env=False)


@contextmanager
def _connected(server: str | QdrantClient, api_key: str | None) -> Iterator[QdrantClient]:
    """A client for one call. One that was made elsewhere stays open."""
    if isinstance(server, QdrantClient):
        yield server
        return
    with closing(_connect(server, api_key)) as client:
        yield client


def _refuse_old_server(version: str) -> None:
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < OLDEST_SERVER:
        raise Misconfigured(
            f"the Qdrant server has version {version}; Kustos needs 1.19 or newer, because older ones do "
            "not say which parts of a query they ignore"
        )


def _create(client: QdrantClient, collection: str, profile: IndexProfile) -> None:
    client.create_collection(
        collection,
        vectors_config={DENSE: models.VectorParams(size=profile.dimension, distance=models.Distance.DOT)},
        sparse_vectors_config={LEXICAL: models.SparseVectorParams()},
        hnsw_config=models.HnswConfigDiff(m=16, ef_construct=100, full_scan_threshold=SCAN_KB),
        strict_mode_config=models.StrictModeConfig(
            enabled=True, unindexed_filtering_retrieve=False, unindexed_filtering_update=False
        ),
        metadata={_PROFILE: dict(describe(profile))},
    )


def _point(point: IndexPoint) -> models.PointStruct:
    terms = models.SparseVector(indices=list(point.lexical.indices), values=list(point.lexical.values))
    return models.PointStruct(
        id=point.chunk_id, vector={DENSE: list(point.dense), LEXICAL: terms}, payload=dict(payload(point))
    )


def _request(query: LegQuery, within: models.Filter) -> models.QueryRequest:
    """One search `within` the access filter."""
    nearest: models.SparseVector | list[float]
    if isinstance(query.vector, TermWeights):
        nearest = models.SparseVector(indices=list(query.vector.indices), values=list(query.vector.values))
        leg, params = LEXICAL, None
    else:
        nearest, leg, params = list(query.vector), DENSE, _WALK
    return models.QueryRequest(
        query=models.NearestQuery(nearest=nearest),
        using=leg,
        filter=within,
        params=params,
        limit=query.limit,
        with_payload=False,
        with_vector=False,
    )


def _guarded(scope: AccessScope, access: AccessFilter) -> models.Filter:
    filter_ = models.Filter(
        must=[_condition(each) for each in access.must],
        must_not=[_condition(each) for each in access.must_not],
    )
    refuse_unless_guarded(scope, _read_back(filter_.must), _read_back(filter_.must_not))
    return filter_


def _condition(condition: AnyOf) -> models.FieldCondition:
    return models.FieldCondition(key=condition.field, match=models.MatchAny(any=list(condition.values)))


def _read_back(conditions: object) -> dict[str, list[str]]:
    """Field and values of the conditions that the client was handed."""
    return {
        each.key: cast(list[str], each.match.any)
        for each in (conditions if isinstance(conditions, list) else ())
        if isinstance(each, models.FieldCondition) and isinstance(each.match, models.MatchAny)
    }


@contextmanager
def _server(doing: str) -> Iterator[None]:
    """Everything that the client raises becomes StoreUnavailable: the server's refusals, timeouts, a closed client."""
    try:
        yield
    except KustosError:
        raise
    except Exception as error:
        raise StoreUnavailable(f"cannot {doing}; the Qdrant client says: {error}") from error
