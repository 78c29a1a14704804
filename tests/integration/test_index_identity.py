"""Index and catalog belong together: whatever separates them is refused with the command that mends it."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from ingest.bootstrap import WRITING, Ingesting, filesystem_source, rebuild
from rag.access.acl import Acl
from rag.access.audit import Action, Purpose
from rag.access.principals import user
from rag.access.scope import Caller
from rag.bootstrap import Rebuilt, open_kustos, open_records
from rag.errors import IndexMismatch, Misconfigured, StoreUnavailable
from rag.retrieval import Request
from rag.settings import Settings
from rag.stores.catalog import Catalog, sqlite_url
from rag.stores.catalog_writing import Place
from tests.integration.conftest import MODEL, NO_MODEL

pytestmark = pytest.mark.skipif(not MODEL.is_dir(), reason=NO_MODEL)

ANN = Caller("main", "ann", frozenset({user("acme", "ann")}))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home into which one small share was taken."""
    share = tmp_path / "share"
    share.mkdir()
    (share / "note.txt").write_text("The forklift is charged at night.", encoding="utf-8")
    access = share / "_access.yaml"
    access.write_text("kustos_access: 1\nallow:\n  - everyone\n", encoding="utf-8")
    os.chmod(access, 0o600)
    made = Settings(home=tmp_path / "home", models_dir=MODEL.parent, ollama_url="http://127.0.0.1:9")
    with closing(open_kustos(made)) as kustos:
        Ingesting(kustos).sync(filesystem_source(made, "share", share))
    return made


def answers(settings: Settings) -> list[str]:
    with closing(open_kustos(settings)) as kustos:
        found = kustos.retrieval.search(ANN, Request("When is the forklift charged?"), Purpose(Action.SEARCH, "r"))
        return [each.chunk.text for each in found]


def test_a_home_opens_again_with_its_index(settings) -> None:
    assert answers(settings) == ["The forklift is charged at night."]


def test_a_lost_index_is_refused_and_does_not_pass_for_nothing_found(settings) -> None:
    shutil.rmtree(settings.home / "index")
    with pytest.raises(IndexMismatch, match="kustos ingest --rebuild"):
        open_kustos(settings)
    assert rebuild(settings) == Rebuilt(1, left_behind=())
    assert answers(settings) == ["The forklift is charged at night."]


def test_an_index_of_another_model_is_refused_with_both_names(settings) -> None:
    with closing(open_records(settings).catalog) as catalog, catalog.writing() as connection:
        connection.execute(text("""UPDATE indexes SET profile = replace(profile, 'multilingual-e5-small', 'other')"""))
    with pytest.raises(IndexMismatch, match=r"other.*multilingual-e5-small.*--rebuild"):
        open_kustos(settings)


def test_a_rebuild_leaves_one_index_and_the_same_answers(settings) -> None:
    (before,) = (settings.home / "index").glob("main-*")
    assert rebuild(settings) == Rebuilt(1, left_behind=())
    (after,) = (settings.home / "index").glob("main-*")
    assert after != before
    assert answers(settings) == ["The forklift is charged at night."]


def test_ft_10_a_rebuild_beside_a_running_service_is_refused_and_harms_nothing(settings) -> None:
    with closing(open_kustos(settings)) as kustos:
        with pytest.raises(StoreUnavailable, match="another Kustos process"):
            rebuild(settings)
        assert kustos.points() == 1
    assert answers(settings) == ["The forklift is charged at night."]


def test_ft_06_a_rebuild_that_dies_leaves_the_live_index_as_it_was(settings) -> None:
    def die(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(settings, on_embedded=die)
    assert answers(settings) == ["The forklift is charged at night."]


def test_ft_10_two_processes_do_not_write_at_once(settings, tmp_path) -> None:
    other = Catalog.open(sqlite_url(settings.home / "catalog.db"))
    with (
        closing(other),
        other.lease(WRITING, "main"),
        closing(open_kustos(settings)) as kustos,
        pytest.raises(StoreUnavailable, match="another process is writing"),
    ):
        Ingesting(kustos).sync(filesystem_source(settings, "share", tmp_path / "share"))


def test_ft_10_a_service_whose_index_was_replaced_elsewhere_takes_nothing_in(settings, tmp_path) -> None:
    shared = sqlite_url(settings.home / "catalog.db")
    other = replace(settings, home=tmp_path / "other", catalog_url=shared)
    with closing(open_kustos(settings)) as kustos:
        assert rebuild(other).passages == 1
        with pytest.raises(StoreUnavailable, match="re-indexed"):
            Ingesting(kustos).sync(filesystem_source(settings, "share", tmp_path / "share"))


def test_ft_16_a_catalog_of_a_newer_release_is_refused(settings) -> None:
    with closing(open_records(settings).catalog) as catalog, catalog.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Misconfigured, match="newer"):
        open_records(settings)


def test_ft_06_what_fails_half_way_leaves_no_table_behind(tmp_path) -> None:
    with closing(Catalog.open(sqlite_url(tmp_path / "catalog.db"))) as catalog:
        with pytest.raises(StoreUnavailable), catalog.writing() as connection:  # noqa: PT012  the block is the transaction
            connection.execute(text("CREATE TABLE half (id INTEGER)"))
            connection.execute(text("no such statement"))
        with catalog.reading() as connection:
            assert not connection.execute(text("SELECT name FROM sqlite_master WHERE name = 'half'")).all()


def test_two_homes_never_share_an_index(settings, tmp_path) -> None:
    other = replace(settings, home=tmp_path / "other")
    with closing(open_kustos(other)):
        names = {each.name for home in (settings.home, other.home) for each in (home / "index").glob("main-*")}
    assert len(names) == 2


def test_rc_16_a_right_taken_away_while_a_new_index_is_built_is_gone_in_both(settings) -> None:
    def take_away(_: int) -> None:
        with closing(open_records(settings)) as records:
            held = records.writer.places("share")
            records.writer.set_places("share", [Place(each, Acl.nobody(), "taken away") for each in held])

    assert answers(settings)
    assert rebuild(settings, on_embedded=take_away) == Rebuilt(1, left_behind=())
    assert answers(settings) == []
