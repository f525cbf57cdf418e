"""Routing rules and what they changed of messages come back with the index."""

from __future__ import annotations

import msgspec
from redis.asyncio import Redis

from scaiqueue.queueing.rulebook import Asked, Rulebooks, RuleKeeper
from scaiqueue.routing.actions import Then
from scaiqueue.rows import scopes
from tests.recovery.test_recovery import persisting
from tests.stack import Stack, open_stack


async def test_rules_and_overlays_come_back(redis: Redis, database_url: str) -> None:
    async with open_stack(redis, database_url) as stack, persisting(stack) as persister:
        await _rule(stack)
        (before,), entry = await stack.publish()
        assert await persister.watermarks.wait(1, entry, 20.0)
        await stack.redis.flushall()
        await stack.recovery.prepare()
        (after,), _ = await stack.publish()
        claimed = await stack.claim(10, queue="urgent")
        assert [message.id.decode() for message in claimed] == [before, after]
        overlays = await stack.redis.hmget(stack.scope.key("overlay"), [before, after])
        assert [msgspec.json.decode(found) for found in overlays if found] == [
            {"hops": 1, "type": "seen"},
            {"hops": 1, "type": "seen"},
        ]


async def _rule(stack: Stack) -> None:
    async def announce(_scope: str) -> None:
        pass

    row = await scopes.find(stack.engine, "default", stack.scope_id)
    assert row is not None
    keeper = RuleKeeper(stack.engine, Rulebooks(stack.engine, stack.runner, 10, 1000), announce)
    then = msgspec.convert({"route": {"queue": "urgent"}, "transform": {"type": "seen"}}, Then)
    asked = Asked(
        name="r",
        queue="orders",
        trigger="message_published",
        position=None,
        when=None,
        then=then,
        enabled=True,
    )
    await keeper.create(row, stack.scope, asked)
