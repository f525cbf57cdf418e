"""Streams that nobody writes to, and those that have ended."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis.asyncio import Redis
from uuid_utils import uuid7

from scaiqueue.moments import now_ms
from scaiqueue.persister.streams import stored_stream
from scaiqueue.rows import streams
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import StreamItem
from scaiqueue.settings import Settings
from scaiqueue_agents import stream_keeper
from scaiqueue_agents.agent import AgentContext, Budget
from scaiqueue_agents.stream_keeper import keep_streams
from tests.eventually import eventually
from tests.stack import Stack, open_stack

DAY_MS = 86_400_000


def context_of(stack: Stack, redis: Redis, **settings: Any) -> AgentContext:
    return AgentContext(Settings(shards=2, **settings), redis, stack.runner, stack.engine, redis)


async def test_idle_streams_end_are_forgotten_and_removed(
    redis: Redis, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_stack(redis, database_url) as stack:
        persister = stack.persister()
        await persister.start()
        context, shard = context_of(stack, redis), stack.scope.shard
        keys = stack.scope.stream(str(uuid7()))
        chunks = [StreamItem(0, b"a")]
        said = ("orders", "{}", "", "")
        await binding.stream(stack.runner, stack.scope, keys, "open", "t", *said, 1, chunks)
        busy = stack.scope.stream(str(uuid7()))
        await binding.stream(stack.runner, stack.scope, busy, "open", "t", *said, DAY_MS, chunks)

        async def run() -> dict[str, Any]:
            return await keep_streams(context, Budget(3600))

        async def aborted() -> bool:
            return (await run())["aborted"] == 1

        await eventually(aborted)
        assert await redis.hmget(keys.key("meta"), ["state", "reason"]) == [b"aborted", b"idle"]
        assert await redis.hget(busy.key("meta"), "state") == b"open"
        assert await persister.watermarks.wait_journal_end(1, 20.0)
        assert (await run())["forgotten"] == 0  # who follows it finds it for a while
        await redis.zadd(shard.ended_streams, {keys.root: 1})
        assert (await run())["forgotten"] == 1
        assert not await redis.exists(keys.key("meta"), keys.key("chunks"), shard.ended_streams)
        assert (await streams.find(stack.engine, stack.scope_id, keys.stream_id)) is not None

        later = now_ms() / 1000 + 86_401
        monkeypatch.setattr(stream_keeper.time, "time", lambda: later)
        assert (await run())["removed"] == 1
        monkeypatch.setattr(stream_keeper.time, "time", time.time)
        assert [row["id"] for row in await stack.all_of("streams")] == [busy.stream_id]
        assert [row["stream_id"] for row in await stack.all_of("stream_chunks")] == [busy.stream_id]
        await persister.stop()


async def test_what_the_rows_do_not_hold_is_kept(redis: Redis, sqlite_url: str) -> None:
    async with open_stack(redis, sqlite_url) as stack:
        context, keys = context_of(stack, redis), stack.scope.stream(str(uuid7()))
        await binding.stream(stack.runner, stack.scope, keys, "open", "t", "orders", "{}", "", "", "", [])
        await binding.end_stream(stack.runner, stack.scope, keys, "abort", "t", "")
        await redis.zadd(stack.scope.shard.ended_streams, {keys.root: 1})
        assert (await keep_streams(context, Budget(3600)))["forgotten"] == 0
        row = stored_stream(keys, await redis.hgetall(keys.key("meta")))
        assert row is not None
        async with stack.engine.begin() as conn:
            await streams.write(conn, [row], ())
        # The row is there, but the journal is not carried so far: chunks may be missing.
        assert (await keep_streams(context, Budget(3600)))["forgotten"] == 0
        await redis.delete(stack.scope.shard.epoch)
        result = await keep_streams(context, Budget(3600))
        assert (result["forgotten"], await redis.exists(keys.key("meta"))) == (0, 1)
        assert (await keep_streams(context, Budget(0)))["more"] is True
