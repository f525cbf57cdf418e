"""How full Redis is: a metric, and an alarm before publishes are refused."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from scaiqueue.queueing import metrics

LOOK_EVERY_S = 2.0
ALARM_AT = 0.9

_log = structlog.get_logger("scaiqueue.memory")


class Memory(NamedTuple):
    """Bytes; a limit of 0 is none of Redis' own."""

    used: int
    limit: int

    @property
    def ratio(self) -> float:
        return self.used / self.limit if self.limit else 0.0

    @property
    def alarm(self) -> str:
        """What an operator is told, "" while there is room."""
        if self.ratio < ALARM_AT:
            return ""
        return (
            f"{self.ratio:.0%} of maxmemory ({self.limit} bytes) is used: at the limit publishes are refused"
        )


async def read_memory(redis: Redis) -> Memory:
    info: dict[str, Any] = await redis.info("memory")
    return Memory(int(info["used_memory"]), int(info.get("maxmemory", 0)))


class MemoryWatch:
    """`now` is what the last look saw."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.now = Memory(0, 0)

    async def run(self) -> None:
        """Look every two seconds until cancelled; warn when the alarm begins."""
        while True:
            try:
                found = await read_memory(self._redis)
            except (RedisError, OSError):
                found = self.now
            if found.alarm and not self.now.alarm:
                _log.warning("redis_memory_high", used=found.used, limit=found.limit)
            self.now = found
            metrics.redis_memory_ratio.set(found.ratio)
            await asyncio.sleep(LOOK_EVERY_S)
