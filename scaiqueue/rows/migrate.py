"""Migrates the row store from inside a running event loop. Several processes may do it at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.rows.engine import is_sqlite, open_engine, reading

VERSION_TABLE = "mod_scaiqueue_migrations"
LOCK_SECONDS = 120


class MigrationStatus(NamedTuple):
    """`current` is "" on an empty database; `pending` is what `upgrade` would run, in order."""

    current: str
    head: str
    pending: list[str]

    @property
    def up_to_date(self) -> bool:
        return not self.pending and self.current == self.head


class MigrationLockError(RuntimeError):
    """Another process holds the migration lock for too long."""


async def upgrade(url: str, revision: str = "head") -> None:
    """Bring the tables to `revision`. Does nothing when they are there already."""
    await _run(url, lambda config: command.upgrade(config, revision))


async def downgrade(url: str, revision: str) -> None:
    """Take migrations back down to `revision` ("base" drops every table)."""
    await _run(url, lambda config: command.downgrade(config, revision))


async def status(url: str) -> MigrationStatus:
    """Where the database is and what is missing."""
    engine = open_engine(url, pool_size=1)
    try:
        async with reading(engine) as conn:
            current = await conn.run_sync(_current)
    finally:
        await engine.dispose()
    scripts = ScriptDirectory.from_config(_config())
    revisions = [script.revision for script in scripts.walk_revisions()]
    head = scripts.get_current_head() or ""
    newer = revisions[: revisions.index(current)] if current in revisions else revisions
    return MigrationStatus(current, head, newer[::-1])


def _current(conn: Connection) -> str:
    return (
        MigrationContext.configure(conn, opts={"version_table": VERSION_TABLE}).get_current_revision() or ""
    )


def _config() -> Config:
    config = Config()
    # Alembic interpolates option values: a percent sign in the path must be doubled.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


async def _run(url: str, step: Callable[[Config], None]) -> None:
    def work(conn: Connection) -> None:
        config = _config()
        config.attributes["connection"] = conn
        step(config)

    engine = open_engine(url, pool_size=1)
    try:
        async with _locked(engine) as conn:
            await conn.run_sync(work)
    finally:
        await engine.dispose()


@asynccontextmanager
async def _locked(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """SQLite's write transaction is the lock; MariaDB commits at each DDL, so it takes a named lock."""
    async with engine.connect() as conn:
        if is_sqlite(conn):
            async with conn.begin():
                yield conn
            return
        name = text("SELECT CONCAT('scaiqueue_migrate_', SHA1(DATABASE()))")
        lock = {"name": (await conn.execute(name)).scalar_one(), "seconds": LOCK_SECONDS}
        taken = (await conn.execute(text("SELECT GET_LOCK(:name, :seconds)"), lock)).scalar_one()
        if not taken:
            raise MigrationLockError(f"another process has been migrating for over {LOCK_SECONDS} s")
        await conn.commit()
        try:
            async with conn.begin():
                yield conn
        finally:
            await conn.execute(text("SELECT RELEASE_LOCK(:name)"), lock)
            await conn.commit()
