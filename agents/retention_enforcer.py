"""Deletes terminal messages of queues that keep them for a limited time (`retention_s`)."""

from __future__ import annotations

import asyncio
import time

from scaiqueue import upkeep
from scaiqueue.rows.retention import remove_terminal
from scaiqueue.rows.tables import message_archive, messages

from . import metrics
from .agent import QUEUE_NAME, AgentContext, Budget, Result
from .chosen_queues import queues_with

BATCH_ROWS = 500
# An index that lost its last moments learns from the rows what is done: they must not be gone by then.
LEAST_S = 300
RESUME_KEY = f"{QUEUE_NAME}:retention-from"


async def enforce_retention(context: AgentContext, budget: Budget) -> Result:
    """Delete what has been terminal for longer than its queue keeps it, live rows and archived ones.

    Each batch is one transaction of at most `BATCH_ROWS`; after each the agent rests as long as it took.
    Returns `removed`, and `more` if time ran out: the next run then begins with that queue.
    """
    removed = 0
    start = await context.coordination.get(RESUME_KEY)
    async for queue in queues_with(context.engine, "retention_s", start):
        kept_s = max(queue.settings.retention_s or 0, LEAST_S)
        before = int(time.time() * 1000) - kept_s * 1000
        for table in (messages, message_archive):
            found = BATCH_ROWS
            while found == BATCH_ROWS:
                if budget.spent:
                    await upkeep.write(context.coordination, "SET", RESUME_KEY, queue.id)
                    return {"removed": removed, "more": True}
                started = time.monotonic()
                scope_id, slug = queue.keys.scope.scope_id, queue.keys.slug
                found = await remove_terminal(context.engine, table, scope_id, slug, before, BATCH_ROWS)
                removed += found
                metrics.REMOVED.inc(found)
                await asyncio.sleep(time.monotonic() - started)
    await context.coordination.delete(RESUME_KEY)
    return {"removed": removed}
