"""The mode row: which path transitions take, agreed between all processes by compare-and-set.

    redis ──silent──▶ leaving ──2 s──▶ fallback ──answers again──▶ returning ──index whole──▶ redis
                         └── a process that hears Redis: back to redis

Two seconds of `leaving` are longer than any process believes what it read, so that nobody goes through Redis
any more when the rows take over. What changes the owner of transitions raises the epoch of every shard in the
same transaction: an unfinished transaction of the other path then fails at the shard's position.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.records import Version
from scaiqueue.rows import positions
from scaiqueue.rows.engine import clock, reading
from scaiqueue.rows.positions import Position
from scaiqueue.rows.tables import journal_positions, left_positions
from scaiqueue.rows.tables import mode as table

LEAVING_S = 2.0
_ROW = 1


class Mode(StrEnum):
    redis = "redis"
    leaving = "leaving"
    fallback = "fallback"
    returning = "returning"


class ModeRow(NamedTuple):
    """`term` counts the times that Redis was left, `age_s` since the mode was written, by the rows' clock."""

    mode: Mode
    term: int
    age_s: float


async def read(conn: AsyncConnection, *, lock: bool = False) -> ModeRow:
    query = select(table.c.mode, table.c.term, table.c.since, clock(conn)).where(table.c.id == _ROW)
    found = (await conn.execute(query.with_for_update() if lock else query)).one()
    return ModeRow(Mode(found[0]), found[1], (int(found[3]) - found[2]) / 1000)


async def is_away(engine: AsyncEngine) -> bool:
    """True while Redis has no part in anything."""
    async with reading(engine) as conn:
        return (await read(conn)).mode is Mode.fallback


async def epochs(conn: AsyncConnection) -> dict[int, int]:
    """Shard → the epoch that calls must be of."""
    c = journal_positions.c
    return {row[0]: row[1] for row in await conn.execute(select(c.shard, c.epoch))}


async def _write(conn: AsyncConnection, mode: Mode, term: int) -> None:
    values = {"mode": mode.value, "term": term, "since": clock(conn)}
    await conn.execute(update(table).where(table.c.id == _ROW).values(**values))


async def doubt(engine: AsyncEngine) -> None:
    """Redis is silent: announce that it will be left."""
    async with engine.begin() as conn:
        row = await read(conn, lock=True)
        if row.mode in (Mode.redis, Mode.returning):
            await _write(conn, Mode.leaving, row.term + 1)


async def veto(engine: AsyncEngine, term: int) -> None:
    """Redis answers here: it is not left. Where the index was not whole yet, it is being made whole again."""
    async with engine.begin() as conn:
        row = await read(conn, lock=True)
        if (row.mode, row.term) == (Mode.leaving, term):
            unfinished = (await conn.execute(select(left_positions.c.shard).limit(1))).first()
            await _write(conn, Mode.returning if unfinished else Mode.redis, term)


async def leave(engine: AsyncEngine, term: int) -> None:
    """Nobody hears Redis, and all who can read the rows have heard of it: the rows take over."""
    async with engine.begin() as conn:
        row = await read(conn, lock=True)
        if (row.mode, row.term) != (Mode.leaving, term) or row.age_s < LEAVING_S:
            return
        left = set((await conn.execute(select(left_positions.c.shard))).scalars())
        c = journal_positions.c
        query = select(c.shard, c.epoch, c.n, c.published, c.updated_at).order_by(c.shard).with_for_update()
        # A shard that was left before and is not back yet has its journal's end where it was.
        ended = [row._asdict() for row in await conn.execute(query) if row.shard not in left]
        if ended:
            await conn.execute(insert(left_positions), ended)
        await _raise_epochs(conn)
        await _write(conn, Mode.fallback, term)


async def begin_return(engine: AsyncEngine, term: int) -> None:
    """Redis answers again: no more transitions in the rows."""
    async with engine.begin() as conn:
        row = await read(conn, lock=True)
        if (row.mode, row.term) == (Mode.fallback, term):
            await _raise_epochs(conn)
            await _write(conn, Mode.returning, term)


async def end_return(engine: AsyncEngine, term: int) -> None:
    """Every shard is back in Redis."""
    async with engine.begin() as conn:
        row = await read(conn, lock=True)
        unfinished = (await conn.execute(select(left_positions.c.shard).limit(1))).first()
        if (row.mode, row.term) == (Mode.returning, term) and not unfinished:
            await _write(conn, Mode.redis, term)


async def _raise_epochs(conn: AsyncConnection) -> None:
    await conn.execute(update(journal_positions).values(epoch=journal_positions.c.epoch + 1, n=-1))


async def left_position(engine: AsyncEngine, shard: int) -> Position | None:
    """Up to where the rows hold the journal that the shard had when Redis was left; None once it is back."""
    async with reading(engine) as conn:
        return (await positions.load(conn, [shard], left_positions)).get(shard)


async def has_returned(conn: AsyncConnection, shard: int) -> None:
    """The shard's journal is in the rows to its end, and the index has all that the rows have."""
    await conn.execute(delete(left_positions).where(left_positions.c.shard == shard))


async def advance_left(
    conn: AsyncConnection, shard: int, old: Version, new: Version, published: int, now_ms: int
) -> bool:
    """As `positions.advance`, for the end of a journal that was left."""
    return await positions.advance(conn, shard, old, new, published, now_ms, left_positions)
