"""Deletes rows of idempotency keys whose window is over; Redis forgets its own by their TTL."""

from __future__ import annotations

import time

from scaiqueue.rows.retention import prune_idempotency

from .agent import AgentContext, Budget, Result

BATCH_ROWS = 500


async def prune_idempotency_keys(context: AgentContext, budget: Budget) -> Result:
    """Returns `pruned`, and `more` if time ran out."""
    before, pruned = int(time.time() * 1000), 0
    while not budget.spent:
        found = await prune_idempotency(context.engine, before, BATCH_ROWS)
        pruned += found
        if found < BATCH_ROWS:
            return {"pruned": pruned}
    return {"pruned": pruned, "more": True}
