"""Before an epoch ends: what the journal still holds of it, carried into the rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import structlog
from redis.asyncio import Redis
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.fallback import mode
from scaiqueue.keys import ScopeKeys, Shard
from scaiqueue.moments import now_ms
from scaiqueue.persister.batch import Batch, Rows, ScopeBatch
from scaiqueue.persister.collect import load_parts, load_records, make_rows
from scaiqueue.persister.journal import Entry, JournalGap, after
from scaiqueue.persister.message_rows import History
from scaiqueue.persister.shard import Lost, ShardJournal
from scaiqueue.persister.transaction import PositionMoved, Writer
from scaiqueue.records import Version
from scaiqueue.recovery.streams import carry_streams
from scaiqueue.rows import events, positions
from scaiqueue.rows.engine import reading
from scaiqueue.rows.idempotency import owned_keys
from scaiqueue.rows.positions import Position, Step
from scaiqueue.rows.tables import scopes
from scaiqueue.scripts.runner import ScriptRunner

log = structlog.get_logger("scaiqueue.recovery")

ENTRIES = 500
MESSAGES = 500


async def position_of(engine: AsyncEngine, shard: int) -> Position:
    """The shard's position; made, as 0 with nothing in it, at the first start."""
    while True:
        async with reading(engine) as conn:
            found = (await positions.load(conn, [shard])).get(shard)
        if found is not None:
            return found
        try:
            async with engine.begin() as conn:
                await positions.create(conn, shard, Version(0, -1), now_ms())
        except IntegrityError:
            continue  # another process made it


async def carry_remainder(runner: ScriptRunner, writer: Writer, shard: Shard) -> Position:
    """Commit the rest of the journal. Where entries are missing, the index itself is carried over instead.

    The shard must be fenced: nothing is journaled meanwhile.
    """
    return await _carry(runner, writer, shard, lambda: position_of(writer.engine, shard.number))


async def carry_left(runner: ScriptRunner, engine: AsyncEngine, shard: Shard) -> Position | None:
    """Commit what the journal held when Redis was left, and answer up to where; None: it was not left.

    That is of an earlier epoch than what the rows have done since: it adds what is missing, and overrides
    nothing.
    """

    async def position() -> Position:
        left = await mode.left_position(engine, shard.number)
        if left is None:
            raise PositionMoved
        return left

    if await mode.left_position(engine, shard.number) is None:
        return None
    writer = LeftWriter(engine, runner.redis, mode.advance_left)
    return await _carry(runner, writer, shard, position)


class LeftWriter(Writer):
    """Writes batches of a journal that was left: idempotency keys that were used again stay as they are."""

    async def commit(self, batch: Batch, rows: Rows, old: Version) -> None:
        keys = [(row.scope_id, row.queue, row.key_hash) for row in rows.idempotency]
        if keys:
            async with reading(self.engine) as conn:
                taken = await owned_keys(conn, keys)
            rows.idempotency = [
                row for row, key in zip(rows.idempotency, keys, strict=True) if key not in taken
            ]
        await super().commit(batch, rows, old)

    async def _quick(self, step: Step, batch: Batch, rows: Rows) -> bool:
        """Rows may be newer than the journal: each is looked at."""
        return False

    async def _tell(self, conn: AsyncConnection, rows: Rows) -> None:
        """Readers of events are past the place that these have in the journal."""
        if rows.events:
            await events.add(conn, rows.events[0].shard, map(events.told_again, rows.events))


async def _carry(
    runner: ScriptRunner, writer: Writer, shard: Shard, position_now: Callable[[], Awaitable[Position]]
) -> Position:
    while True:
        position = await position_now()
        journal = ShardJournal(shard, position, runner, writer, _nobody)
        try:
            while True:
                raws: Any = await runner.redis.xrange(
                    shard.journal, min="(" + after(journal.cursor), count=ENTRIES
                )
                if not raws:
                    return Position(journal.position, journal.published)
                journal.feed(raws)
                while not journal.empty:
                    await journal.carry_next()
        except (PositionMoved, Lost):
            continue
        except JournalGap as gap:
            while not journal.empty:
                await journal.carry_next()
            log.error("journal_gap", shard=shard.number, after=str(gap.after), found=str(gap.found))
            await _carry_index(runner.redis, writer, shard, journal.position, journal.published)
            await carry_streams(runner.redis, writer.engine, shard)
            return Position(journal.position, journal.published)


async def _nobody(_shard: int, _version: Version) -> None:
    """The waiters hear of the new epoch instead."""


async def _carry_index(redis: Redis, writer: Writer, shard: Shard, at: Version, published: int) -> None:
    """Bring the rows of every message that the index holds up to date; their history has a hole."""
    place = Entry(at, "repair", "", now_ms(), [], None, "")
    async for keys in _scopes(writer.engine, shard):
        ids = [key.decode() async for key, _ in redis.hscan_iter(keys.key("state"), count=MESSAGES)]
        for start in range(0, len(ids), MESSAGES):
            messages = dict.fromkeys(sorted(ids[start : start + MESSAGES]), History(new=True))
            batch = Batch(shard.number, [place], published, {keys.root: ScopeBatch(keys, messages)})
            await load_records(redis, batch)
            await load_parts(redis, batch)
            await writer.commit(batch, await make_rows(redis, batch), at)


async def _scopes(engine: AsyncEngine, shard: Shard) -> AsyncIterator[ScopeKeys]:
    async with reading(engine) as conn:
        query = select(scopes.c.tenant_id, scopes.c.id).where(scopes.c.shard == shard.number)
        found = (await conn.execute(query)).all()
    for tenant, scope_id in found:
        yield ScopeKeys(shard, tenant, scope_id)
