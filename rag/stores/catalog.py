"""Opens the catalog: SQLite in a file, or PostgreSQL by URL, brought to the current schema."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import (
    ARRAY,
    URL,
    Column,
    ColumnElement,
    Connection,
    Engine,
    String,
    bindparam,
    create_engine,
    event,
    func,
    select,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from rag.errors import Misconfigured, StoreUnavailable
from rag.stores.lease import FileLease

HEAD = "0001"
BUSY_TIMEOUT_S = 30
CACHE_KB = 65_536
MAPPED_BYTES = 1 << 30


class Catalog:
    """One open catalog. Transactions only through `reading` and `writing`, which map every error of the vendor."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sqlite = engine.dialect.name == "sqlite"

    @classmethod
    def open(cls, url: str) -> Catalog:
        """The catalog at a SQLAlchemy URL, migrated to the schema of this release.

        Raises:
            Misconfigured: the URL cannot be read.
            StoreUnavailable: the database does not answer or cannot be migrated.
        """
        catalog = cls(_engine(url))
        if catalog._schema_version() != HEAD:
            catalog._migrate()
        return catalog

    @contextmanager
    def lease(self, name: str) -> Iterator[None]:
        """Holds the sole right to `name` on this catalog for the block, over all processes that share it.

        Raises:
            StoreUnavailable: another process holds it.
        """
        taken = f"another process is {name} on this catalog; try again when it is done"
        if self._sqlite:
            lease = FileLease.take(Path(f"{self._engine.url.database}.{name}.lock"), taken)
            try:
                yield
            finally:
                lease.release()
            return
        with _mapped_errors(), self._engine.connect() as connection:
            key = {"name": f"kustos {name}"}
            if not connection.execute(text("SELECT pg_try_advisory_lock(hashtext(:name))"), key).scalar():
                raise StoreUnavailable(taken)
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(hashtext(:name))"), key)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection with one consistent view for as long as the block lasts.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        with _mapped_errors(), self._engine.connect() as connection:
            if self._sqlite:
                connection.exec_driver_sql("BEGIN")
            else:
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[Connection]:
        """A transaction that commits at the end of the block, or leaves no trace.

        Either way it outlives a crash of this process. `durable` also waits until the disk has it, so that a right once
        taken away stays away after a power cut; without it SQLite does not wait (a record per question cannot).

        Raises:
            StoreUnavailable: the database does not answer, is full or read-only.
        """
        with _mapped_errors(), self._engine.begin() as connection:
            if self._sqlite:
                connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                # Takes the write lock at once: a transaction that reads first and writes later could otherwise fail
                # half way, because SQLite does not let two of them upgrade.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    def is_among(self, column: Column[str], name: str) -> ColumnElement[bool]:
        """Condition that `column` is one of the texts in the parameter `name`, however many, as one parameter.

        An IN with a parameter each is rendered anew for every query, which costs more than running it.
        """
        if self._sqlite:
            each = func.json_each(bindparam(name)).table_valued("value")
            return column.in_(select(each.c.value))
        return column == func.any(bindparam(name, type_=ARRAY(String)))

    def among(self, *, ids: Sequence[str], **parameters: str) -> dict[str, object]:
        """Parameters for a statement with `is_among(..., "ids")`."""
        return {**parameters, "ids": json.dumps(ids) if self._sqlite else list(ids)}

    def close(self) -> None:
        self._engine.dispose()

    def _schema_version(self) -> str | None:
        with self.reading() as connection:
            if not self._engine.dialect.has_table(connection, "alembic_version"):
                return None
            version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            return version

    def _migrate(self) -> None:
        """Brings the schema to this release's, all or nothing, while no other process can.

        Raises:
            Misconfigured: the catalog was made by a newer release.
        """
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
        with self.writing() as connection:
            if not self._sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('kustos migration'))"))
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, HEAD)
            except CommandError as error:
                raise Misconfigured(f"the catalog was made by a newer Kustos than this one: {error}") from error


def sqlite_url(path: Path) -> str:
    """SQLAlchemy URL of a database file, whatever characters its path has."""
    return URL.create("sqlite+pysqlite", database=str(path)).render_as_string(hide_password=False)


@contextmanager
def _mapped_errors() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        # The statement and its parameters may hold passages, so only the driver's own words are kept.
        raise StoreUnavailable(f"the catalog does not answer: {getattr(error, 'orig', None) or type(error)}") from error


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        engine = create_engine(parsed, pool_pre_ping=parsed.get_backend_name() != "sqlite", hide_parameters=True)
    except (ArgumentError, SQLAlchemyError, ImportError) as error:
        raise Misconfigured(f"KUSTOS_CATALOG_URL cannot be used: {error}") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's transactions begin where `writing` says so
    for pragma in (
        "journal_mode=WAL",
        "foreign_keys=ON",
        f"cache_size=-{CACHE_KB}",
        f"mmap_size={MAPPED_BYTES}",
        f"busy_timeout={BUSY_TIMEOUT_S * 1000}",
    ):
        connection.execute(f"PRAGMA {pragma}")
