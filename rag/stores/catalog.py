"""Opens the catalog: SQLite in a file, or PostgreSQL by URL, brought to the current schema."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import local
from typing import Any
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import (
    ARRAY,
    URL,
    Column,
    ColumnElement,
    Connection,
    CursorResult,
    Engine,
    Executable,
    bindparam,
    create_engine,
    event,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from rag.errors import Misconfigured, StoreUnavailable
from rag.stores.catalog_schema import leases
from rag.stores.lease import FileLease

HEAD = "0002"
BUSY_TIMEOUT_S = 30
"""So long a transaction of a sync, or of somebody's deed, waits for SQLite's one lock."""
ASKING_TIMEOUT_S = 5
"""And so long one that belongs to a question: who asks had better hear 503 than nothing."""
CACHE_KB = 65_536
MAPPED_BYTES = 1 << 30
# A firewall forgets a connection that is silent, and a server keeps the locks of one whose client is gone.
KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
_KEPT_BY_SERVER = """
    SELECT set_config(name, wanted, false) FROM pg_settings JOIN (VALUES
        ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '3'),
        ('idle_session_timeout', '0')) AS kept (parameter, wanted) ON name = parameter"""

Rendered = Callable[[Connection, Mapping[str, object]], CursorResult[*tuple[Any, ...]]]
"""Runs one statement over a connection, with these values for its parameters."""


class _Held(local):
    """Leases that this thread holds: name to the number under which it took each."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}


class Catalog:
    """One open catalog. Transactions only through `reading` and `writing`, which map every error of the vendor."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held = _Held()
        self.is_sqlite = engine.dialect.name == "sqlite"

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
    def lease(self, name: str, tenant: str) -> Iterator[None]:
        """Holds the sole right to `name` for a tenant of this catalog, for the block, over all processes that share it.

        The lock under it can be lost unnoticed, with a connection or with a deleted file. So each taking has a number
        of its own, and this thread's transactions in the block commit only while nobody has taken a later one.

        Raises:
            StoreUnavailable: another process holds it; or, from `writing`, has it now.
        """
        taken = f"another process is {name} on this catalog; try again when it is done"
        key = f"{name}.{tenant}"
        with self._file_lock(key, taken) if self.is_sqlite else self._server_lock(key, taken):
            self._held.numbers[key] = self._next_number(key)
            try:
                yield
            finally:
                del self._held.numbers[key]

    @contextmanager
    def _file_lock(self, name: str, taken: str) -> Iterator[None]:
        lease = FileLease.take(Path(f"{self._engine.url.database}.{quote(name, safe='')}.lock"), taken)
        try:
            yield
        finally:
            lease.release()

    @contextmanager
    def _server_lock(self, name: str, taken: str) -> Iterator[None]:
        """A lock of a session. No transaction is open meanwhile, which servers may end when it is idle."""
        key = {"name": f"kustos {name}"}
        with _mapped_errors(), self._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text(_KEPT_BY_SERVER))
            if not connection.execute(text("SELECT pg_try_advisory_lock(hashtext(:name))"), key).scalar():
                raise StoreUnavailable(taken)
            try:
                yield
            finally:
                with suppress(SQLAlchemyError):  # a connection that is lost took the lock with it
                    connection.execute(text("SELECT pg_advisory_unlock(hashtext(:name))"), key)

    def _next_number(self, name: str) -> int:
        """Waits for a transaction of an earlier holder that is about to commit; later ones of his fail."""
        grown = update(leases).where(leases.c.name == name).values(number=leases.c.number + 1)
        with self.writing() as connection:
            number: int | None = connection.execute(grown.returning(leases.c.number)).scalar()
            if number is None:
                number = 1
                connection.execute(insert(leases).values(name=name, number=number))
        return number

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection with one consistent view for as long as the block lasts.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        with _mapped_errors(), self._engine.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN")
            else:
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[Connection]:
        """A transaction that commits at the end of the block, or leaves no trace.

        Either way it outlives a crash of this process. `durable` also waits until the disk has it, so that a right once
        taken away stays away after a power cut; without it SQLite does not wait (a record per question cannot), for the
        disk nor, for long, for others that write.

        Raises:
            StoreUnavailable: the database does not answer, is full or read-only; or this thread held a lease that
                another process has taken meanwhile.
        """
        with _mapped_errors(), self._engine.begin() as connection:
            if self.is_sqlite:
                _begin(connection, durable)
            for name, number in self._held.numbers.items():
                _refuse_if_lost(connection, name, number)
            yield connection

    def take_turns(self, connection: Connection, what: str) -> None:
        """Lets no other transaction past this point for `what` until this one, of `writing`, has ended.

        On SQLite nothing can come between anyway.
        """
        if not self.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:what))"), {"what": f"kustos {what}"})

    def rendered(self, statement: Executable) -> Rendered:
        """A function that runs the statement, written out once: looking it up again costs more than a small one takes.

        Only for values that the database's driver takes as they are.
        """
        compiled = statement.compile(dialect=self._engine.dialect)  # type: ignore[attr-defined]
        sql, order, constants = str(compiled), compiled.positiontup, dict(compiled.params)

        def run(connection: Connection, values: Mapping[str, object]) -> CursorResult[*tuple[Any, ...]]:
            given = {**constants, **values}
            return connection.exec_driver_sql(sql, tuple(given[name] for name in order) if order else given)

        return run

    def is_among(self, column: Column[Any], name: str) -> ColumnElement[bool]:
        """Condition that `column` is one of the values in the parameter `name`, however many, as one parameter.

        An IN with a parameter each is rendered anew for every query, which costs more than running it.
        """
        if self.is_sqlite:
            each = func.json_each(bindparam(name)).table_valued("value")
            return column.in_(select(each.c.value))
        return column == func.any(bindparam(name, type_=ARRAY(column.type)))

    def among(self, *, ids: Sequence[str], **parameters: str) -> dict[str, object]:
        """Parameters for a statement with `is_among(..., "ids")`."""
        return {**parameters, **self.lists(ids=ids)}

    def lists(self, **values: Sequence[str] | Sequence[int]) -> dict[str, object]:
        """Parameters for a statement with `is_among`, each by the name given there."""
        return {name: json.dumps(each) if self.is_sqlite else list(each) for name, each in values.items()}

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
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('kustos migration'))"))
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, HEAD)
            except CommandError as error:
                raise Misconfigured(f"the catalog was made by a newer Kustos than this one: {error}") from error


def sqlite_url(path: Path) -> str:
    """SQLAlchemy URL of a database file, whatever characters its path has."""
    return URL.create("sqlite+pysqlite", database=str(path)).render_as_string(hide_password=False)


def _refuse_if_lost(connection: Connection, name: str, number: int) -> None:
    """Who takes the lease next has to wait until this transaction has ended, because it reads the number FOR SHARE."""
    current = select(leases.c.number).where(leases.c.name == name).with_for_update(read=True)
    if connection.execute(current).scalar() != number:
        raise StoreUnavailable(f"this process was {name} and lost the right to; another process has it now")


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
        remote = parsed.get_backend_name() == "postgresql"
        kept = {name: value for name, value in KEEPALIVES.items() if name not in parsed.query} if remote else {}
        engine = create_engine(parsed, pool_pre_ping=remote, connect_args=kept, hide_parameters=True)
    except (ArgumentError, SQLAlchemyError, ImportError) as error:
        raise Misconfigured(f"KUSTOS_CATALOG_URL cannot be used: {error}") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        _follow_file(engine, Path(str(parsed.database)))
    return engine


def _follow_file(engine: Engine, path: Path) -> None:
    """Lets connections go whose file is no longer the one at `path`, because a backup was put into its place.

    They would go on reading the file of before, which is in no folder any more: other rights than everybody else's.
    """

    def remember(_connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        record.info["file"] = _identity(path)

    def compare(_connection: sqlite3.Connection, record: ConnectionPoolEntry, _proxy: object) -> None:
        if record.info["file"] != _identity(path):
            raise DisconnectionError("another file is in the place of the catalog")

    event.listen(engine, "connect", remember)
    event.listen(engine, "checkout", compare)


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and number of a file; None where there is none, or none that can be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _begin(connection: Connection, durable: bool) -> None:
    """Takes SQLite's write lock at once.

    A transaction that reads first and writes later could fail half way: SQLite does not let two of them upgrade.
    """
    connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
    if not durable:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    connection.exec_driver_sql(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}")
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={int(ASKING_TIMEOUT_S * 1000)}")


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's transactions begin where `writing` says so
    for pragma in (
        "journal_mode=WAL",
        "foreign_keys=ON",
        f"cache_size=-{CACHE_KB}",
        f"mmap_size={MAPPED_BYTES}",
        f"busy_timeout={int(ASKING_TIMEOUT_S * 1000)}",
    ):
        connection.execute(f"PRAGMA {pragma}")
