"""How often keys may call: counted in Redis, so for all processes together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from scaiqueue.access import metrics
from scaiqueue.errors import Code, QueueError
from scaiqueue.queueing.principals import Rate

STATE = "rate"
MICROSECONDS = 1_000_000

_log = structlog.get_logger("scaiqueue.rates")


class RateLimiter:
    """While Redis can't be asked every call passes: a limit must not be what stops a queue."""

    def __init__(self, redis: Redis) -> None:
        source = files("scaiqueue.access").joinpath("gcra.lua").read_text()
        self._count = redis.register_script(source)

    async def take(self, key_id: str, rate: Rate, state: dict[str, Any]) -> Mapping[str, str]:
        """Counts a call, and returns the headers that tell; they are kept in the request's `state` for its
        error too. Raises RATE_LIMITED."""
        interval = 60 * MICROSECONDS // rate.per_minute
        try:
            allowed, remaining, wait, full = await self._count(
                [f"sq:rate:{{{key_id}}}"], [interval, rate.burst]
            )
        except (RedisError, OSError) as error:
            metrics.rates_checked_total.labels("unchecked").inc()
            _log.warning("rate not counted", key=key_id, error=str(error)[:300])
            return {}
        headers = state[STATE] = {
            "X-Scaigrid-Ratelimit-Limit": str(rate.burst),
            "X-Scaigrid-Ratelimit-Remaining": str(remaining),
            "X-Scaigrid-Ratelimit-Reset": str(math.ceil(full / MICROSECONDS)),
        }
        if not allowed:
            metrics.rates_checked_total.labels("limited").inc()
            raise QueueError(
                Code.RATE_LIMITED,
                f"The key may make {rate.per_minute} calls a minute, {rate.burst} at once.",
                retry_after=wait / MICROSECONDS,
            )
        metrics.rates_checked_total.labels("passed").inc()
        return headers
