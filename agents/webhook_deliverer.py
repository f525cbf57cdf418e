"""The deliverer of webhooks, which runs beside the agents for as long as the worker does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scaiqueue.persister.tasks import cancel_all
from scaiqueue.webhooks.deliverer import Deliverer

from .agent import AgentContext


@asynccontextmanager
async def delivering(context: AgentContext) -> AsyncIterator[None]:
    """Deliver until the end of the block; attempts under way then are made again by whoever comes next."""
    deliverer = Deliverer(context.settings, context.redis, context.engine)
    task = asyncio.create_task(deliverer.run(), name="webhook-deliverer")
    try:
        yield
    finally:
        await cancel_all([task])
