"""Faults of what a decision needs: the answer is 503 and says nothing, and the service goes on by itself when they are over."""

from __future__ import annotations

import ast
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier, Event

import pytest
from fastapi.testclient import TestClient

from api.tokens.auth import LEEWAY_S, Identity
from rag.access.acl import Acl
from rag.access.audit import Act, Deed
from rag.access.directory import Directory
from rag.access.places import PlacesNow
from rag.access.principals import EVERYONE_IN_TENANT, group, user
from rag.access.scope import Caller
from rag.errors import NotAuthenticated, StoreUnavailable
from rag.stores import catalog as catalog_module
from rag.stores.catalog_reading import CatalogReader
from rag.stores.catalog_writing import Place
from rag.stores.edge import EdgeIndex
from tests.fakes import WordEmbedder
from tests.library import SALES, SOURCE, Library, Written, issuer, open_library, person, token

ROOT = Path(__file__).parents[2]
PLAN = Written("plan.txt", ["The secret sales plan."], frozenset({SALES}), title="Plan")
MENU = Written("menu.txt", ["The menu of Monday."], frozenset({EVERYONE_IN_TENANT}), title="Menu")
ANN = person("ann", groups=["/sales"])


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    for name in ("BUSY_TIMEOUT_S", "ASKING_TIMEOUT_S"):
        monkeypatch.setattr(catalog_module, name, 0.1)
    opened = open_library(tmp_path / "home", PLAN, MENU)
    yield opened
    opened.kustos.records.catalog.close()


@pytest.fixture
def client(library: Library) -> TestClient:
    return TestClient(library.app(), base_url="http://127.0.0.1", raise_server_exceptions=False)


Ask = Callable[[TestClient], object]
WAYS = {
    "search": ("POST", "/v1/search", {"query": "plan"}),
    "answer": (
        "POST",
        "/v1/chat/completions",
        {"model": "extractive", "messages": [{"role": "user", "content": "plan"}]},
    ),
    "list": ("GET", "/v1/documents", None),
    "document": ("GET", f"/v1/documents/{PLAN.id}", None),
    "passage": ("GET", f"/v1/documents/{PLAN.id}/passages/1", None),
}


def statuses(client: TestClient, who: dict[str, str] = ANN) -> set[int]:
    """What every way of reading answers; a failure must say nothing of its inside."""
    told = set()
    for method, path, body in WAYS.values():
        reply = client.request(method, path, json=body, headers=who)
        told.add(reply.status_code)
        if reply.status_code >= 500:
            assert "retry-after" in reply.headers
            said = reply.text.lower()
            assert not any(
                word in said for word in ("sqlite", "traceback", "catalog.db", "secret", "locked", "disk", ".py")
            )
    return told


def database(tmp_path: Path) -> Path:
    return tmp_path / "home" / "catalog.db"


# The catalog


def test_ft_05_while_another_process_holds_the_catalog_nothing_is_answered_and_afterwards_everything(
    tmp_path, client
) -> None:
    with sqlite3.connect(database(tmp_path), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert statuses(client) == {503}
        other.execute("ROLLBACK")
    other.close()
    assert statuses(client) == {200}


def test_ft_05_who_asks_hears_503_sooner_than_a_sync_gives_up(tmp_path, library, monkeypatch) -> None:
    monkeypatch.setattr(catalog_module, "BUSY_TIMEOUT_S", 60)
    catalog, begun = library.kustos.records.catalog, Event()

    def sync() -> None:
        begun.set()
        with catalog.writing():
            pass

    with sqlite3.connect(database(tmp_path), isolation_level=None) as other, ThreadPoolExecutor(1) as pool:
        other.execute("BEGIN IMMEDIATE")
        syncing = pool.submit(sync)
        assert begun.wait(10)
        for _ in range(3):
            with pytest.raises(StoreUnavailable), catalog.writing(durable=False):
                pass
        assert not syncing.done()
        other.execute("ROLLBACK")
        syncing.result(30)
    other.close()
    with catalog.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 100, "also where a sync was before"


def test_ft_05_nobody_waits_for_the_records_of_everybody_before_him(tmp_path, library, monkeypatch) -> None:
    """Each would wait for its own time, one after the other."""
    audit, asked = library.kustos.records.audit, []
    writing = library.kustos.records.catalog.writing

    def counted(**how: bool) -> object:
        asked.append(how)
        return writing(**how)

    monkeypatch.setattr(library.kustos.records.catalog, "writing", counted)
    queued = Barrier(9)

    def record() -> bool:
        queued.wait(10)
        try:
            audit.record(Deed("main", "sys:local-operator", Act.INGEST, "request"))
        except StoreUnavailable:
            return False
        return True

    with sqlite3.connect(database(tmp_path), isolation_level=None) as other, ThreadPoolExecutor(8) as pool:
        other.execute("BEGIN IMMEDIATE")
        audit._lock.acquire()
        records = [pool.submit(record) for _ in range(8)]
        queued.wait(10)
        audit._lock.release()
        assert [each.result(30) for each in records] == [False] * 8
        other.execute("ROLLBACK")
    other.close()
    assert len(asked) < 8, "most of them did not try"
    audit.record(Deed("main", "sys:local-operator", Act.INGEST, "request"))


@contextmanager
def full(library: Library) -> Iterator[None]:
    """The catalog may not grow by a single page any more, as on a full disk."""
    engine = library.kustos.records.catalog._engine
    held = [engine.raw_connection() for _ in range(3)]
    before = held[0].execute("PRAGMA max_page_count").fetchone()[0]

    def limit(number: int) -> None:
        for each in held:
            each.execute(f"PRAGMA max_page_count={number}")
        for each in held:
            each.close()

    limit(1)  # SQLite takes the size that it has instead
    yield
    held[:] = [engine.raw_connection() for _ in range(3)]
    limit(before)


def test_ft_08_on_a_full_disk_reading_stops_and_no_revocation_is_lost_by_half(library, client) -> None:
    writer = library.kustos.records.writer
    with full(library):
        for _ in range(500):
            if statuses(client) == {503}:
                break
        assert statuses(client) == {503}
        before = writer.places(SOURCE), writer.tasks(10_000)
        with pytest.raises(StoreUnavailable):
            writer.set_places(SOURCE, [Place(f"place {each}", Acl.nobody(), "x" * 4_000) for each in range(50)])
        assert (writer.places(SOURCE), writer.tasks(10_000)) == before
    library.regrant(PLAN, Acl.of({SALES}))
    assert statuses(client) == {200}


def aside(path: Path, into: str) -> None:
    """Moves the database with its log, as somebody does who puts another one into its place."""
    for suffix in ("", "-wal", "-shm"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(path.with_name(into + suffix))


@pytest.mark.parametrize("other", [b"", b"this is no database" * 500, None], ids=["empty", "garbage", "gone"])
def test_ft_05_another_file_in_the_catalogs_place_is_not_believed_and_the_right_one_is_found_again(
    tmp_path, client, other
) -> None:
    assert statuses(client) == {200}
    path = database(tmp_path)
    aside(path, "kept.db")
    if other is not None:
        path.write_bytes(other)
    assert statuses(client) == {503}
    aside(path, "wrong.db")
    for suffix in ("", "-wal", "-shm"):
        kept = path.with_name("kept.db" + suffix)
        if kept.exists():
            kept.rename(path.with_name(path.name + suffix))
    assert statuses(client) == {200}


def test_ft_15_a_catalog_of_another_day_decides_as_soon_as_it_is_there(tmp_path, library, client) -> None:
    """A backup put back while the service runs: what it says holds in the next request, not what was open before."""
    path = database(tmp_path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    shutil.copy(path, path.with_name("yesterday.db"))
    library.regrant(PLAN, Acl.nobody())
    assert client.get(f"/v1/documents/{PLAN.id}", headers=ANN).status_code == 404
    aside(path, "today.db")
    path.with_name("yesterday.db").rename(path)
    assert client.get(f"/v1/documents/{PLAN.id}", headers=ANN).status_code == 200
    aside(path, "yesterday.db")
    aside(path.with_name("today.db"), path.name)
    assert client.get(f"/v1/documents/{PLAN.id}", headers=ANN).status_code == 404


def test_ft_15_what_is_remembered_of_a_catalog_is_not_taken_for_what_another_says(tmp_path, library) -> None:
    """The backup is changed as often as the catalog had been since, before anybody asks."""
    path, records = database(tmp_path), library.kustos.records
    sales = group("acme", "/sales")
    records.directory.replace("main", "acme", [])
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    shutil.copy(path, path.with_name("yesterday.db"))
    bob = user("acme", "bob")
    caller = Caller("main", bob, frozenset({bob}))
    directory, places = Directory(records.directory), PlacesNow(CatalogReader(records.catalog))
    records.directory.replace("main", "acme", [(bob, sales)])
    records.writer.set_places(SOURCE, [Place("new", Acl.of({SALES}), "x")])
    assert sales in directory.widen(caller)
    assert places.of("main").allowing[SALES]
    aside(path, "today.db")
    path.with_name("yesterday.db").rename(path)
    records.directory.replace("main", "acme", [(sales, bob)])
    records.writer.set_places(SOURCE, [Place("new", Acl.of({bob}), "x")])
    assert sales not in directory.widen(caller)
    assert bob in places.of("main").allowing


def test_ft_15_an_index_of_yesterday_shows_nothing_that_the_catalog_of_today_does_not(tmp_path) -> None:
    folder = tmp_path / "index"
    index = EdgeIndex.open(folder, WordEmbedder.profile)
    open_library(tmp_path / "home", PLAN, MENU, real_index=index).kustos.records.catalog.close()
    index.close()
    shutil.copytree(folder, tmp_path / "yesterday")
    index = EdgeIndex.open(folder, WordEmbedder.profile)
    library = open_library(tmp_path / "home", real_index=index)
    library.regrant(PLAN, Acl.nobody())
    library.kustos.records.writer.remove([MENU.id])
    library.kustos.records.catalog.close()
    index.close()
    restored = EdgeIndex.open(tmp_path / "yesterday", WordEmbedder.profile)
    library = open_library(tmp_path / "home", real_index=restored)
    client = TestClient(library.app(), base_url="http://127.0.0.1")
    assert client.post("/v1/search", json={"query": "plan menu"}, headers=ANN).json()["passages"] == []
    library.kustos.records.catalog.close()
    restored.close()


# Clocks


@pytest.mark.parametrize("wrong_by_s", [-86_400, -300, 300, 86_400])
def test_tv_18_and_ft_13_a_clock_that_is_wrong_refuses_tokens_and_never_accepts_an_old_one(wrong_by_s) -> None:
    now = int(time.time())
    identity = Identity([issuer()], clock=lambda: now + wrong_by_s)
    lives = range(60, 400, 60)
    accepted = []
    for life in lives:
        try:
            identity.caller(token(issued_at=now, exp=now + life))
            accepted.append(life)
        except NotAuthenticated:
            continue
    expected = [life for life in lives if -LEEWAY_S <= wrong_by_s < life + LEEWAY_S]
    assert accepted == expected


def test_ft_13_replicas_whose_clocks_differ_obey_the_same_revocation_at_once(tmp_path, library) -> None:
    """Rights are ordered by the catalog's own numbers, so no clock has a say in which of them is newer."""
    ahead = open_library(tmp_path / "home")
    clients = [
        TestClient(each.app(), base_url="http://127.0.0.1", raise_server_exceptions=False) for each in (library, ahead)
    ]
    for acl, status in ((Acl.nobody(), 404), (Acl.of({SALES}), 200), (Acl.of({SALES}, {SALES}), 404)) * 2:
        for writing in (library, ahead):
            writing.regrant(PLAN, acl)
            told = [each.get(f"/v1/documents/{PLAN.id}", headers=ANN).status_code for each in clients]
            assert told == [status, status]
    ahead.kustos.records.catalog.close()


# Connections


def test_ft_12_no_connection_is_made_without_looking_at_certificates() -> None:
    lax = []
    for path in sorted(ROOT.glob("*/**/*.py")):
        if path.relative_to(ROOT).parts[0] not in ("api", "rag", "ingest", "connectors", "eval"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg in ("verify", "check_hostname", "verify_ssl"):
                lax += [f"{path.relative_to(ROOT)}:{node.value.lineno}"] * (ast.unparse(node.value) == "False")
            if isinstance(node, ast.Attribute) and node.attr in ("_create_unverified_context", "CERT_NONE"):
                lax.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert lax == []
