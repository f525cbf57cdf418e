"""What the agents' tests share: a context on private servers, and workers that end with their test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from scaiqueue.rows.migrate import upgrade
from scaiqueue.settings import Settings
from scaiqueue_agents.agent import Agent, AgentContext
from scaiqueue_agents.jobs import AgentQueue, open_queue
from scaiqueue_agents.worker import AgentWorker, open_context

OpenContext = Callable[[Settings], Awaitable[AgentContext]]


@pytest.fixture
async def settings(redis_url: str, sqlite_url: str) -> Settings:
    await upgrade(sqlite_url)
    return Settings(redis_url=redis_url, database_url=sqlite_url, shards=4)


@pytest.fixture
async def queue(settings: Settings) -> AsyncIterator[AgentQueue]:
    queue = open_queue(settings)
    yield queue
    await queue.disconnect()


@pytest.fixture
async def context(settings: Settings, queue: AgentQueue) -> AsyncIterator[AgentContext]:
    async with open_context(settings, queue) as context:
        yield context


@asynccontextmanager
async def working(settings: Settings, agents: Sequence[Agent]) -> AsyncIterator[AgentWorker]:
    """A worker on connections of its own, as another process would have."""
    queue = open_queue(settings)
    async with open_context(settings, queue) as context:
        worker = AgentWorker(queue, context, agents)
        task = asyncio.create_task(worker.start())
        try:
            yield worker
        finally:
            await worker.stop()
            await task
            await queue.disconnect()
