"""Ends streams that nobody writes to, and clears away those that have ended: from Redis once the rows hold
them, from the rows after `stream_retention_s`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from scaiqueue.keys import StreamKeys
from scaiqueue.rows import streams
from scaiqueue.scripts import binding
from scaiqueue.scripts.replies import NotReadyError

from . import metrics
from .agent import AgentContext, Budget, Result

STEP = 100
# An index that lost its last moments learns from the rows what has ended: they must not be gone by then.
LEAST_S = 300

# Ends those of the streams that it may; answers how many.
End = Callable[[AgentContext, Sequence[StreamKeys]], Awaitable[int]]


async def keep_streams(context: AgentContext, budget: Budget) -> Result:
    """Returns `aborted`, `forgotten`, `removed`, and `more` if time ran out. A shard that is not ready waits
    for the next run."""
    result: Result = {
        "aborted": await _each_due(context, budget, "open_streams", _end_idle),
        "forgotten": await _each_due(context, budget, "ended_streams", _forget),
        "removed": await _remove(context, budget),
    }
    for what, count in result.items():
        metrics.STREAMS.labels(what).inc(count)
    return {**result, "more": True} if budget.spent else result


async def _each_due(context: AgentContext, budget: Budget, place: str, end: End) -> int:
    """Again and again through all shards, while that gets on."""
    ended = 0
    while not budget.spent:
        pipe = context.redis.pipeline(transaction=False)
        now = int(time.time() * 1000)
        for shard in context.shards:
            pipe.zrangebyscore(getattr(shard, place), "-inf", now, start=0, num=STEP)
        found: list[list[bytes]] = await pipe.execute()
        step = 0
        for roots in found:
            try:
                step += await end(context, [StreamKeys.parse(root.decode()) for root in roots])
            except NotReadyError:
                continue
        ended += step
        if not step:
            break
    return ended


async def _end_idle(context: AgentContext, due: Sequence[StreamKeys]) -> int:
    ended = 0
    for keys in due:
        reply = await binding.end_stream(context.runner, keys.scope, keys, "idle", "", "")
        ended += reply.items[0][0] == "OK"
    return ended


async def _forget(context: AgentContext, due: Sequence[StreamKeys]) -> int:
    """Those whose row has the version that Redis has, all chunks with it. They are of one shard."""
    if not due:
        return 0
    shard = due[0].scope.shard.number
    known = await streams.committed(context.engine, shard, [keys.stream_id for keys in due])
    forgotten = 0
    for keys in due:
        version = known.get(keys.stream_id)
        if version is not None:
            reply = await binding.end_stream(context.runner, keys.scope, keys, "forget", "", str(version))
            forgotten += reply.items[0][0] == "OK"
    return forgotten


async def _remove(context: AgentContext, budget: Budget) -> int:
    kept_s = max(context.settings.stream_retention_s, LEAST_S)
    before = int(time.time() * 1000) - kept_s * 1000
    removed, found = 0, STEP
    while found == STEP and not budget.spent:
        found = await streams.prune(context.engine, before, STEP)
        removed += found
    return removed
