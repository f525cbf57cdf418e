"""The worker process: a SAQ worker whose jobs are the agents' runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from prometheus_client import start_http_server
from saq.types import PartialTimersDict
from saq.utils import cancel_tasks
from saq.worker import Worker

from scaiqueue.api.logs import configure_logs
from scaiqueue.connection import open_redis
from scaiqueue.rows.engine import open_engine
from scaiqueue.scripts.runner import ScriptRunner
from scaiqueue.settings import Settings

from .agent import Agent, AgentContext, Result
from .jobs import DEQUEUE_S, AgentQueue, open_queue
from .recorder import Recorder
from .runs import Runs
from .schedule import AGENTS
from .ticker import keep_ticking
from .webhook_deliverer import delivering

DRAIN_S = 5.0
"""How long a shutdown waits for running agents; they look at the shutdown between their steps."""
_CANCEL_S = 1.0
_UNTIMED_SLOTS = 2
# Seconds between SAQ's own looks. Nothing of ours is put into its future or aborted; its sweep frees
# the jobs of dead workers.
_TIMERS: PartialTimersDict = {"schedule": 30, "worker_info": 10, "sweep": 30, "abort": 5}

log = structlog.get_logger("scaiqueue.agents")


class AgentWorker(Worker[Any]):
    """SAQ's worker with a rhythm of its own and a shutdown that lets running agents end."""

    def __init__(self, queue: AgentQueue, context: AgentContext, agents: Sequence[Agent] = AGENTS) -> None:
        self._agents = agents
        self._agent_queue = queue
        self._stopping = asyncio.Event()
        self._recorder = Recorder(context.engine)
        self._runs = runs = Runs(context, self._recorder, self._stopping)
        super().__init__(
            queue,
            [(agent.name, _job(runs, agent)) for agent in agents],
            # One slot for each agent, and some so that runs that find theirs at work don't wait.
            concurrency=len(agents) + _UNTIMED_SLOTS,
            dequeue_timeout=DEQUEUE_S,
            timers=_TIMERS,
        )

    async def upkeep(self) -> list[asyncio.Task[None]]:
        tasks = await super().upkeep()
        ticking = keep_ticking(self._agent_queue, self._agents, self._stopping, self._runs.run)
        return [*tasks, asyncio.create_task(ticking, name="agent-ticker")]

    async def stop(self) -> None:
        """Ask running agents to end, wait a bounded time, then end everything."""
        self.event.set()
        self._stopping.set()
        running = [context["task"] for context in self.job_task_contexts.values()]
        if running:
            await asyncio.wait(running, timeout=DRAIN_S)
        # SAQ's slots and timers wait for ever: ended here, they are no reason for its warning.
        waiting = list(self.tasks)
        self.tasks.clear()
        await cancel_tasks(waiting, _CANCEL_S)
        await super().stop()
        await self._recorder.close()


def _job(runs: Runs, agent: Agent) -> Callable[..., Coroutine[Any, Any, Result]]:
    async def run(_context: dict[str, Any]) -> Result:
        return await runs.run(agent)

    return run


@asynccontextmanager
async def open_context(settings: Settings, queue: AgentQueue) -> AsyncIterator[AgentContext]:
    """Connections for agents, closed at the end. Neither server needs to be there yet."""
    async with AsyncExitStack() as stack:
        redis = open_redis(settings.redis_url, within_s=settings.redis_timeout_ms / 1000)
        stack.push_async_callback(redis.aclose)
        engine = open_engine(settings.database_url, within_s=settings.database_timeout_s)
        stack.push_async_callback(engine.dispose)
        yield AgentContext(settings, redis, ScriptRunner(redis, may_reload=_never), engine, queue.redis)


async def _never() -> bool:
    """An empty script cache fences a Redis that restarted: only recovery may fill it, an agent waits."""
    return False


async def serve(settings: Settings) -> None:
    """Run the agents until SIGTERM or SIGINT. Raises SettingsError when no Redis is named."""
    configure_logs(settings)
    logging.getLogger("saq").setLevel(logging.WARNING)
    queue = open_queue(settings)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(queue.disconnect)
        context = await stack.enter_async_context(open_context(settings, queue))
        if settings.worker_metrics_port:
            server, _ = start_http_server(settings.worker_metrics_port, settings.host)
            stack.callback(server.shutdown)
        await stack.enter_async_context(delivering(context))
        log.info("worker_started", agents=[agent.name for agent in AGENTS])
        await AgentWorker(queue, context).start()
        log.info("worker_stopped")
