"""Warns when a dead-letter queue grows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import structlog
from redis.asyncio import Redis
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue import upkeep
from scaiqueue.keys import DEAD_LETTER, ScopeKeys, Shard
from scaiqueue.rows.engine import reading
from scaiqueue.rows.tables import scopes

from . import metrics
from .agent import QUEUE_NAME, AgentContext, Budget, Result

SEEN_KEY = f"{QUEUE_NAME}:dead-letter-depths"
PAGE = 500
_SETS = ("pending", "scheduled", "claimed", "review")

log = structlog.get_logger("scaiqueue.agents")


@dataclass(frozen=True)
class Scope:
    """A scope as the warning names it."""

    id: str
    slug: str
    keys: ScopeKeys


async def watch_dead_letters(context: AgentContext, budget: Budget) -> Result:
    """Compare every dead-letter queue's depth with the last look's, which all workers share.

    Returns `depth` (all together), `grown` (queues that grew), and `more` if time ran out. The first
    look at a queue counts from zero: what fell into it before any worker ran is reported too.
    """
    depth = grown = 0
    async for page in _scope_pages(context.engine):
        depths = await _depths(context.redis, page)
        seen = await context.coordination.hmget(SEEN_KEY, [scope.id for scope in page])
        for scope, now, last in zip(page, depths, [int(value or 0) for value in seen], strict=True):
            depth += now
            if now > last:
                grown += 1
                _warn(scope, now, last)
        await _remember(context.coordination, page, depths)
        if budget.spent:
            return {"depth": depth, "grown": grown, "more": True}
    metrics.DEAD_LETTER_DEPTH.set(depth)
    return {"depth": depth, "grown": grown}


def _warn(scope: Scope, now: int, last: int) -> None:
    metrics.DEAD_LETTER_GROWTH.inc(now - last)
    log.warning(
        "dead_letter_grew",
        tenant=scope.keys.tenant,
        scope=scope.slug,
        scope_id=scope.id,
        depth=now,
        grown_by=now - last,
    )


async def _scope_pages(engine: AsyncEngine) -> AsyncIterator[Sequence[Scope]]:
    columns = (scopes.c.id, scopes.c.slug, scopes.c.tenant_id, scopes.c.shard)
    last = ""
    while True:
        query = select(*columns).where(scopes.c.id > last).order_by(scopes.c.id).limit(PAGE)
        async with reading(engine) as connection:
            rows = (await connection.execute(query)).all()
        if rows:
            last = rows[-1].id
            yield [
                Scope(row.id, row.slug, ScopeKeys(Shard(row.shard), row.tenant_id, row.id)) for row in rows
            ]
        if len(rows) < PAGE:
            return


async def _depths(redis: Redis, page: Sequence[Scope]) -> list[int]:
    pipeline = redis.pipeline(transaction=False)
    for scope in page:
        queue = scope.keys.queue(DEAD_LETTER)
        for name in _SETS:
            pipeline.zcard(queue.key(name))
    sizes = await pipeline.execute()
    return [sum(sizes[start : start + len(_SETS)]) for start in range(0, len(sizes), len(_SETS))]


async def _remember(coordination: Redis, page: Sequence[Scope], depths: Sequence[int]) -> None:
    """Only depths above zero are kept, so the hash is as long as there are filled queues."""
    found = {scope.id: depth for scope, depth in zip(page, depths, strict=True)}
    pipeline = coordination.pipeline(transaction=False)
    for scope, depth in found.items():
        if depth:
            upkeep.write(pipeline, "HSET", SEEN_KEY, scope, depth)
    if emptied := [scope for scope, depth in found.items() if not depth]:
        pipeline.hdel(SEEN_KEY, *emptied)
    await pipeline.execute()
