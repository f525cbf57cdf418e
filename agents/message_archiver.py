"""Moves old terminal rows from the message table to the archive table."""

from __future__ import annotations

import asyncio
import time

from scaiqueue.rows.retention import move_to_archive, old_in_lane, terminal_lanes

from . import metrics
from .agent import AgentContext, Budget, Result

BATCH_ROWS = 500
BATCH_BYTES = 8 * 2**20


async def archive_messages(context: AgentContext, budget: Budget) -> Result:
    """Archive what has been terminal for `archive_after_s`. Returns `archived`, and `more` if time ran out.

    Each batch is one transaction, bounded in rows and bytes. After each the agent rests as long as
    the batch took, so that the persister never waits for more than one.
    """
    before = int(time.time() * 1000) - context.settings.archive_after_s * 1000
    archived = 0
    for lane in await terminal_lanes(context.engine):
        async for ids in old_in_lane(context.engine, lane, before, BATCH_ROWS, BATCH_BYTES):
            if budget.spent:
                return {"archived": archived, "more": True}
            started = time.monotonic()
            moved = await move_to_archive(context.engine, ids, [lane.state], before)
            archived += moved
            metrics.ARCHIVED.inc(moved)
            await asyncio.sleep(time.monotonic() - started)
    return {"archived": archived}
