"""Looks at a shard as a whole: its epoch, and its journal against the position of the rows."""

from __future__ import annotations

import time
from typing import Any

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.integrity.kinds import Finding, Kind
from scaiqueue.keys import Shard
from scaiqueue.persister.journal import after, decode_any, follows
from scaiqueue.persister.shard import journal_end
from scaiqueue.records import Version
from scaiqueue.rows import positions
from scaiqueue.rows.engine import reading

STUCK_MS = 60_000


async def examine_journal(redis: Redis, engine: AsyncEngine, shard: Shard) -> list[Finding]:
    """The position is read first: it never comes beyond what the journal holds afterwards."""
    async with reading(engine) as conn:
        stored = (await positions.load(conn, [shard.number])).get(shard.number)
    epoch = await redis.get(shard.epoch)
    if epoch is None or stored is None:
        return []
    position = stored.version
    if int(epoch) != position.epoch:
        return [_finding(Kind.epoch_differs, shard, f"index {int(epoch)}, rows {position.epoch}", position)]
    following: Any = await redis.xrange(shard.journal, min="(" + after(position), count=1)
    if not following:
        end = await journal_end(redis, shard)
        if position.n < 0 or end >= position:
            return []
        return [_finding(Kind.position_beyond, shard, f"rows at {position}, journal at {end}", position)]
    first = Version.parse(following[0][0])
    if not follows(position, first):
        return [_finding(Kind.journal_gap, shard, f"rows at {position}, next is {first}", position)]
    age_ms = time.time() * 1000 - decode_any(following[0]).at
    if age_ms > STUCK_MS:
        detail = f"{first} has waited since {age_ms / 1000:.0f} s"
        return [_finding(Kind.position_stuck, shard, detail, position)]
    return []


def _finding(kind: Kind, shard: Shard, detail: str, position: Version) -> Finding:
    of = (kind, shard.number, "", "", "", f"shard {shard.number}")
    return Finding(*of, detail, str(position), position.epoch)
