"""Places where an index can live, each with a way past the adapter to what is really stored."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from qdrant_client import QdrantClient, models
from qdrant_edge import EdgeShard, Point, ScrollRequest, UpdateOperation

from rag.documents import IndexProfile
from rag.ports import Index
from rag.stores.edge import EdgeIndex
from rag.stores.qdrant import QdrantIndex
from tests.contract.index_cases import PROFILE, unit_vector

Payload = dict[str, object]
MANY = 10_000


class Store(Protocol):
    def open(self, profile: IndexProfile = PROFILE) -> Index: ...

    def reopen(self, index: Index) -> Index:
        """Another index over the same points; `index` is of no use afterwards."""

    def write_raw(self, index: Index, chunk_id: str, payload: Payload) -> Index:
        """Stores a point that no adapter would write; returns the index to go on with."""

    def read_raw(self, index: Index) -> Sequence[Payload]:
        """Every payload as it is stored; `index` is of no use afterwards."""


class EdgeStore:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, profile: IndexProfile = PROFILE) -> Index:
        return EdgeIndex.open(self.folder, profile)

    def reopen(self, index: Index) -> Index:
        index.close()
        return self.open()

    def write_raw(self, index: Index, chunk_id: str, payload: Payload) -> Index:
        index.close()
        shard = EdgeShard.load(str(self.folder / "shard"))
        shard.update(UpdateOperation.upsert_points([Point(chunk_id, {"dense": list(unit_vector(1))}, payload)]))
        shard.close()
        return self.open()

    def read_raw(self, index: Index) -> Sequence[Payload]:
        index.close()
        shard = EdgeShard.load(str(self.folder / "shard"))
        records, _ = shard.scroll(ScrollRequest(limit=MANY, with_payload=True))
        shard.close()
        return [each.payload or {} for each in records]


class ClientStore:
    """A collection in the memory of one client, or on a server to which each opening makes a client of its own."""

    def __init__(self, connect: Callable[[], QdrantClient]) -> None:
        self.connect = connect
        self.collection = f"kustos-test-{uuid.uuid4()}"

    def open(self, profile: IndexProfile = PROFILE) -> Index:
        return QdrantIndex.open(self.connect(), self.collection, profile)

    def reopen(self, index: Index) -> Index:
        return self.open()

    def write_raw(self, index: Index, chunk_id: str, payload: Payload) -> Index:
        broken = models.PointStruct(id=chunk_id, vector={"dense": list(unit_vector(1))}, payload=payload)
        self.connect().upsert(self.collection, [broken], wait=True)
        return index

    def read_raw(self, index: Index) -> Sequence[Payload]:
        records, _ = self.connect().scroll(self.collection, limit=MANY, with_payload=True)
        return [each.payload or {} for each in records]


def in_memory() -> Iterator[ClientStore]:
    client = QdrantClient(":memory:")
    yield ClientStore(lambda: client)
    client.close()


def on_server(url: str, api_key: str | None) -> Iterator[ClientStore]:
    store = ClientStore(lambda: QdrantClient(url=url, api_key=api_key, check_compatibility=False, timeout=30))
    yield store
    store.connect().delete_collection(store.collection)
