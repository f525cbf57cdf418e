"""Moves old terminal rows from the message table to the archive table."""

from __future__ import annotations

import asyncio
import time

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.rows.engine import reading
from scaiqueue.rows.retention import TERMINAL, move_to_archive
from scaiqueue.rows.tables import messages

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
    for state in TERMINAL:
        while ids := await _oldest(context.engine, state, before):
            if budget.spent:
                return {"archived": archived, "more": True}
            started = time.monotonic()
            moved = await move_to_archive(context.engine, ids, [state], before)
            archived += moved
            metrics.ARCHIVED.inc(moved)
            await asyncio.sleep(time.monotonic() - started)
    return {"archived": archived}


async def _oldest(engine: AsyncEngine, state: int, before: int) -> list[str]:
    """Ids of the next batch: the longest terminal first, cut where the bodies exceed the byte bound."""
    query = (
        select(messages.c.id, func.length(messages.c.body) + func.length(messages.c.response))
        .where(messages.c.state == state, messages.c.updated_at < before)
        .order_by(messages.c.updated_at)
        .limit(BATCH_ROWS)
    )
    async with reading(engine) as connection:
        rows = (await connection.execute(query)).all()
    ids: list[str] = []
    size = 0
    for message_id, message_size in rows:
        size += message_size
        if ids and size > BATCH_BYTES:
            break
        ids.append(message_id)
    return ids
