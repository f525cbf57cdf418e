"""The migrations make exactly the tables of rows/tables.py, and several processes may run them at once."""

from __future__ import annotations

import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, select, text

from scaiqueue.rows import event_tables, tables
from scaiqueue.rows.engine import open_engine, reading
from scaiqueue.rows.migrate import VERSION_TABLE, downgrade, status, upgrade
from scaiqueue.settings import SettingsError


def _differences(conn: Connection) -> list[object]:
    context = MigrationContext.configure(conn, opts={"version_table": VERSION_TABLE})
    assert event_tables.webhooks.metadata is tables.metadata
    return list(compare_metadata(context, tables.metadata))


def _table_names(conn: Connection) -> list[str]:
    return inspect(conn).get_table_names()


async def test_migrations_make_the_tables_of_the_metadata(database_url: str) -> None:
    before = await status(database_url)
    await upgrade(database_url)
    after = await status(database_url)
    engine = open_engine(database_url)
    async with reading(engine) as conn:
        assert await conn.run_sync(_differences) == []
    await engine.dispose()
    assert (before.current, before.up_to_date) == ("", False)
    assert before.pending[-1] == after.head == after.current
    assert after.up_to_date


async def test_down_to_base_removes_every_table_and_up_makes_them_again(database_url: str) -> None:
    await upgrade(database_url)
    await downgrade(database_url, "base")
    engine = open_engine(database_url)
    async with reading(engine) as conn:
        assert set(await conn.run_sync(_table_names)) <= {VERSION_TABLE}
    await upgrade(database_url)
    async with reading(engine) as conn:
        assert (await conn.execute(select(tables.messages))).all() == []
    await engine.dispose()


async def test_several_processes_migrate_at_once(database_url: str) -> None:
    await asyncio.gather(*(upgrade(database_url) for _ in range(4)))
    assert (await status(database_url)).up_to_date


async def test_sessions_have_the_known_modes(database_url: str) -> None:
    engine = open_engine(database_url)
    async with reading(engine) as conn:
        if conn.dialect.name == "sqlite":
            found = [
                (await conn.execute(text(f"PRAGMA {name}"))).scalar_one()
                for name in ("journal_mode", "synchronous", "busy_timeout")
            ]
            assert found == ["wal", 2, 15000]
        else:
            found = (
                await conn.execute(text("SELECT @@tx_isolation, @@sql_mode, @@character_set_client"))
            ).one()
            assert found[0] == "READ-COMMITTED"
            assert "NO_BACKSLASH_ESCAPES" not in found[1]
            assert "STRICT_ALL_TABLES" in found[1]
            assert found[2] == "utf8mb4"
    await engine.dispose()


@pytest.mark.parametrize(
    "url", ["postgresql://x/y", "nonsense", "sqlite+aiosqlite://", "mysql+pymysql://x/y"]
)
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="database_url"):
        open_engine(url)
