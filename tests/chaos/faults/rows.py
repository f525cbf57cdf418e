"""MariaDB dies, stalls, or is in somebody's way."""

from __future__ import annotations

import asyncio

from sqlalchemy import text

from scaiqueue.rows.engine import open_engine
from tests.chaos.faults.kinds import Scene, fault

OTHERS = """
SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND command <> 'Daemon'
"""


@fault()
async def rows_kill(scene: Scene) -> None:
    """kill -9 MariaDB"""
    scene.site.mariadb.kill()
    await asyncio.sleep(scene.dice.uniform(0.0, 2.0))
    await scene.site.revive(scene.site.mariadb)


@fault()
async def rows_restart(scene: Scene) -> None:
    """MariaDB is stopped in order and started again"""
    await asyncio.to_thread(scene.site.mariadb.stop)
    await scene.site.revive(scene.site.mariadb)


@fault()
async def rows_freeze(scene: Scene) -> None:
    """SIGSTOP MariaDB for 1 to 5 s"""
    scene.site.mariadb.pause()
    await asyncio.sleep(scene.pace * scene.dice.uniform(1.0, 5.0))
    scene.site.mariadb.resume()


@fault()
async def rows_connections_killed(scene: Scene) -> None:
    """KILL of every connection to MariaDB, five times"""
    for _ in range(5):
        listed = await asyncio.to_thread(scene.site.mariadb.run, OTHERS)
        kills = "; ".join(f"KILL {number}" for number in listed.split())
        # One that ended meanwhile makes the client stop: the next round takes the others.
        await asyncio.to_thread(scene.site.mariadb._client, kills or "SELECT 1")
        await asyncio.sleep(0.2)


@fault()
async def positions_locked(scene: Scene) -> None:
    """Somebody else's transaction holds the rows of the journal's positions for 3 s"""
    engine = open_engine(scene.site.database_url)
    try:
        async with engine.begin() as conn:
            await conn.execute(text("SELECT * FROM mod_scaiqueue_journal_positions FOR UPDATE"))
            await asyncio.sleep(3.0)
    finally:
        await engine.dispose()
