"""What an agent is: a name, a rhythm, a bound, and one coroutine that does a bounded piece of work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.keys import Shard
from scaiqueue.scripts.runner import ScriptRunner
from scaiqueue.settings import Settings

QUEUE_NAME = "scaiqueue-agents"
"""SAQ's queue, and the prefix of the few keys that workers share."""

Result = dict[str, Any]
"""What a run did, as JSON: counts, and `more: true` where its bound ended it before its work."""


class Budget:
    """The time that one run may take. Agents look at it between steps and stop early when it is spent."""

    def __init__(self, seconds: float, stopping: asyncio.Event | None = None) -> None:
        self._end = time.monotonic() + seconds
        self._stopping = stopping

    @property
    def spent(self) -> bool:
        """True when the run's seconds are over or the worker is shutting down."""
        return time.monotonic() >= self._end or (self._stopping is not None and self._stopping.is_set())


@dataclass(frozen=True)
class AgentContext:
    """What agents work with. `coordination`: SAQ's Redis, plain even where `redis` is a cluster."""

    settings: Settings
    redis: Redis
    runner: ScriptRunner
    engine: AsyncEngine
    coordination: Redis

    @property
    def shards(self) -> list[Shard]:
        return [Shard(number) for number in range(self.settings.shards)]


@dataclass(frozen=True)
class Agent:
    """One agent. It starts `every_s` seconds, at whole multiples of them, and works at most `bound_s`."""

    name: str
    every_s: int
    bound_s: float
    purpose: str
    run: Callable[[AgentContext, Budget], Awaitable[Result]] = field(repr=False, compare=False)

    @property
    def schedule(self) -> str:
        """The rhythm as text, e.g. `every 1 s` or `every 5 min`."""
        minutes, seconds = divmod(self.every_s, 60)
        return f"every {minutes} min" if minutes and not seconds else f"every {self.every_s} s"

    @property
    def hard_limit_s(self) -> float:
        """When a run that ignores its budget (a server that hangs) is cut off and counted as an error."""
        return self.bound_s + 3

    @property
    def lease_s(self) -> float:
        """How long a run keeps others of the same agent away; a dead worker's lease ends by itself."""
        return self.hard_limit_s + 2

    def tick_before(self, now: float) -> int:
        """The latest scheduled instant at or before `now` (both in seconds since 1970)."""
        return int(now // self.every_s) * self.every_s

    def tick_after(self, now: float) -> int:
        """The first scheduled instant after `now`."""
        return self.tick_before(now) + self.every_s
