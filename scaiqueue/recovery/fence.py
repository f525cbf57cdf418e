"""Whether the index is the one that the rows know: the same server since it was last made whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.lock import Lock
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.keys import RECOVERY_KEY, Shard
from scaiqueue.persister.journal import after, follows
from scaiqueue.persister.shard import journal_end
from scaiqueue.records import Version
from scaiqueue.rows import positions
from scaiqueue.rows.engine import reading
from scaiqueue.upkeep import UpkeepLock

RUN_ID = "run_id"
# As long as the next process waits where one died in the middle of it; it is extended page by page.
LOCK_SECONDS = 10.0


class Health(NamedTuple):
    """`run_id` of the server; `fenced` shards have no epoch or come from another run of it."""

    run_id: str
    fenced: list[int]


def recovery_lock(redis: Redis, run_id: str) -> Lock:
    """Only one process recovers at a time; the position's compare-and-set holds where the lock is lost.

    A lock that was taken in an earlier run of the server, and came back with its file, is nobody's.
    """
    return UpkeepLock(redis, f"{RECOVERY_KEY}:{run_id}", timeout=LOCK_SECONDS, sleep=0.1)


async def look(redis: Redis, shards: Sequence[int]) -> Health:
    """One round trip: which shards are behind the fence."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.info("server")
        for number in shards:
            pipe.exists(Shard(number).epoch)
            pipe.hget(Shard(number).limits, RUN_ID)
        info, *rest = await pipe.execute()
    run_id: str = info["run_id"]
    known = zip(shards, rest[::2], rest[1::2], strict=True)
    return Health(run_id, [n for n, whole, run in known if not whole or run != run_id.encode()])


async def disagreeing(redis: Redis, engine: AsyncEngine, shards: Sequence[int]) -> list[int]:
    """Shards whose epoch is not that of their position, or whose journal does not go on from there."""
    async with reading(engine) as conn:
        known = await positions.load(conn, shards)
    return [n for n in shards if n not in known or not await _agrees(redis, Shard(n), known[n].version)]


async def _agrees(redis: Redis, shard: Shard, position: Version) -> bool:
    epoch = await redis.get(shard.epoch)
    if epoch is None or int(epoch) != position.epoch:
        return False
    following: Any = await redis.xrange(shard.journal, min="(" + after(position), count=1)
    if following:
        return follows(position, Version.parse(following[0][0]))
    return position.n < 0 or await journal_end(redis, shard) >= position
