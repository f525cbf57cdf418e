"""The agent that measures how far subscriptions are behind."""

from __future__ import annotations

from prometheus_client import REGISTRY
from redis.asyncio import Redis

from scaiqueue.settings import Settings
from scaiqueue_agents.agent import Budget
from scaiqueue_agents.jobs import open_queue
from scaiqueue_agents.subscription_monitor import watch_subscriptions
from scaiqueue_agents.worker import open_context
from tests.broadcast.test_rows import newsroom
from tests.stack import open_stack


async def test_depth_and_lag_of_each(redis: Redis, redis_url: str, sqlite_url: str) -> None:
    async with open_stack(redis, sqlite_url) as stack:
        await newsroom(stack, "slow", "quick")
        await stack.publish(3, queue="news")
        await stack.complete(await stack.claim(3, queue="news.quick"))
        queue = open_queue(Settings(redis_url=redis_url, database_url=sqlite_url, shards=2))
        settings = Settings(redis_url=redis_url, database_url=sqlite_url, shards=2)
        async with open_context(settings, queue) as context:
            assert await watch_subscriptions(context, Budget(3600)) == {"subscriptions": 2, "depth": 3}
        await queue.disconnect()
    found = {}
    for name in ("slow", "quick"):
        labels = {"tenant": "default", "scope": "shop", "queue": "news", "subscription": name}
        found[name] = REGISTRY.get_sample_value("scaiqueue_subscription_depth", labels)
        assert REGISTRY.get_sample_value("scaiqueue_subscription_lag_seconds", labels) is not None
    assert found == {"slow": 3.0, "quick": 0.0}
