"""How far a rebuild is: in the log, for Prometheus, and as a key of Redis that anyone can read."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import structlog
from prometheus_client import Gauge
from redis.asyncio import Redis

from scaiqueue import upkeep
from scaiqueue.keys import RECOVERY_PROGRESS_KEY

log = structlog.get_logger("scaiqueue.recovery")

SAY_EVERY_SECONDS = 1.0
KEPT_SECONDS = 60

restored_messages = Gauge(
    "scaiqueue_recovery_restored_messages", "Messages that the rebuild of a shard has restored", ["shard"]
)
expected_messages = Gauge(
    "scaiqueue_recovery_expected_messages", "Messages that the rebuild of a shard will restore", ["shard"]
)


class Progress(msgspec.Struct):
    """`expected` 0: it is not known before."""

    shard: int
    restored: int = 0
    expected: int = 0
    said: float = 0.0

    async def expect(self, redis: Redis, count: int) -> None:
        self.expected = count
        expected_messages.labels(str(self.shard)).set(count)
        await self.add(redis, 0)

    async def add(self, redis: Redis, count: int) -> None:
        """So many messages more are restored."""
        self.restored += count
        restored_messages.labels(str(self.shard)).set(self.restored)
        if time.monotonic() - self.said < SAY_EVERY_SECONDS:
            return
        if self.said:
            log.info("index_rebuilding", shard=self.shard, restored=self.restored, expected=self.expected)
        self.said = time.monotonic()
        document = {"shard": self.shard, "restored": self.restored, "expected": self.expected}
        progress = msgspec.json.encode(document)
        await upkeep.write(redis, "SET", RECOVERY_PROGRESS_KEY, progress, "EX", KEPT_SECONDS)


async def finished(redis: Redis) -> None:
    await redis.delete(RECOVERY_PROGRESS_KEY)


async def read(redis: Redis) -> dict[str, int] | None:
    """What the rebuild that is going on last said of itself: shard, restored, expected."""
    said: Any = await redis.get(RECOVERY_PROGRESS_KEY)
    return msgspec.json.decode(said, type=dict[str, int]) if said is not None else None
