"""A worker process for tests that end it: one agent that says in Redis when it is at work.

Usage: child_worker REDIS_URL DATABASE_URL stubborn|willing
"""

from __future__ import annotations

import asyncio
import sys

from scaiqueue.settings import Settings
from scaiqueue_agents.agent import Agent, AgentContext, Budget, Result
from scaiqueue_agents.jobs import open_queue
from scaiqueue_agents.worker import AgentWorker, open_context
from tests.eventually import eventually

AT_WORK = "child:at-work"


async def stubborn(context: AgentContext, _budget: Budget) -> Result:
    await context.coordination.set(AT_WORK, 1)
    await asyncio.Event().wait()
    return {}


async def willing(context: AgentContext, budget: Budget) -> Result:
    await context.coordination.set(AT_WORK, 1)
    await eventually(lambda: budget.spent, timeout=60)
    return {"ended": "in order"}


async def main(redis_url: str, database_url: str, manner: str) -> None:
    settings = Settings(redis_url=redis_url, database_url=database_url)
    run = {"stubborn": stubborn, "willing": willing}[manner]
    queue = open_queue(settings)
    async with open_context(settings, queue) as context:
        agent = Agent("beat", every_s=1, bound_s=600 if manner == "willing" else 0.5, purpose="", run=run)
        await AgentWorker(queue, context, [agent]).start()
    await queue.disconnect()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
