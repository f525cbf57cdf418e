"""Deletes events, and deliveries of webhooks, older than `event_retention_s`; 0 keeps them for ever."""

from __future__ import annotations

import time

from scaiqueue.rows import webhook_deliveries
from scaiqueue.rows.retention import prune_events

from .agent import AgentContext, Budget, Result

BATCH_ROWS = 500


async def prune_old_events(context: AgentContext, budget: Budget) -> Result:
    """Returns `pruned` and `deliveries`, and `more` if time ran out."""
    if not context.settings.event_retention_s:
        return {"pruned": 0, "deliveries": 0}
    before, pruned = int(time.time() * 1000) - context.settings.event_retention_s * 1000, 0
    for shard in context.shards:
        found = BATCH_ROWS
        while found == BATCH_ROWS:
            if budget.spent:
                return {"pruned": pruned, "more": True}
            found = await prune_events(context.engine, shard.number, before, BATCH_ROWS)
            pruned += found
    deliveries, found = 0, BATCH_ROWS
    while found == BATCH_ROWS:
        if budget.spent:
            return {"pruned": pruned, "deliveries": deliveries, "more": True}
        found = await webhook_deliveries.prune(context.engine, before, BATCH_ROWS)
        deliveries += found
    return {"pruned": pruned, "deliveries": deliveries}
