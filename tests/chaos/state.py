"""What the index and the rows hold, read around the processes under test."""

from __future__ import annotations

from typing import Any

import msgspec
from redis.asyncio import Redis
from sqlalchemy import Table, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.keys import SYSTEM_QUEUES, ScopeKeys, Shard
from scaiqueue.records import State, Version, decode_record
from scaiqueue.rows import positions
from scaiqueue.rows.engine import reading
from scaiqueue.rows.tables import message_archive, messages
from tests.chaos.history import Fate, Final, Member
from tests.chaos.load import FIFO, PARKED, PRIORITY
from tests.chaos.site import PROBE, SHARDS

QUEUES = (FIFO, PRIORITY, PARKED, PROBE, SYSTEM_QUEUES[0])
SETS = ("pending", "scheduled", "claimed", "review", "expiry")
MODE = text("SELECT mode FROM mod_scaiqueue_mode")
_key = msgspec.json.Decoder(dict[str, str])


async def waiting(redis: Redis, scope: ScopeKeys, queues: tuple[str, ...] = (FIFO, PRIORITY)) -> int:
    """How many messages of `queues` are still to be worked on."""
    names = [scope.queue(queue).key(name) for queue in queues for name in ("pending", "scheduled", "claimed")]
    async with redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.zcard(name)
        return sum(await pipe.execute())


async def settled(redis: Redis, engine: AsyncEngine, scope: ScopeKeys) -> bool:
    """True when the rows hold all of the journals, nothing that has ended is in the index, no lease runs."""
    async with reading(engine) as conn:
        known = await positions.load(conn, range(SHARDS))
    for number in range(SHARDS):
        last: Any = await redis.xrevrange(Shard(number).journal, count=1)
        if last and (number not in known or known[number].version < Version.parse(last[0][0])):
            return False
    records = await redis.hvals(scope.key("state"))
    states = {State(decode_record(raw).state) for raw in records}
    return State.claimed not in states and not any(state.terminal for state in states)


async def completed(engine: AsyncEngine, since_ms: int) -> list[str]:
    """Messages that the rows hold as completed, changed since then."""
    query = select(messages.c.id).where(
        messages.c.state == State.completed.value, messages.c.updated_at >= since_ms
    )
    async with reading(engine) as conn:
        return list((await conn.execute(query)).scalars())


async def through_redis(engine: AsyncEngine) -> bool:
    """False while the rows serve instead of Redis, or one takes over from the other."""
    async with reading(engine) as conn:
        return (await conn.execute(MODE)).scalar_one() == "redis"


async def read_final(redis: Redis, engine: AsyncEngine, scope: ScopeKeys) -> Final:
    records: dict[bytes, bytes] = await redis.hgetall(scope.key("state"))
    members: list[Member] = []
    for queue in QUEUES:
        for name in SETS:
            ids: list[bytes] = await redis.zrange(scope.queue(queue).key(name), 0, -1)
            members += [Member(message_id.decode(), queue, name) for message_id in ids]
    async with reading(engine) as conn:
        rows, archive = await _rows(conn, messages, scope), await _rows(conn, message_archive, scope)
    index = {}
    for raw_id, raw in records.items():
        message_id, record = raw_id.decode(), decode_record(raw)
        row = rows.get(message_id)
        index[message_id] = Fate(
            record.queue, State(record.state).name, record.attempts, row.key if row else ""
        )
    return Final(index, members, rows, archive)


async def _rows(conn: AsyncConnection, table: Table, scope: ScopeKeys) -> dict[str, Fate]:
    columns = table.c.id, table.c.queue, table.c.state, table.c.attempts, table.c.body
    found = await conn.execute(select(*columns).where(table.c.scope_id == scope.scope_id))
    return {
        row.id: Fate(row.queue, State(row.state).name, row.attempts, _key.decode(row.body)["key"])
        for row in found
    }
