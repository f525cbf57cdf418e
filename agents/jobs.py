"""The SAQ queue through which all runs go, and how a run gets into it."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from saq.job import Job
from saq.queue.redis import RedisQueue

from scaiqueue import upkeep
from scaiqueue.settings import Settings, SettingsError

from .agent import QUEUE_NAME, Agent
from .schedule import find_agent

DEQUEUE_S = 2.0
"""How long an idle slot of the worker waits for a job in one call."""
_RETRY_DEQUEUE_S = 1.0
_LEAST_MARK_S = 60

log = structlog.get_logger("scaiqueue.agents")


class AgentQueue(RedisQueue):
    """SAQ's queue, except that a Redis that is away is asked again once a second, not in a busy loop."""

    async def dequeue(self, timeout: float = 0.0, poll_interval: float = 0.0) -> Job | None:
        try:
            return await super().dequeue(timeout, poll_interval)
        except (RedisError, OSError):
            await asyncio.sleep(_RETRY_DEQUEUE_S)
            return None


def open_queue(settings: Settings) -> AgentQueue:
    """The queue on `saq_redis_url`, or on the main Redis. Close it with `await queue.disconnect()`."""
    url = settings.saq_redis_url or settings.redis_url
    if not url:
        raise SettingsError("redis_url is not set: give SCAIQUEUE_REDIS_URL, or SCAIQUEUE_SAQ_REDIS_URL")
    within_s = settings.redis_timeout_ms / 1000
    client = Redis.from_url(url, socket_timeout=DEQUEUE_S + within_s, socket_connect_timeout=within_s)
    return AgentQueue(client, name=QUEUE_NAME)


async def enqueue_run(queue: AgentQueue, name: str) -> bool:
    """Ask for one run of the agent `name` now, by hand.

    Returns False when such a run is waiting already. Raises LookupError for an unknown agent,
    RedisError when Redis is away. Without a worker the run waits for one.
    """
    return await _enqueue(queue, find_agent(name), "by-hand") is not None


async def enqueue_tick(queue: AgentQueue, agent: Agent, tick: int) -> bool:
    """Ask for the run that is due at `tick`; True for the one caller, of all workers, that is first."""
    mark = f"{QUEUE_NAME}:tick:{agent.name}:{tick}"
    if not await upkeep.write(queue.redis, "SET", mark, 1, "NX", "EX", max(_LEAST_MARK_S, 2 * agent.every_s)):
        return False
    return await _enqueue(queue, agent, str(tick)) is not None


async def _enqueue(queue: AgentQueue, agent: Agent, suffix: str) -> Any:
    """A key is unique until its job has ended; results are recorded as rows, so SAQ keeps none."""
    timeout = math.ceil(agent.lease_s)
    return await queue.enqueue(agent.name, key=f"{agent.name}:{suffix}", timeout=timeout, retries=1, ttl=-1)
