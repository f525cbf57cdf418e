"""Routing rules and what they changed of messages come back with the index."""

from __future__ import annotations

from typing import Any

import msgspec
from redis.asyncio import Redis
from uuid_utils import uuid7

from scaiqueue.queueing.header import read_header
from scaiqueue.queueing.rulebook import Asked, Rulebooks, RuleKeeper
from scaiqueue.routing.actions import Then
from scaiqueue.rows import documents, scopes
from scaiqueue.rows.documents import DocumentRow
from scaiqueue.rows.scopes import ScopeRow
from tests.recovery.test_recovery import persisting
from tests.stack import Stack, open_stack

MOVE: dict[str, Any] = {"route": {"queue": "urgent"}, "transform": {"type": "seen"}}


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


async def test_what_a_human_is_asked_comes_back(redis: Redis, database_url: str) -> None:
    async with open_stack(redis, database_url) as stack, persisting(stack) as persister:
        await _pattern(stack)
        await _rule(stack, {"escalate": {"hitl_pattern": {"name": "p", "parameters": {"a": "of {{type}}"}}}})
        (before,), entry = await stack.publish()
        assert await persister.watermarks.wait(1, entry, 20.0)
        await stack.redis.flushall()
        await stack.recovery.prepare()
        (after,), _ = await stack.publish()
        overlays = await stack.redis.hmget(stack.scope.key("overlay"), [before, after])
        first, second = [found for found in overlays if found]
        assert first == second
        assert read_header(b'{"type":"t"}', first).hitl_spec["sections"][0]["content"] == "of order.created"
        waiting = await stack.redis.zrange(stack.scope.queue("orders").key("review"), 0, -1)
        assert [id.decode() for id in waiting] == [before, after]


async def _pattern(stack: Stack) -> None:
    sections = [
        {"type": "context", "title": "t", "content": "{{a}}"},
        {"type": "decision", "field": "d", "options": ["yes"]},
    ]
    document = msgspec.json.encode({"sections": sections}).decode()
    row = DocumentRow(
        id=str(uuid7()), tenant_id="default", scope_id=stack.scope_id, name="p", version=1,
        document=document, created_by="k", created_at=1,
    )  # fmt: skip
    await documents.patterns.create(stack.engine, row)


async def _rule(stack: Stack, then: dict[str, Any] = MOVE) -> None:
    async def nothing(_scope: str | ScopeRow) -> None:
        pass

    row = await scopes.find(stack.engine, "default", stack.scope_id)
    assert row is not None
    keeper = RuleKeeper(stack.engine, Rulebooks(stack.engine, stack.runner, 10, 1000), nothing, nothing)
    asked = Asked(
        name="r",
        queue="orders",
        trigger="message_published",
        position=None,
        when=None,
        then=msgspec.convert(then, Then),
        enabled=True,
    )
    await keeper.create(row, stack.scope, asked)
