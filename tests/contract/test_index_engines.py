"""What is particular to each engine behind the index: crashes, locks, versions, and every error that it can raise."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest
import qdrant_client
from pydantic import BaseModel, ValidationError
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse
from qdrant_edge import EdgeConfig, EdgeShard, EdgeSparseVectorParams, UpdateOperation
from qdrant_edge import Point as EdgePoint
from qdrant_edge import SparseVector as EdgeSparseVector

from rag.access.acl import Acl
from rag.access.scope import AccessScope
from rag.errors import IndexMismatch, Misconfigured, StoreUnavailable
from rag.ports import ChunkReader, ChunkWriter
from rag.stores import access_filter as rule
from rag.stores import edge, qdrant
from rag.stores.access_filter import AccessFilter, AnyOf
from rag.stores.edge import EdgeIndex, EdgeReader
from rag.stores.qdrant import QdrantIndex, QdrantReader
from tests.contract.index_cases import DIMENSION, PROFILE, RARE, chunk_id, point, question, scope

ROOT = Path(__file__).parents[2]
READER = scope("a", "b")

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


# The last look before a query is sent (O5: what if the filter's builder were broken?).

BROKEN: dict[str, Callable[[AccessScope], object]] = {
    "nothing": lambda _: None,
    "no condition": lambda _: AccessFilter((), ()),
    "tenant only": lambda s: AccessFilter((AnyOf("tenant", (s.tenant,)),), ()),
    "deny forgotten": lambda s: AccessFilter((AnyOf("tenant", (s.tenant,)), AnyOf("allow", ("a", "b"))), ()),
    "tenant forgotten": lambda _: AccessFilter((AnyOf("allow", ("a", "b")),), (AnyOf("deny", ("a", "b")),)),
    "allow in the wrong place": lambda s: AccessFilter(
        (AnyOf("tenant", (s.tenant,)),), (AnyOf("deny", ("a", "b")), AnyOf("allow", ("a", "b")))
    ),
    "somebody else's": lambda _: rule.access_filter(scope("c")),
    "more than the caller holds": lambda _: rule.access_filter(scope("a", "b", "c")),
    "another tenant's": lambda _: rule.access_filter(scope("a", "b", tenant="other")),
    "two tenants": lambda s: AccessFilter(
        (AnyOf("tenant", ("other", s.tenant)), AnyOf("allow", ("a", "b"))), (AnyOf("deny", ("a", "b")),)
    ),
    "closed places forgotten": lambda _: rule.access_filter(scope("a", "b")),
}


class Recorder:
    """Stands for a shard and for a client; notes that something was sent."""

    def __init__(self) -> None:
        self.sent: list[object] = []

    def query_batch(self, request: object) -> list[object]:
        self.sent.append(request)
        return []

    def query_batch_points(self, collection: str, requests: object) -> list[object]:
        self.sent.append(requests)
        return []


def readers(engine: Any) -> dict[str, tuple[Any, ChunkReader]]:
    return {"edge": (edge, EdgeReader(engine)), "qdrant": (qdrant, QdrantReader(engine, "collection"))}


@pytest.mark.parametrize("adapter", ["edge", "qdrant"])
@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_fb_02_a_query_without_its_access_conditions_is_stopped_before_it_is_sent(
    monkeypatch: pytest.MonkeyPatch, adapter: str, broken: str
) -> None:
    recorder = Recorder()
    module, reader = readers(recorder)[adapter]
    monkeypatch.setattr(module, "access_filter", BROKEN[broken])
    with pytest.raises(StoreUnavailable):
        reader.candidates(scope("a", "b", without_acls=("closed",)), question(), 10)
    assert not recorder.sent


@pytest.mark.parametrize("adapter", ["edge", "qdrant"])
@pytest.mark.parametrize("dropped", ["must", "must_not"])
def test_fb_03_a_translation_that_loses_conditions_is_stopped_before_it_is_sent(
    monkeypatch: pytest.MonkeyPatch, adapter: str, dropped: str
) -> None:
    recorder = Recorder()
    module, reader = readers(recorder)[adapter]
    owner = module if adapter == "edge" else module.models
    whole = owner.Filter
    monkeypatch.setattr(owner, "Filter", lambda **parts: whole(**(parts | {dropped: []}), should=[]))
    with pytest.raises(StoreUnavailable):
        reader.candidates(READER, question(), 10)
    assert not recorder.sent


# The embedded engine.


def die(script: str, folder: Path) -> None:
    """Runs `script` in a process of its own, which must end by kill -9."""
    whole = SCRIPT_HEAD + dedent(script)
    ended = subprocess.run(
        [sys.executable, "-c", whole, folder], cwd=ROOT, capture_output=True, timeout=120, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


SCRIPT_HEAD = """
import os, signal, sys
from pathlib import Path
from rag.access.acl import Acl
from rag.access.principals import Principal
from rag.stores.edge import EdgeIndex
from tests.contract.index_cases import PROFILE, chunk_id, point
"""


def test_ft_06_and_ft_07_what_was_written_survives_kill_9(folder: Path) -> None:
    script = """
        writer = EdgeIndex.open(Path(sys.argv[1]), PROFILE).writer
        writer.upsert([point(n, acl="here") for n in range(700)])
        writer.delete([chunk_id(n) for n in range(10)])
        writer.set_acl("here", Acl.of({Principal("boss")}))
        writer.move(["document of 699"], "there", Acl.of({Principal("reader")}))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    die(script, folder)
    index = EdgeIndex.open(folder, PROFILE)
    assert index.points() == 690
    assert len(index.reader.candidates(scope("boss"), question(), 10_000)) == 689
    assert [each.chunk_id for each in index.reader.candidates(scope("reader"), question(), 10)] == [chunk_id(699)]
    index.close()


def test_a_second_opening_says_that_another_process_holds_the_index(folder: Path) -> None:
    index = EdgeIndex.open(folder, PROFILE)
    with pytest.raises(StoreUnavailable, match="another Kustos process is using it"):
        EdgeIndex.open(folder, PROFILE)
    index.close()
    EdgeIndex.open(folder, PROFILE).close()


@pytest.mark.parametrize("record", [None, "", "{", "[]", "null", '{"model": "a-model"}'], ids=str)
def test_an_index_that_does_not_say_what_it_was_built_with_is_refused(folder: Path, record: str | None) -> None:
    EdgeIndex.open(folder, PROFILE).close()
    (folder / "profile.json").unlink() if record is None else (folder / "profile.json").write_text(record)
    with pytest.raises(IndexMismatch, match="kustos ingest --rebuild"):
        EdgeIndex.open(folder, PROFILE)


def test_ft_06_a_crash_while_the_index_is_created_leaves_nothing_in_the_way(folder: Path) -> None:
    script = """
        Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # the engine has created, we have not yet moved
        EdgeIndex.open(Path(sys.argv[1]), PROFILE)
    """
    die(script, folder)
    index = EdgeIndex.open(folder, PROFILE)
    index.writer.upsert([point("a")])
    assert index.points() == 1
    index.close()


def test_a_folder_that_cannot_be_made_is_reported_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot open the index"):
        EdgeIndex.open(tmp_path / "file" / "index", PROFILE)


def test_the_index_stays_right_while_much_is_deleted_and_settled(folder: Path) -> None:
    index = EdgeIndex.open(folder, PROFILE)
    index.writer.upsert([point(n, lexical={RARE: 1.0 + n}) for n in range(3_000)])
    index.writer.delete([chunk_id(n) for n in range(2_000)])
    before = index.reader.candidates(scope("reader"), question(weights={RARE: 1.0}), 50)
    index.writer.settle()
    assert index.points() == 1_000
    assert index.reader.candidates(scope("reader"), question(weights={RARE: 1.0}), 50) == before
    index.close()


def test_readers_and_a_writer_at_once_see_only_whole_points(folder: Path) -> None:
    index = EdgeIndex.open(folder, PROFILE)
    index.writer.upsert([point(n, ("other",), lexical={RARE: 1.0}) for n in range(50)])
    start, read, wrong = threading.Barrier(3, timeout=30), list[int](), list[object]()

    def search() -> None:
        start.wait()
        for _ in range(30):
            seen = index.reader.candidates(scope("reader"), question(), 1_000)
            read.append(len(seen))
            wrong.extend(each for each in seen if each.lexical is None or each.dense is None)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for each in threads:
        each.start()
    start.wait()
    for n in range(30):
        index.writer.upsert([point(1_000 + n)])
        index.writer.set_acl(f"place of {n}", Acl.nobody())
    for each in threads:
        each.join(timeout=60)
    assert len(read) == 60
    assert not wrong
    assert len(index.reader.candidates(scope("reader"), question(), 1_000)) == 30
    index.close()


def test_a_panic_of_the_engine_becomes_our_error(folder: Path) -> None:
    with pytest.raises(StoreUnavailable, match="the engine stopped"), edge._engine("search the index"):
        raise panic(folder)


def panic(folder: Path) -> BaseException:
    """A real one: the reason why points are checked before they are written."""
    folder.mkdir()
    config = EdgeConfig(sparse_vectors={"bm25": EdgeSparseVectorParams()})
    shard = EdgeShard.create(str(folder / "panics"), config)
    uneven = EdgePoint(1, {"bm25": EdgeSparseVector(indices=[1, 2], values=[1.0])}, {})
    with pytest.raises(BaseException, match="index out of bounds") as caught:
        shard.update(UpdateOperation.upsert_points([uneven]))
    assert not isinstance(caught.value, Exception)
    return caught.value


class Failing:
    """A shard and a client whose every method raises `error`."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Callable[..., object]:
        def fail(*_: object, **__: object) -> object:
            raise self.error

        return fail


def every_call(reader: ChunkReader, writer: ChunkWriter) -> list[Callable[[], object]]:
    return [
        lambda: reader.candidates(READER, question(), 10),
        lambda: writer.upsert([point("a")]),
        lambda: writer.delete([chunk_id("a")]),
        lambda: writer.set_acl("place", Acl.nobody()),
        lambda: writer.move(["document"], "place", Acl.nobody()),
    ]


@pytest.mark.parametrize(
    "error",
    # The engine has no error types of its own: these are all that its binding raises.
    [
        Exception("Service runtime error: x"),
        ValueError("x"),
        TypeError("x"),
        OverflowError("x"),
        OSError(28, "disk full"),
    ],
    ids=repr,
)
def test_ft_01_every_error_of_the_embedded_engine_becomes_ours(error: Exception) -> None:
    shard: Any = Failing(error)
    index = EdgeIndex(shard, PROFILE)
    calls = [*every_call(index.reader, index.writer), index.writer.settle, index.points, index.close]
    for each in calls:
        with pytest.raises(StoreUnavailable) as caught:
            each()
        assert caught.value.__cause__ is error


def test_being_interrupted_is_no_error_of_the_engine(folder: Path) -> None:
    shard: Any = Failing(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        EdgeIndex(shard, PROFILE).points()


# The server.


class Model(BaseModel):
    number: int


def invalid() -> ValidationError:
    try:
        Model.model_validate({"number": "x"})
    except ValidationError as error:
        return error
    raise AssertionError


CLIENT_ERRORS: dict[type[Exception], Exception] = {
    ApiException: ApiException("x"),
    UnexpectedResponse: UnexpectedResponse(403, "Forbidden", b"Invalid api-key", httpx.Headers()),
    ResponseHandlingException: ResponseHandlingException(httpx.ConnectTimeout("timed out")),
    QdrantException: QdrantException("x"),
    ResourceExhaustedResponse: ResourceExhaustedResponse("slow down", 3),
    RuntimeError: RuntimeError("closed"),
    ValueError: ValueError("Collection c not found"),
    ValidationError: invalid(),
}


def client_error_types() -> Iterator[type[Exception]]:
    """Every exception type that the client library defines, over REST."""
    for module in pkgutil.walk_packages(qdrant_client.__path__, "qdrant_client."):
        if "grpc" in module.name or "migrate" in module.name:
            continue
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(kind, Exception) and kind.__module__.startswith("qdrant_client"):
                yield kind


def test_the_list_of_client_errors_is_complete() -> None:
    assert set(client_error_types()) <= CLIENT_ERRORS.keys()


@pytest.mark.parametrize("error", CLIENT_ERRORS.values(), ids=lambda error: type(error).__name__)
def test_ft_01_every_error_of_the_client_becomes_ours(error: Exception) -> None:
    client: Any = Failing(error)
    index = QdrantIndex(client, "collection", PROFILE)
    for each in [*every_call(index.reader, index.writer), index.points, index.close]:
        with pytest.raises(StoreUnavailable) as caught:
            each()
        assert caught.value.__cause__ is error


@pytest.mark.loopback
def test_ft_01_a_server_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match="cannot open the collection"):
        QdrantIndex.open("http://127.0.0.1:1", "collection", PROFILE)


class OfVersion(QdrantClient):
    def __init__(self, version: str) -> None:
        super().__init__(":memory:")
        self.version = version

    def info(self) -> models.VersionInfo:
        return models.VersionInfo(title="qdrant", version=self.version)


@pytest.mark.parametrize("version", ["1.18.9", "1.9.0", "0.11.0", "", "dev"])
def test_fb_11_a_server_that_would_ignore_parts_of_a_query_is_refused(version: str) -> None:
    with pytest.raises(Misconfigured, match=r"1\.19"):
        QdrantIndex.open(OfVersion(version), "collection", PROFILE)


@pytest.mark.parametrize("version", ["1.19.0", "1.20.3-dev", "2.0.0"])
def test_newer_servers_are_accepted(version: str) -> None:
    with closing(QdrantIndex.open(OfVersion(version), "collection", PROFILE)) as index:
        assert isinstance(index, QdrantIndex)


def test_a_collection_that_does_not_say_what_it_was_built_with_is_refused() -> None:
    client = QdrantClient(":memory:")
    client.create_collection("collection", vectors_config={})
    with pytest.raises(IndexMismatch, match="kustos ingest --rebuild"):
        QdrantIndex.open(client, "collection", PROFILE)


def test_a_collection_is_there_until_it_is_removed_and_removing_it_twice_is_no_error() -> None:
    client = QdrantClient(":memory:")
    assert not QdrantIndex.exists(client, "collection")
    QdrantIndex.open(client, "collection", PROFILE)
    assert QdrantIndex.exists(client, "collection")
    for _ in range(2):
        QdrantIndex.remove(client, "collection")
    assert not QdrantIndex.exists(client, "collection")


class Requests(QdrantClient):
    """Keeps what was asked of it."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.created: dict[str, Any] = {}
        self.asked: list[models.QueryRequest] = []

    def create_collection(self, collection_name: str, *args: Any, **kwargs: Any) -> bool:
        self.created = kwargs
        return super().create_collection(collection_name, *args, **kwargs)

    def query_batch_points(self, collection_name: str, requests: Any, *args: Any, **kwargs: Any) -> Any:
        self.asked.extend(requests)
        return super().query_batch_points(collection_name, requests, *args, **kwargs)


def test_fb_04_and_fb_13_the_server_is_asked_strictly_and_for_ids_only() -> None:
    client = Requests()
    index = QdrantIndex.open(client, "collection", PROFILE)
    strict = client.created["strict_mode_config"]
    assert strict.enabled
    assert strict.unindexed_filtering_retrieve is False
    index.writer.upsert([point(n, ("a",)) for n in range(5)])
    assert index.reader.candidates(READER, question({"language": ("de",)}), 2)
    for request in client.asked:
        assert request.with_payload is False
        assert request.with_vector is False
        assert request.prefetch is None
        assert isinstance(request.filter, models.Filter)
        assert request.filter.should is None
        fields = [each.key for each in request.filter.must if isinstance(each, models.FieldCondition)]
        assert fields == ["tenant", "allow", "language"]


def test_the_profile_is_stored_as_it_is_compared(folder: Path) -> None:
    EdgeIndex.open(folder, PROFILE).close()
    assert json.loads((folder / "profile.json").read_text()) == {
        "model": "a-model",
        "dimension": DIMENSION,
        "query_prefix": "query: ",
        "document_prefix": "passage: ",
        "sha256": "0" * 64,
        "schema": 2,
    }
