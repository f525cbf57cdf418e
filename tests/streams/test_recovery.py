"""Streams in the rows, and back from them when Redis has lost everything, its end, or its journal."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from uuid_utils import uuid7

from scaiqueue.keys import StreamKeys
from scaiqueue.persister.streams import stored_stream
from scaiqueue.records import Version
from scaiqueue.recovery.streams import as_far_as_kept
from scaiqueue.rows.streams import StreamRow
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import StreamItem
from tests.eventually import eventually
from tests.stack import Stack, open_stack


class Producer:
    """Of one stream, through the scripts."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.keys: StreamKeys = stack.scope.stream(str(uuid7()))
        self.entry = Version(0, -1)

    async def call(self, verb: str, *chunks: tuple[int, bytes]) -> list[Any]:
        items = [StreamItem(seq, data) for seq, data in chunks]
        said = ("orders", "{}", "", "", "") if verb == "open" else ("",) * 5
        reply = await binding.stream(
            self.stack.runner, self.stack.scope, self.keys, verb, "tester", *said, items
        )
        self.entry = reply.entry or self.entry
        return reply.items[-1]

    async def end(self, verb: str, detail: str = "") -> list[Any]:
        reply = await binding.end_stream(
            self.stack.runner, self.stack.scope, self.keys, verb, "tester", detail
        )
        self.entry = reply.entry or self.entry
        return reply.items[0]

    async def stored(self) -> StreamRow | None:
        return stored_stream(self.keys, await self.stack.redis.hgetall(self.keys.key("meta")))

    async def chunks(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = await self.stack.redis.hgetall(self.keys.key("chunks"))
        return found


async def test_rows_are_what_redis_holds(redis: Redis, database_url: str) -> None:
    async with open_stack(redis, database_url) as stack:
        persister = stack.persister()
        await persister.start()
        producer = Producer(stack)
        await producer.call("open")
        await producer.call("append", (3, b"\0\xff"), (0, b"a"))
        await producer.call("append", (1, b"b"))
        assert await persister.watermarks.wait(1, producer.entry, 20.0)
        (row,) = await stack.all_of("streams")
        assert StreamRow(**row) == await producer.stored()
        assert (row["next_seq"], row["chunk_count"], row["byte_count"], row["state"]) == (2, 3, 4, "open")
        chunks = {piece["seq"]: bytes(piece["data"]) for piece in await stack.all_of("stream_chunks")}
        assert chunks == {0: b"a", 1: b"b", 3: b"\0\xff"}
        events = [
            msgspec.json.decode(e["detail"]) for e in await stack.all_of("events") if e["op"] == "stream"
        ]
        assert [event["event"] for event in events] == ["stream.opened", *["stream.appended"] * 2]
        assert events[1]["seqs"] == [3, 0]
        await producer.end("abort", "enough")
        assert await persister.watermarks.wait(1, producer.entry, 20.0)
        (row,) = await stack.all_of("streams")
        assert (row["state"], row["reason"]) == ("aborted", "enough")
        # Chunks count towards the backlog until they are committed.
        limits = stack.scope.shard.limits

        async def counted() -> bool:
            return await redis.hmget(limits, ["published", "persisted"]) == [b"3", b"3"]

        assert await eventually(counted)
        await persister.stop()


async def test_streams_come_back(redis: Redis, database_url: str) -> None:
    async with open_stack(redis, database_url) as stack:
        persister = stack.persister()
        await persister.start()
        opened, closed, ended = Producer(stack), Producer(stack), Producer(stack)
        for producer in (opened, closed, ended):
            await producer.call("open")
            await producer.call("append", *[(seq, b"%d" % seq) for seq in range(600)])
        await closed.call("close")
        await ended.end("abort")
        assert await persister.watermarks.wait(1, ended.entry, 20.0)
        before = {p: (await p.stored(), await p.chunks()) for p in (opened, closed)}
        await persister.stop()
        await redis.flushall()
        await stack.recovery.prepare()
        for producer, (stream, chunks) in before.items():
            assert stream is not None
            restored = await producer.stored()
            assert restored is not None
            # The idle time of an open one begins anew.
            assert (restored.updated_at > stream.updated_at) == (stream.state == "open")
            same = msgspec.structs.replace(restored, updated_at=stream.updated_at)
            assert (same, await producer.chunks()) == (stream, chunks)
        assert await ended.stored() is None
        shard = stack.scope.shard
        assert await redis.zrange(shard.open_streams, 0, -1) == [opened.keys.root.encode()]
        assert await redis.zrange(shard.closed_streams, 0, -1) == [closed.keys.root.encode()]
        assert await opened.call("append", (600, b"x")) == ["OK", b"open", 601, 600, -1, 601, 1691]
        assert (await opened.call("close"))[1] == b"closed"


async def test_what_redis_lost_of_its_end_comes_back(redis: Redis, database_url: str) -> None:
    """A server that came back older holds a stream as it was: what the rows know since then is put right."""
    async with open_stack(redis, database_url) as stack:
        persister = stack.persister()
        await persister.start()
        longer, ended = Producer(stack), Producer(stack)
        for producer in (longer, ended):
            await producer.call("open", (0, b"a"))
        older = {name: await redis.dump(name) for name in await redis.keys("*")}
        await longer.call("append", (1, b"b"))
        await ended.end("abort")
        assert await persister.watermarks.wait(1, ended.entry, 20.0)
        await persister.stop()
        await redis.flushall()
        for name, dumped in older.items():
            await redis.restore(name, 0, dumped)
        await redis.delete(stack.scope.shard.epoch)
        await stack.recovery.prepare()
        assert await longer.chunks() == {b"0": b"a", b"1": b"b"}
        assert await ended.stored() is None
        assert await ended.call("append", (1, b"b")) == ["NOT_FOUND", b"stream"]


async def test_a_journal_with_a_hole_is_carried_over_by_what_redis_holds(
    redis: Redis, database_url: str
) -> None:
    async with open_stack(redis, database_url) as stack:
        producer = Producer(stack)
        await producer.call("open", (0, b"a"))
        await producer.call("append", (1, b"b"))
        await redis.xtrim(stack.scope.shard.journal, maxlen=1, approximate=False)
        await redis.delete(stack.scope.shard.epoch)
        await stack.recovery.prepare()
        assert await producer.chunks() == {b"0": b"a", b"1": b"b"}
        assert len(await stack.all_of("stream_chunks")) == 2
        assert (await producer.call("close"))[1] == b"closed"


ROW = StreamRow(
    id="s", tenant_id="t", scope_id="c", shard=1, state="closed", queue="q", template="{}", actor="",
    reason="", message_id="", next_seq=3, highest_seq=2, final_seq=2, chunk_count=3, byte_count=3,
    max_bytes=9, max_chunks=9, idle_ms=1, created_at=1, updated_at=1, epoch=1, n=1,
)  # fmt: skip


@pytest.mark.parametrize(
    ("seqs", "fields"),
    [
        ([0, 1, 2], {}),
        ([0, 2], {"next_seq": 1, "highest_seq": 2, "final_seq": 2, "chunk_count": 2, "byte_count": 2}),
        ([0, 1], {"next_seq": 2, "highest_seq": 1, "final_seq": -1, "chunk_count": 2, "byte_count": 2}),
        ([], {"next_seq": 0, "highest_seq": -1, "final_seq": -1, "chunk_count": 0, "byte_count": 0}),
    ],
)
def test_a_row_that_is_ahead_of_its_chunks(seqs: list[int], fields: dict[str, Any]) -> None:
    state = {"state": "open"} if fields else {}
    expected = msgspec.structs.replace(ROW, **state, **fields)
    assert as_far_as_kept(ROW, seqs, len(seqs)) == expected
