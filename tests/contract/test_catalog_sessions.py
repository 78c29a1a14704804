"""Sessions in the catalog, over SQLite and PostgreSQL: each tenant's own, renewed by one at a time, ended for good."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rag.access.principals import Principal
from rag.stores.catalog import Catalog
from rag.stores.catalog_sessions import CatalogSessions, SessionRow

ANN, BOB = Principal("kc:acme:user:ann"), Principal("kc:acme:user:bob")
ROW = SessionRow("a" * 64, ANN, "sid-1", "sealed", 1_000, 1_000)
SINCE = {"unused_since": 0, "began_before": 0}


@pytest.fixture
def store(catalog: Catalog) -> CatalogSessions:
    kept = CatalogSessions(catalog, "main")
    kept.begin(ROW, **SINCE)
    return kept


def hear(
    store: CatalogSessions,
    token: str,
    *,
    now: int = 100,
    ends_at: int = 200,
    sid: str | None = None,
    subject: Principal | None = None,
) -> bool:
    return store.hear(token * 64, now, ends_at, sid=sid, subject=subject)


def test_a_session_is_found_as_it_was_kept_and_by_its_tenant_alone(store: CatalogSessions, catalog: Catalog) -> None:
    assert store.find(ROW.id) == ROW
    assert store.find("b" * 64) is None
    other = CatalogSessions(catalog, "other")
    assert other.find(ROW.id) is None
    assert hear(other, "t", sid="sid-1")
    assert hear(other, "u", subject=ANN)
    other.end(ROW.id)
    assert store.find(ROW.id) == ROW


def test_one_alone_renews_a_generation(store: CatalogSessions) -> None:
    assert store.claim(ROW.id, 0, now=10, until=20)
    assert not store.claim(ROW.id, 0, now=19, until=29)
    assert store.claim(ROW.id, 0, now=20, until=30), "whoever claimed it has not come back"
    assert store.renew(ROW.id, 0, "following")
    assert store.find(ROW.id) == replace(ROW, sealed="following", generation=1)
    assert not store.claim(ROW.id, 0, now=40, until=50)
    assert not store.renew(ROW.id, 0, "late")
    assert store.claim(ROW.id, 1, now=40, until=50)
    store.unclaim(ROW.id, 1)
    assert store.claim(ROW.id, 1, now=41, until=51)


def test_what_has_ended_is_gone_and_is_not_renewed(store: CatalogSessions) -> None:
    store.begin(replace(ROW, id="b" * 64, sid="sid-2"), **SINCE)
    store.begin(replace(ROW, id="c" * 64, sid=None, subject=BOB), **SINCE)
    assert hear(store, "t", sid="sid-1")
    assert [store.find(each * 64) is not None for each in "abc"] == [False, True, True]
    assert not store.renew(ROW.id, 0, "late")
    assert hear(store, "u", subject=ANN)
    assert store.find("b" * 64) is None
    assert store.find("c" * 64) is not None
    store.end("c" * 64)
    store.end("c" * 64)
    assert store.find("c" * 64) is None


def test_who_signs_in_sweeps_out_what_has_ended(store: CatalogSessions) -> None:
    store.begin(replace(ROW, id="b" * 64, began_at=2_000, used_at=2_000), **SINCE)
    store.touch("b" * 64, 3_000)
    store.begin(replace(ROW, id="c" * 64, began_at=4_000, used_at=4_000), unused_since=2_500, began_before=1_500)
    assert [store.find(each * 64) is not None for each in "abc"] == [False, True, True]


def test_a_logout_token_is_heard_once_until_it_could_not_count_any_more(store: CatalogSessions) -> None:
    assert hear(store, "t", now=100, ends_at=200)
    assert not hear(store, "t", now=199, ends_at=200, sid="sid-1")
    assert store.find(ROW.id) is not None
    assert hear(store, "u", now=150, ends_at=250)
    assert hear(store, "t", now=200, ends_at=300)
