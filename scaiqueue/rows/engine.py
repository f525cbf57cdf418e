"""Opens the row store: MariaDB for production, SQLite for one machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import ColumnElement, Connection, event, func, literal
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from scaiqueue.moments import now_ms
from scaiqueue.settings import SettingsError

# Literals in the bulk statements are escaped for exactly this mode.
SQL_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
SESSION = (
    f"SET SESSION sql_mode='{SQL_MODE}', time_zone='+00:00', tx_isolation='READ-COMMITTED', "
    "innodb_lock_wait_timeout=10"
)
BUSY_MS = 15_000
CONNECTION_LOST = 2013
POOL_WITHIN_S = 5.0
CONNECTED_WITHIN_S = 5
# What a request may wait for the rows that it names.
LOOK_UP_WITHIN_S = 3.0
READ_ONLY = "scaiqueue_read"


def open_engine(url: str, *, pool_size: int = 8, within_s: float | None = None) -> AsyncEngine:
    """An engine for `mysql+asyncmy://…` or `sqlite+aiosqlite:///…`. No answer of a server takes longer
    than `within_s`; None: as long as it takes, for migrations.

    `engine.begin()` is a write transaction (on SQLite it takes the write lock at once);
    use `reading(engine)` to read. Raises SettingsError for another kind of URL.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SettingsError(f"database_url: {url!r} is not a database URL") from None
    if parsed.drivername == "sqlite+aiosqlite":
        return _open_sqlite(parsed, pool_size)
    if parsed.drivername in ("mysql+asyncmy", "mariadb+asyncmy"):
        return _open_mariadb(parsed, pool_size, within_s)
    raise SettingsError(
        f"database_url: {parsed.drivername!r} is not supported: use mysql+asyncmy://… or sqlite+aiosqlite:///…"
    )


@asynccontextmanager
async def reading(engine: AsyncEngine, within_s: float | None = None) -> AsyncIterator[AsyncConnection]:
    """A connection for reading: one consistent state on SQLite, and never in a writer's way.

    Raises TimeoutError after `within_s`: a row store that is frozen says nothing at all.
    """
    async with asyncio.timeout(within_s), engine.connect() as conn:
        await conn.execution_options(**{READ_ONLY: True})
        yield conn


def is_sqlite(engine: AsyncEngine | AsyncConnection) -> bool:
    return engine.dialect.name == "sqlite"


def clock(conn: AsyncConnection) -> ColumnElement[Any]:
    """The row store's time in ms: one clock for all processes. With SQLite they share a machine's."""
    if is_sqlite(conn):
        return literal(now_ms())
    return func.floor(func.unix_timestamp(func.now(3)) * 1000)


def _open_mariadb(url: URL, pool_size: int, within_s: float | None) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        pool_recycle=1800,
        pool_timeout=POOL_WITHIN_S,
        connect_args={
            "charset": "utf8mb4",
            "init_command": SESSION,
            "connect_timeout": CONNECTED_WITHIN_S,
            "read_timeout": within_s,
        },
    )

    @event.listens_for(engine.sync_engine, "do_connect")
    def connect(
        dialect: Dialect, _entry: ConnectionPoolEntry, args: list[Any], options: dict[str, Any]
    ) -> DBAPIConnection:
        try:
            return dialect.connect(*args, **options)
        except (RuntimeError, EOFError) as error:
            # The driver's words for a connection that broke while it was made.
            raise dialect.loaded_dbapi.OperationalError(CONNECTION_LOST, str(error)) from error

    return engine


def _open_sqlite(url: URL, pool_size: int) -> AsyncEngine:
    if url.database in (None, "", ":memory:"):
        raise SettingsError("database_url: SQLite needs a file, rows in memory are not durable")
    engine = create_async_engine(url, pool_size=pool_size, max_overflow=pool_size, pool_timeout=POOL_WITHIN_S)

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        cursor = connection.cursor()
        for pragma in (f"busy_timeout={BUSY_MS}", "journal_mode=WAL", "synchronous=FULL"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(conn: Connection) -> None:
        read = conn.get_execution_options().get(READ_ONLY, False)
        conn.exec_driver_sql("BEGIN" if read else "BEGIN IMMEDIATE")

    return engine
