"""Raises messages that wait long, in the queues that have aging set."""

from __future__ import annotations

from scaiqueue import upkeep
from scaiqueue.keys import QueueKeys
from scaiqueue.scripts import binding
from scaiqueue.scripts.replies import NotReadyError

from .agent import QUEUE_NAME, AgentContext, Budget, Result
from .chosen_queues import queues_with

STEP = 200
RESUME_KEY = f"{QUEUE_NAME}:aging-from"


async def age_priorities(context: AgentContext, budget: Budget) -> Result:
    """Run the script over each such queue, `STEP` messages a call, from rank to rank by its cursor.

    Returns `queues` (looked at), `aged` (messages raised), and `more` if time ran out: the next run
    then begins where this one ended, so that the last queue gets its turn too. A queue without old
    messages costs one call that touches none.
    """
    looked_at = aged = 0
    start = await context.coordination.get(RESUME_KEY)
    async for queue in queues_with(context.engine, "aging", start):
        if queue.state == "archived":
            continue
        looked_at += 1
        cursor, more = "", True
        while more:
            if budget.spent:
                await upkeep.write(context.coordination, "SET", RESUME_KEY, queue.id)
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
