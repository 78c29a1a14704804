"""A rebuild leaves one index, the live one, whatever happened to it and to those before; and who has another one open
neither searches nor writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from rag.access.acl import Acl
from rag.access.principals import user
from rag.access.scope import AccessScope
from rag.bootstrap import Rebuilt, Records, open_index, open_records, rebuild_index
from rag.documents import IndexPoint, Question
from rag.errors import ModelUnavailable, StoreUnavailable
from rag.ports import ChunkWriter
from rag.settings import Settings
from rag.stores.edge import EdgeIndex
from rag.stores.qdrant import QdrantIndex
from tests.contract.test_index import NO_SERVER
from tests.fakes import WordEmbedder, WordEncoder

PROFILE = WordEmbedder.profile
ANN = AccessScope("main", "ann", frozenset({user("acme", "ann")}))
NAME = "main-0123456789abcdef"


@pytest.fixture(params=["edge", pytest.param("server", marks=pytest.mark.loopback)])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """A home without anything in it."""
    embedded = Settings(home=tmp_path / "home")
    if request.param == "edge":
        yield embedded
        return
    url = os.environ.get("KUSTOS_TEST_QDRANT_URL")
    if not url:
        pytest.skip(NO_SERVER)
    on_server = replace(
        embedded, qdrant_url=url, qdrant_api_key=os.environ.get("KUSTOS_TEST_QDRANT_API_KEY", ""), tenant="kustos-test"
    )
    yield on_server
    for each in stored(on_server):
        QdrantIndex.remove(url, each, api_key=on_server.qdrant_api_key or None)


@pytest.fixture
def records(settings: Settings) -> Iterator[Records]:
    """The home with its first index."""
    opened = open_records(settings)
    open_index(opened, PROFILE).close()
    yield opened
    opened.catalog.close()


def stored(settings: Settings) -> set[str]:
    """Names of the indexes that there are."""
    if not settings.qdrant_url:
        return {each.name for each in (settings.home / "index").glob(f"{settings.tenant}-*")}
    client = QdrantClient(url=settings.qdrant_url, api_key=settings.qdrant_api_key or None, check_compatibility=False)
    with closing(client):
        names = {each.name for each in client.get_collections().collections}
    return {each for each in names if each.startswith(f"{settings.tenant}-")}


def create(settings: Settings, name: str) -> None:
    if settings.qdrant_url:
        key = settings.qdrant_api_key or None
        QdrantIndex.open(settings.qdrant_url, name, PROFILE, api_key=key).close()
    else:
        EdgeIndex.open(settings.home / "index" / name, PROFILE).close()


def empty(_: ChunkWriter) -> int:
    return 0


def failing(error: BaseException) -> Callable[[ChunkWriter], int]:
    def fill(_: ChunkWriter) -> int:
        raise error

    return fill


@pytest.mark.parametrize("error", [ModelUnavailable("it blinked"), KeyboardInterrupt()], ids=repr)
def test_ft_06_a_rebuild_that_fails_takes_its_new_index_with_it(
    settings: Settings, records: Records, error: BaseException
) -> None:
    before = stored(settings)
    with pytest.raises(type(error)):
        rebuild_index(records, PROFILE, failing(error))
    assert stored(settings) == before == {records.indexes.live_name()}


def test_ft_06_what_a_killed_rebuild_left_is_removed_before_the_next_one_needs_the_room(
    settings: Settings, records: Records
) -> None:
    records.indexes.begin(NAME)
    create(settings, NAME)
    found: list[set[str]] = []

    def fill(_: ChunkWriter) -> int:
        found.append(stored(settings))
        return 7

    before = records.indexes.live_name()
    assert rebuild_index(records, PROFILE, fill) == Rebuilt(7, left_behind=())
    assert NAME not in found[0]
    assert before in found[0]
    assert stored(settings) == {records.indexes.live_name()} != {before}
    assert records.indexes.dead() == set()


def test_an_index_of_another_catalog_is_left_alone(settings: Settings, records: Records) -> None:
    other = f"{settings.tenant}-fedcba9876543210"
    create(settings, other)
    rebuild_index(records, PROFILE, empty)
    assert stored(settings) == {records.indexes.live_name(), other}


def test_what_cannot_be_removed_is_reported_and_tried_again(tmp_path: Path) -> None:
    records = open_records(Settings(home=tmp_path))
    open_index(records, PROFILE).close()
    records.indexes.begin(NAME)
    stubborn = tmp_path / "index" / NAME
    stubborn.write_text("a file is no index")
    with closing(records.catalog):
        (problem,) = rebuild_index(records, PROFILE, empty).left_behind
        assert str(stubborn) in problem
        stubborn.unlink()
        stubborn.mkdir()
        assert rebuild_index(records, PROFILE, empty).left_behind == ()
    assert not stubborn.exists()


def test_ft_10_who_has_a_replaced_index_open_neither_finds_nothing_in_it_nor_is_ready(tmp_path: Path) -> None:
    """Two homes share a catalog; the operator rebuilds in the other one."""
    shared = f"sqlite+pysqlite:///{tmp_path / 'shared.db'}"
    mine, other = (open_records(Settings(home=tmp_path / each, catalog_url=shared)) for each in ("mine", "other"))
    words = WordEmbedder().embed_question("forklift")
    question = Question(tuple(words.tolist()), None, "en")
    with closing(mine.catalog), closing(other.catalog), closing(open_index(mine, PROFILE)) as index:
        index.writer.upsert(points("forklift"))
        index.check()
        assert len(index.reader.candidates(ANN, question, 5)) == 1
        rebuild_index(other, PROFILE, empty)
        for use in (index.check, lambda: index.reader.candidates(ANN, question, 5)):
            with pytest.raises(StoreUnavailable, match="re-indexed"):
                use()


def points(*texts: str) -> Sequence[IndexPoint]:
    acl = Acl.of(ANN.principals)
    return [
        IndexPoint(
            chunk_id=f"00000000-0000-0000-0000-{number:012}",
            document_id="d",
            source="s",
            language="en",
            tenant="main",
            acl_id="a",
            allow=tuple(sorted(acl.allow)),
            deny=(),
            dense=tuple(WordEmbedder().embed_question(text).tolist()),
            lexical=WordEncoder().document(text, "en"),
        )
        for number, text in enumerate(texts)
    ]
