"""Catalogs that the contract suite runs over: SQLite always, PostgreSQL where there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from rag.stores.catalog import Catalog, sqlite_url
from rag.stores.catalog_audit import CatalogAudit
from rag.stores.catalog_audit_trail import AuditTrail
from tests.audits import (
    NOW_S,
    open_audit,
    open_trail,
)
from tests.servers import NO_POSTGRES, postgres, postgres_binaries


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    given = os.environ.get("KUSTOS_TEST_POSTGRES_URL")
    binaries = postgres_binaries()
    if given:
        yield given
    elif binaries is None:
        pytest.skip(NO_POSTGRES)
    else:
        with postgres(binaries) as url:
            yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog_url(request: pytest.FixtureRequest, tmp_path) -> str:
    """URL of an empty database."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "catalog.db")
    url: str = request.getfixturevalue("postgres_url")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return url


@pytest.fixture
def catalog(catalog_url: str) -> Iterator[Catalog]:
    opened = Catalog.open(catalog_url)
    yield opened
    opened.close()


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def log(catalog: Catalog, home: Path) -> CatalogAudit:
    return open_audit(catalog, home, clock=lambda: NOW_S)


@pytest.fixture
def trail(catalog: Catalog, home: Path) -> AuditTrail:
    return open_trail(catalog, home)
