"""Redis, rows and one scope with its queues, driven through the scripts, for tests below the API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from redis.asyncio import Redis
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils import uuid7

from scaiqueue.keys import DEAD_LETTER, ScopeKeys, Shard
from scaiqueue.moments import now_ms
from scaiqueue.persister.service import Persister
from scaiqueue.queueing.configuration import system_queue_settings
from scaiqueue.records import Version
from scaiqueue.recovery.service import Limits, Recovery
from scaiqueue.rows import positions, scopes, tables
from scaiqueue.rows.engine import open_engine, reading
from scaiqueue.rows.migrate import upgrade
from scaiqueue.rows.queues import QueueRow, QueueSettings, encode_settings
from scaiqueue.rows.scopes import ScopeRow
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import ClaimItem, CompleteItem, FailItem
from scaiqueue.scripts.runner import ScriptRunner
from tests.scripts.direct import Handed, handed_out, publish_item

SCOPE_ID = "0191d2f0-0000-7000-8000-000000000001"


@dataclass
class Stack:
    redis: Redis
    engine: AsyncEngine
    shards: int = 2
    scope_id: str = SCOPE_ID
    shard_number: int = 1
    runner: ScriptRunner = field(init=False)
    recovery: Recovery = field(init=False)

    def __post_init__(self) -> None:
        self.runner = ScriptRunner(self.redis)
        limits = Limits(backlog_limit=200_000, max_body=262_144)
        self.recovery = Recovery(self.redis, self.runner, self.engine, shards=self.shards, limits=limits)
        self.runner.may_reload = self.recovery.may_reload

    def persister(self) -> Persister:
        return Persister(
            self.redis, self.runner, self.engine, shards=self.shards, recover=self.recovery.prepare
        )

    @property
    def scope(self) -> ScopeKeys:
        return ScopeKeys(Shard(self.shard_number), "default", self.scope_id)

    async def prepare(self) -> None:
        """Epoch 1, and rows of a scope with queues `orders`, `urgent` (by priority) and `_dead_letter`."""
        now = now_ms()
        scope = ScopeRow(
            id=self.scope_id, tenant_id="default", slug="shop", shard=self.shard_number, display_name="Shop",
            description="", durability="", state="active", version=1, created_at=now, updated_at=now,
        )  # fmt: skip
        settings = {
            "orders": QueueSettings(),
            "urgent": QueueSettings(ordering="priority"),
            DEAD_LETTER: system_queue_settings(DEAD_LETTER, 30),
        }
        queues = [
            QueueRow(
                id=str(uuid7()), tenant_id="default", scope_id=self.scope_id, slug=slug, display_name=slug,
                description="", state="active", settings=encode_settings(of), version=1, created_at=now,
                updated_at=now,
            )
            for slug, of in settings.items()
        ]  # fmt: skip
        await scopes.create(self.engine, scope, queues)
        await self.recovery.prepare()

    async def publish(
        self,
        count: int = 1,
        *,
        queue: str = "orders",
        body: bytes = b'{"n":1}',
        key: str = "",
        rank: int = 2500,
        delay_ms: int = 0,
        ttl_ms: int | str = "",
        expect: str | None = "OK",
        **header: Any,
    ) -> tuple[list[str], Version]:
        """Publish `count` messages in one call; answers their ids and the journal entry."""
        head = {"type": "order.created", **header} | ({"idempotency_key": key} if key else {})
        idem_keys = [self.scope.idempotency(queue, key)] if key else []
        extra: dict[str, Any] = {"rank": rank, "delay_ms": delay_ms, "ttl_ms": ttl_ms}
        extra |= {"idem": 1, "digest": "d" * 64, "idem_ms": 60_000} if key else {}
        ids = [str(uuid7()) for _ in range(count)]
        items = [publish_item(id, msgspec.json.encode(head), body, **extra) for id in ids]
        queues = [self.scope.queue(queue)]
        reply = await binding.publish(self.runner, self.scope, queues, idem_keys, "tester", 0, items)
        assert expect is None or {item[0] for item in reply.items} == {expect}, reply
        known = [
            item[1].decode() if expect == "DUPLICATE" else id
            for id, item in zip(ids, reply.items, strict=True)
        ]
        return known, reply.entry or Version(0, -1)

    async def claim(self, want: int = 1, *, queue: str = "orders", holder: str = "worker") -> list[Handed]:
        reply = await binding.claim(
            self.runner, self.scope, [self.scope.queue(queue)], [], "ordered", [ClaimItem(holder, want)]
        )
        return handed_out(reply.items[0])

    async def complete(self, claimed: Sequence[Sequence[Any]], response: bytes = b"") -> Version:
        items = [CompleteItem(message[0], message[1], "worker", response) for message in claimed]
        reply = await binding.complete(self.runner, self.scope, items)
        assert {item[0] for item in reply.items} == {"OK"}, reply
        assert reply.entry is not None
        return reply.entry

    async def fail(self, claimed: Sequence[Sequence[Any]], *, retry_after_ms: int) -> None:
        items = [FailItem(message[0], message[1], "worker", "no", 1, retry_after_ms) for message in claimed]
        if items:
            reply = await binding.fail(self.runner, self.scope, items)
            assert {item[0] for item in reply.items} == {"OK"}, reply

    async def rows(self) -> dict[str, dict[str, Any]]:
        """All live rows by id."""
        async with reading(self.engine) as conn:
            found = (await conn.execute(select(tables.messages))).mappings().all()
        return {row["id"]: dict(row) for row in found}

    async def all_of(self, name: str) -> list[dict[str, Any]]:
        """Every row of one table."""
        table = tables.metadata.tables[tables.PREFIX + name]
        async with reading(self.engine) as conn:
            return [dict(row) for row in (await conn.execute(select(table))).mappings()]

    async def position(self) -> Version:
        async with reading(self.engine) as conn:
            return (await positions.load(conn, [self.shard_number]))[self.shard_number].version


@asynccontextmanager
async def open_stack(redis: Redis, database_url: str, **options: Any) -> AsyncIterator[Stack]:
    """A prepared stack on an empty Redis and an empty database."""
    await upgrade(database_url)
    engine = open_engine(database_url)
    try:
        stack = Stack(redis, engine, **options)
        await stack.prepare()
        yield stack
    finally:
        await engine.dispose()
