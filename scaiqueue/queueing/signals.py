"""The one subscriber connection of a process: wake-ups of queues and word of changed configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from scaiqueue.keys import Shard

CHANGED = "sq:changed"
RETRY_S = 0.2

_log = structlog.get_logger("scaiqueue.signals")


class Signals:
    """Calls `on_wake(queue root)` and `on_changed(kind, id)`; `on_gap()` after a time without connection,
    when something may have been missed."""

    def __init__(
        self,
        redis: Redis,
        shards: int,
        *,
        on_wake: Callable[[str], None],
        on_changed: Callable[[str, str], None],
        on_gap: Callable[[], None],
    ) -> None:
        self._redis = redis
        self._channels: Sequence[str] = [CHANGED, *(Shard(n).wake_channel for n in range(shards))]
        self._on_wake = on_wake
        self._on_changed = on_changed
        self._on_gap = on_gap
        self.subscribed = asyncio.Event()

    async def announce(self, kind: str, name: str) -> None:
        """Tell every process that `name` (a scope or key id) has changed; each looks again soon anyway."""
        try:
            await self._redis.publish(CHANGED, f"{kind} {name}")
        except (RedisError, OSError) as error:
            _log.warning("change not announced", kind=kind, id=name, error=str(error))

    async def run(self) -> None:
        """Listen until cancelled, connecting again whenever the connection is lost."""
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as subscriber:
                    await subscriber.subscribe(*self._channels)
                    self._on_gap()
                    self.subscribed.set()
                    async for message in subscriber.listen():
                        self._take(_text(message["channel"]), _text(message["data"]))
            except (RedisError, OSError) as error:
                _log.warning("subscriber connection lost", error=str(error))
            self.subscribed.clear()
            await asyncio.sleep(RETRY_S)

    def _take(self, channel: str, data: str) -> None:
        if channel == CHANGED:
            kind, _, name = data.partition(" ")
            self._on_changed(kind, name)
        else:
            self._on_wake(data)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
