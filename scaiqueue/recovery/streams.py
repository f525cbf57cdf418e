"""Streams that live, from their rows back into Redis; and what Redis holds of them, carried into the rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import msgspec
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue import upkeep
from scaiqueue.keys import ScopeKeys, Shard, StreamKeys
from scaiqueue.moments import now_ms
from scaiqueue.persister.streams import stored_stream
from scaiqueue.rows import streams
from scaiqueue.rows.streams import ChunkRow, StreamRow

CHUNKS = 500

_NOT_STORED = ("id", "tenant_id", "scope_id", "shard")


async def restore_streams(
    redis: Redis, engine: AsyncEngine, shard: Shard, keep_lock: Callable[[], Awaitable[object]]
) -> int:
    """Put the shard's open and closed streams back as the rows have them, and answer how many; whatever else
    Redis holds of streams goes.

    The shard must be fenced, and its journal carried into the rows.
    """
    await _clear(redis, shard)
    restored = 0
    async for page in streams.live_of_shard(engine, shard.number):
        for row in page:
            await _restore(redis, engine, row)
            await keep_lock()
        restored += len(page)
    return restored


async def _clear(redis: Redis, shard: Shard) -> None:
    for place in (shard.open_streams, shard.closed_streams, shard.ended_streams):
        while roots := cast(list[bytes], await redis.zrange(place, 0, CHUNKS - 1)):
            names = [f"{root.decode()}:{part}" for root in roots for part in ("meta", "chunks")]
            await redis.unlink(*names)
            await redis.zrem(place, *roots)


async def _restore(redis: Redis, engine: AsyncEngine, row: StreamRow) -> None:
    keys = ScopeKeys(Shard(row.shard), row.tenant_id, row.scope_id).stream(row.id)
    seqs: list[int] = []
    size = 0
    while page := await streams.chunks_after(engine, row.id, seqs[-1] if seqs else -1, CHUNKS):
        pairs: list[Any] = [part for seq, data in page for part in (seq, data)]
        await upkeep.write(redis, "HSET", keys.key("chunks"), *pairs)
        seqs += [seq for seq, _ in page]
        size += sum(len(data) for _, data in page)
    stream = as_far_as_kept(row, seqs, size)
    if stream.state == "open":
        # Nobody could write to it meanwhile.
        stream = msgspec.structs.replace(stream, updated_at=now_ms())
    fields = msgspec.structs.asdict(stream)
    pairs = [part for name in fields if name not in _NOT_STORED for part in (name, fields[name])]
    await upkeep.write(redis, "HSET", keys.key("meta"), *pairs)
    place, due = keys.scope.shard.closed_streams, 0
    if stream.state == "open":
        place, due = keys.scope.shard.open_streams, stream.updated_at + stream.idle_ms
    await upkeep.write(redis, "ZADD", place, due, keys.root)


def as_far_as_kept(row: StreamRow, seqs: Sequence[int], size: int) -> StreamRow:
    """The stream with these chunks alone: its row may be ahead of them, since it is read as it is when it is
    written. One that was closed is open again if it lacks any: nobody was told of its end."""
    if len(seqs) == row.chunk_count:
        return row
    missing = next((place for place, seq in enumerate(seqs) if seq != place), len(seqs))
    highest = seqs[-1] if seqs else -1
    return msgspec.structs.replace(
        row,
        state="open",
        next_seq=missing,
        highest_seq=highest,
        final_seq=row.final_seq if row.final_seq in seqs else -1,
        chunk_count=len(seqs),
        byte_count=size,
    )


async def carry_streams(redis: Redis, engine: AsyncEngine, shard: Shard) -> None:
    """Bring the rows of every stream that Redis holds up to date, where the journal no longer tells of it."""
    async for name in redis.scan_iter(match=f"{shard.root}:*:stream:*:meta", count=1000):
        keys = StreamKeys.parse(name.decode().removesuffix(":meta"))
        row = stored_stream(keys, await redis.hgetall(keys.key("meta")))
        if row is None:
            continue
        async with engine.begin() as conn:
            await streams.write(conn, [row], ())
        async for found in _chunks(redis, keys):
            async with engine.begin() as conn:
                await streams.write(conn, (), found)


async def _chunks(redis: Redis, keys: StreamKeys) -> Any:
    page: list[ChunkRow] = []
    async for seq, data in redis.hscan_iter(keys.key("chunks"), count=CHUNKS):
        page.append(ChunkRow(keys.stream_id, int(seq), data))
        if len(page) >= CHUNKS:
            yield page
            page = []
    if page:
        yield page
