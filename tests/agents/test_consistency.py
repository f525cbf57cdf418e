"""The consistency checker as an agent: what it writes down, what it puts right, and where it goes on."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from uuid_utils import uuid7

from scaiqueue.integrity import checker
from scaiqueue.settings import Settings
from scaiqueue_agents import metrics
from scaiqueue_agents.agent import AgentContext, Budget
from scaiqueue_agents.consistency_checker import RESUME_KEY, check_consistency
from scaiqueue_agents.jobs import open_queue
from scaiqueue_agents.worker import open_context
from tests.integrity.conftest import Checked, open_checked

LONG = Budget(math.inf)


@pytest.fixture
async def checked(redis: Redis, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Checked]:
    monkeypatch.setattr(checker, "SETTLE_S", 0.1)
    async with open_checked(redis, sqlite_url) as found:
        yield found


@pytest.fixture
async def context(checked: Checked, redis_url: str, sqlite_url: str) -> AsyncIterator[AgentContext]:
    settings = Settings(redis_url=redis_url, database_url=sqlite_url, shards=checked.stack.shards)
    queue = open_queue(settings)
    async with open_context(settings, queue) as context:
        yield context
    await queue.disconnect()


async def test_a_divergence_is_noted_corrected_and_counted(checked: Checked, context: AgentContext) -> None:
    (message_id,), _ = await checked.stack.publish()
    await checked.settled()
    await checked.stack.redis.zrem(checked.stack.scope.queue("orders").key("pending"), message_id)
    before = metrics.DIVERGENCES.labels("unplaced")._value.get()
    result = await check_consistency(context, LONG)
    assert (result["divergences"], result["corrected"]) == ({"unplaced": 1}, 1)
    assert metrics.DIVERGENCES.labels("unplaced")._value.get() == before + 1
    (noted,) = await checked.stack.all_of("integrity")
    assert (noted["kind"], noted["subject"], noted["correction"]) == ("unplaced", message_id, "put back")
    assert noted["corrected_at"] > 0
    assert [message[0].decode() for message in await checked.stack.claim()] == [message_id]
    await checked.settled()
    assert (await check_consistency(context, LONG))["divergences"] == {}


async def test_what_is_not_corrected_is_one_finding_however_often_it_is_seen(
    checked: Checked, context: AgentContext
) -> None:
    strange = str(uuid7())
    await checked.stack.redis.hset(checked.stack.scope.key("state"), strange, b"\xc1")
    for _ in range(3):
        assert (await check_consistency(context, LONG))["divergences"] == {"unreadable": 1}
    (noted,) = await checked.stack.all_of("integrity")
    assert (noted["looks"], noted["corrected_at"]) == (3, 0)
    await checked.stack.redis.hdel(checked.stack.scope.key("state"), strange)
    await check_consistency(context, LONG)
    (noted,) = await checked.stack.all_of("integrity")
    assert (noted["looks"], noted["correction"]) == (3, "not seen any more")


async def test_a_run_goes_on_where_the_last_one_ended(checked: Checked, context: AgentContext) -> None:
    for _ in range(5):
        await checked.stack.publish(200)
    await checked.settled()
    looked_at, runs, more = 0, 0, True
    while more:
        result = await check_consistency(context, Budget(0))
        looked_at, runs, more = looked_at + result["messages"], runs + 1, result.get("more", False)
        assert result["divergences"] == {}
    assert looked_at >= 1000
    assert runs > 5
    assert await context.coordination.get(RESUME_KEY) is None
