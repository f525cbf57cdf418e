"""Keeps the rhythm.

SAQ's own scheduler notices a cron job of one second only at every second look (one look puts it into
the future, the next one finds it), and its lock cannot last less than a second. So the worker asks for
each run itself, at the instant when it is due, and leaves to SAQ what it does well: one of many workers
takes the job, and a dead worker's job is swept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog
from redis.exceptions import OutOfMemoryError, RedisError

from .agent import Agent
from .jobs import AgentQueue, enqueue_tick

RunHere = Callable[[Agent], Coroutine[Any, Any, object]]

_LONGEST_SLEEP_S = 1.0
_running_here: set[asyncio.Task[object]] = set()

log = structlog.get_logger("scaiqueue.agents")


async def keep_ticking(
    queue: AgentQueue, agents: Sequence[Agent], stopping: asyncio.Event, run_here: RunHere
) -> None:
    """Ask for the run of each agent at each of its ticks until `stopping` is set.

    Ticks that were missed (Redis away, machine asleep) are left out, not made up for. At the memory limit
    SAQ takes no jobs, but agents free memory: then they are run here.
    """
    due = {agent.name: agent.tick_after(time.time()) for agent in agents}
    reachable = True
    while not stopping.is_set():
        now = time.time()
        ready = [agent for agent in agents if due[agent.name] <= now]
        try:
            await asyncio.gather(*(_ask(queue, agent, agent.tick_before(now), run_here) for agent in ready))
        except (RedisError, OSError) as error:
            if reachable:
                log.warning("agents_not_scheduled", error=str(error))
            reachable = False
        else:
            if ready and not reachable:
                log.info("agents_scheduled_again")
                reachable = True
        # Taken from the clock each time, so that a clock which was set back does not silence an agent.
        due = {agent.name: agent.tick_after(now) for agent in agents}
        pause = min(due.values(), default=now + _LONGEST_SLEEP_S) - time.time()
        await _sleep_until(stopping, min(max(pause, 0.0), _LONGEST_SLEEP_S))


async def _ask(queue: AgentQueue, agent: Agent, tick: int, run_here: RunHere) -> None:
    try:
        await enqueue_tick(queue, agent, tick)
    except OutOfMemoryError:
        task = asyncio.create_task(run_here(agent), name=agent.name)
        _running_here.add(task)
        task.add_done_callback(_running_here.discard)


async def _sleep_until(stopping: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return
