"""One run of one agent: alone, bounded, measured, recorded."""

from __future__ import annotations

import asyncio
import contextlib
import time

import structlog
from redis.exceptions import LockError, RedisError

from scaiqueue.upkeep import UpkeepLock

from . import metrics
from .agent import QUEUE_NAME, Agent, AgentContext, Budget, Result
from .recorder import Recorder

_ERROR_TEXT = 500

log = structlog.get_logger("scaiqueue.agents")


class Runs:
    """Runs agents for one worker process."""

    def __init__(self, context: AgentContext, recorder: Recorder, stopping: asyncio.Event) -> None:
        self._context = context
        self._recorder = recorder
        self._stopping = stopping

    async def run(self, agent: Agent) -> Result:
        """Run `agent` unless it is running already, here or in another worker.

        An agent's exception ends in the record and the log, not here. Raises RedisError when the
        lease can't be asked for, and CancelledError on a shutdown that could not wait.
        """
        lease = UpkeepLock(
            self._context.coordination,
            f"{QUEUE_NAME}:running:{agent.name}",
            timeout=agent.lease_s,
            blocking=False,
            thread_local=False,
        )
        if not await lease.acquire():
            return {"status": "skipped", "reason": "already running"}
        try:
            return await self._run(agent)
        finally:
            # A lease that has run out meanwhile belongs to another run, or to none.
            with contextlib.suppress(LockError, RedisError, OSError):
                await lease.release()

    async def _run(self, agent: Agent) -> Result:
        started_at, started = time.time(), time.monotonic()
        failed = True
        try:
            async with asyncio.timeout(agent.hard_limit_s) as limit:
                result = await agent.run(self._context, Budget(agent.bound_s, self._stopping))
            failed = False
            result = {"status": "ok", **result}
        except Exception as error:
            text = f"{type(error).__name__}: {error}"[:_ERROR_TEXT]
            if limit.expired():
                text = f"cut off after {agent.hard_limit_s:g} s"
            result = {"status": "error", "error": text}
            log.error("agent_failed", agent=agent.name, exc_info=error)
        duration = time.monotonic() - started
        metrics.observe_run(agent.name, duration, failed=failed)
        self._recorder.note(agent, started_at, duration, result, failed=failed)
        return result
