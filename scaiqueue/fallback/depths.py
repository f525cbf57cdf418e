"""Depths and age of queues as the rows have them, while Redis is away."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.keys import QueueKeys
from scaiqueue.moments import now_ms
from scaiqueue.queueing.depths import Depths
from scaiqueue.records import State
from scaiqueue.rows.engine import LOOK_UP_WITHIN_S, reading
from scaiqueue.rows.tables import messages


async def row_depths(engine: AsyncEngine, queues: Sequence[QueueKeys]) -> list[Depths]:
    """In the order of `queues`; leases of before Redis was left count as claimed until someone takes over."""
    async with reading(engine, LOOK_UP_WITHIN_S) as conn:
        return [await _depths(conn, keys) for keys in queues]


async def _depths(conn: AsyncConnection, keys: QueueKeys) -> Depths:
    c = messages.c
    of_queue = (c.scope_id == keys.scope.scope_id, c.queue == keys.slug)
    query = select(c.state, func.count()).where(*of_queue, c.state.in_((1, 2, 3, 4))).group_by(c.state)
    counts = {row[0]: row[1] for row in await conn.execute(query)}
    waiting = select(c.created_at).where(*of_queue, c.state == State.pending.value)
    oldest = (await conn.execute(waiting.order_by(c.id).limit(1))).scalar_one_or_none()
    return Depths(
        scope_state="",
        state="",
        pending=counts.get(State.pending, 0),
        claimed=counts.get(State.claimed, 0),
        scheduled=counts.get(State.scheduled, 0),
        awaiting_review=counts.get(State.awaiting_review, 0),
        oldest_age_s=None if oldest is None else max(0.0, (now_ms() - oldest) / 1000),
    )
