"""Redis, rows and one scope with its queues, driven through the scripts, for tests below the API."""

from __future__ import annotations

import time
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
from scaiqueue.records import Version
from scaiqueue.rows import positions, tables
from scaiqueue.rows.engine import open_engine, reading
from scaiqueue.rows.migrate import upgrade
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import ClaimItem, CompleteItem, ConfigureItem, PublishItem
from scaiqueue.scripts.runner import ScriptRunner

SCOPE_ID = "0191d2f0-0000-7000-8000-000000000001"


@dataclass
class Stack:
    redis: Redis
    engine: AsyncEngine
    shards: int = 2
    scope_id: str = SCOPE_ID
    shard_number: int = 1
    runner: ScriptRunner = field(init=False)

    def __post_init__(self) -> None:
        self.runner = ScriptRunner(self.redis)

    @property
    def scope(self) -> ScopeKeys:
        return ScopeKeys(Shard(self.shard_number), "default", self.scope_id)

    async def prepare(self) -> None:
        """Epoch 1 on every shard, and the scope with the queues `orders` and `_dead_letter`."""
        now = int(time.time() * 1000)
        async with self.engine.begin() as conn:
            for number in range(self.shards):
                await positions.create(conn, number, Version(1, -1), now)
        for number in range(self.shards):
            await self.redis.set(Shard(number).epoch, 1)
        await self.runner.load()
        await self.configure()

    async def configure(self) -> None:
        await binding.configure(self.runner, self.scope, [], 1, [ConfigureItem("state", "active")])
        for slug in ("orders", DEAD_LETTER):
            items = [ConfigureItem("state", "active"), ConfigureItem("ordering", "fifo")]
            await binding.configure(self.runner, self.scope, [self.scope.queue(slug)], 1, items)

    async def publish(
        self, count: int = 1, *, queue: str = "orders", body: bytes = b'{"n":1}', key: str = "", **header: Any
    ) -> tuple[list[str], Version]:
        """Publish `count` messages in one call; answers their ids and the journal entry."""
        head = {"type": "order.created", **header} | ({"idempotency_key": key} if key else {})
        idem_keys = [self.scope.idempotency(queue, key)] if key else []
        extra: dict[str, Any] = {"idem": 1, "digest": "d" * 64, "idem_ms": 60_000} if key else {}
        items = [
            PublishItem(str(uuid7()), 1, "tester", msgspec.json.encode(head), body, **extra)
            for _ in range(count)
        ]
        reply = await binding.publish(self.runner, self.scope, [self.scope.queue(queue)], idem_keys, items)
        words = [item[0] for item in reply.items]
        assert set(words) <= {"OK", "DUPLICATE"}, reply
        assert reply.entry is not None
        return [item[1].decode() for item in reply.items], reply.entry

    async def claim(self, want: int = 1, *, queue: str = "orders", holder: str = "worker") -> list[list[Any]]:
        """Messages as the script gives them: id, token, lease end, record, envelope, overlay, outcome."""
        reply = await binding.claim(
            self.runner, self.scope, [self.scope.queue(queue)], [], "ordered", [ClaimItem(holder, want)]
        )
        return list(reply.items[0][1:])

    async def complete(self, claimed: Sequence[Sequence[Any]], response: bytes = b"") -> Version:
        items = [CompleteItem(message[0], message[1], "worker", response) for message in claimed]
        reply = await binding.complete(self.runner, self.scope, items)
        assert {item[0] for item in reply.items} == {"OK"}, reply
        assert reply.entry is not None
        return reply.entry

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
