"""subscription_monitor: how much each subscription has still to claim, and how far it is behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.keys import ScopeKeys, Shard
from scaiqueue.queueing.depths import read_depths
from scaiqueue.rows.engine import reading
from scaiqueue.rows.queues import decode_settings
from scaiqueue.rows.tables import queues, scopes, subscriptions

from . import metrics
from .agent import AgentContext, Budget, Result

PAGE = 100
MOST = 1000
"""So many subscriptions have metrics of their own, the oldest."""


async def watch_subscriptions(context: AgentContext, budget: Budget) -> Result:
    """Returns `subscriptions` and `depth` (all together), and `more` if time ran out."""
    seen = depth = 0
    metrics.SUBSCRIPTION_DEPTH.clear()
    metrics.SUBSCRIPTION_LAG.clear()
    async for page in _pages(context.engine):
        keys = [ScopeKeys(Shard(row.shard), row.tenant_id, row.scope_id).queue(row.slug) for row in page]
        orderings = [decode_settings(row.settings).ordering for row in page]
        found = await read_depths(context.redis, list(zip(keys, orderings, strict=True)))
        for row, now in zip(page, found, strict=True):
            waiting = now.pending + now.scheduled + now.claimed + now.awaiting_review
            depth += waiting
            seen += 1
            if seen <= MOST:
                labels = (row.tenant_id, row.scope, row.queue, row.name)
                metrics.SUBSCRIPTION_DEPTH.labels(*labels).set(waiting)
                metrics.SUBSCRIPTION_LAG.labels(*labels).set(now.oldest_age_s or 0)
        if budget.spent:
            return {"subscriptions": seen, "depth": depth, "more": True}
    return {"subscriptions": seen, "depth": depth}


async def _pages(engine: AsyncEngine) -> AsyncIterator[Sequence[Any]]:
    c = subscriptions.c
    columns = (c.id, c.tenant_id, c.scope_id, c.queue, c.name, c.slug)
    query = (
        select(*columns, scopes.c.shard, scopes.c.slug.label("scope"), queues.c.settings)
        .join(scopes, scopes.c.id == c.scope_id)
        .join(queues, queues.c.id == c.id)
        .order_by(c.id)
        .limit(PAGE)
    )
    last = ""
    while True:
        async with reading(engine) as connection:
            rows = (await connection.execute(query.where(c.id > last))).all()
        if rows:
            last = rows[-1].id
            yield rows
        if len(rows) < PAGE:
            return
