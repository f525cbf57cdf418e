"""Ends streams that nobody writes to, and clears away those that have ended: from Redis once the rows hold
them, from the rows after `stream_retention_s`."""

from __future__ import annotations

import time
from typing import Any

from scaiqueue.keys import Shard, StreamKeys
from scaiqueue.rows import streams
from scaiqueue.scripts import binding
from scaiqueue.scripts.replies import NotReadyError

from .agent import AgentContext, Budget, Result

STEP = 100
# An index that lost its last moments learns from the rows what has ended: they must not be gone by then.
LEAST_S = 300


async def keep_streams(context: AgentContext, budget: Budget) -> Result:
    """Returns `aborted`, `forgotten`, `removed`, and `more` if time ran out. A shard that is not ready waits
    for the next run."""
    counts = dict.fromkeys(("aborted", "forgotten", "removed"), 0)
    result: Result = {}
    for shard in context.shards:
        if budget.spent:
            return {**counts, "more": True}
        try:
            counts["aborted"] += await _end_idle(context, budget, shard)
            counts["forgotten"] += await _forget(context, shard)
        except NotReadyError:
            result["shards_not_ready"] = result.get("shards_not_ready", 0) + 1
        counts["removed"] += await _remove(context, budget, shard)
    return {**counts, **result}


async def _due(context: AgentContext, place: str) -> list[StreamKeys]:
    now = int(time.time() * 1000)
    found: Any = await context.redis.zrangebyscore(place, "-inf", now, start=0, num=STEP)
    return [StreamKeys.parse(root.decode()) for root in found]


async def _end_idle(context: AgentContext, budget: Budget, shard: Shard) -> int:
    aborted = 0
    while not budget.spent and (due := await _due(context, shard.open_streams)):
        ended = 0
        for keys in due:
            reply = await binding.end_stream(context.runner, keys.scope, keys, "idle", "", "")
            ended += reply.items[0][0] == "OK"
        aborted += ended
        if not ended:
            break
    return aborted


async def _forget(context: AgentContext, shard: Shard) -> int:
    """Those whose row has the version that Redis has."""
    due = await _due(context, shard.ended_streams)
    if not due:
        return 0
    known = await streams.versions(context.engine, [keys.stream_id for keys in due])
    forgotten = 0
    for keys in due:
        version = known.get(keys.stream_id)
        if version is not None:
            reply = await binding.end_stream(context.runner, keys.scope, keys, "forget", "", str(version))
            forgotten += reply.items[0][0] == "OK"
    return forgotten


async def _remove(context: AgentContext, budget: Budget, shard: Shard) -> int:
    kept_s = max(context.settings.stream_retention_s, LEAST_S)
    removed, found = 0, STEP
    while found == STEP and not budget.spent:
        found = await streams.prune(
            context.engine, shard.number, int(time.time() * 1000) - kept_s * 1000, STEP
        )
        removed += found
    return removed
