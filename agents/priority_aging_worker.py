"""Raises messages that wait long, in the queues that have aging set."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.keys import QueueKeys, ScopeKeys, Shard
from scaiqueue.rows.engine import reading
from scaiqueue.rows.tables import queues, scopes
from scaiqueue.scripts import binding
from scaiqueue.scripts.replies import NotReadyError

from .agent import QUEUE_NAME, AgentContext, Budget, Result

STEP = 200
PAGE = 500
RESUME_KEY = f"{QUEUE_NAME}:aging-from"


@dataclass(frozen=True)
class AgingQueue:
    """A queue with aging set; `id` is its row's."""

    id: str
    keys: QueueKeys


async def age_priorities(context: AgentContext, budget: Budget) -> Result:
    """Run the script over each such queue, `STEP` messages a call, from rank to rank by its cursor.

    Returns `queues` (looked at), `aged` (messages raised), and `more` if time ran out: the next run
    then begins where this one ended, so that the last queue gets its turn too. A queue without old
    messages costs one call that touches none.
    """
    looked_at = aged = 0
    start = await context.coordination.get(RESUME_KEY)
    async for queue in _aging_queues(context.engine, start.decode() if isinstance(start, bytes) else ""):
        looked_at += 1
        cursor, more = "", True
        while more:
            if budget.spent:
                await context.coordination.set(RESUME_KEY, queue.id)
                return {"queues": looked_at, "aged": aged, "more": True}
            raised, cursor = await _step(context, queue.keys, cursor)
            aged += raised
            more = cursor != ""
    await context.coordination.delete(RESUME_KEY)
    return {"queues": looked_at, "aged": aged}


async def _step(context: AgentContext, queue: QueueKeys, cursor: str) -> tuple[int, str]:
    """One script call: how many messages were raised, and where to go on ("" = done, or not ready)."""
    try:
        reply = await binding.age(context.runner, queue.scope, queue, STEP, cursor)
    except NotReadyError:
        return 0, ""
    word, raised, *rest = reply.items[0]
    return int(raised), str(rest[0]) if word == "MORE" else ""


async def _aging_queues(engine: AsyncEngine, start: str) -> AsyncIterator[AgingQueue]:
    """Queues with aging from row id `start` on. The filter in SQL is coarse, the decoded setting exact."""
    columns = (queues.c.id, queues.c.slug, queues.c.settings, scopes.c.tenant_id, scopes.c.shard)
    query = (
        select(*columns, queues.c.scope_id)
        .join(scopes, scopes.c.id == queues.c.scope_id)
        .where(queues.c.state != "archived", queues.c.settings.contains('"aging"'))
        .order_by(queues.c.id)
        .limit(PAGE)
    )
    place = queues.c.id >= start
    while True:
        async with reading(engine) as connection:
            rows = (await connection.execute(query.where(place))).all()
        for row in rows:
            if msgspec.json.decode(row.settings).get("aging"):
                scope = ScopeKeys(Shard(row.shard), row.tenant_id, row.scope_id)
                yield AgingQueue(row.id, scope.queue(row.slug))
        if len(rows) < PAGE:
            return
        place = queues.c.id > rows[-1].id
