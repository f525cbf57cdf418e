"""Rows of streams and of their chunks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.mysql import insert as mysql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.records import Version
from scaiqueue.rows import positions
from scaiqueue.rows.engine import is_sqlite, reading
from scaiqueue.rows.tables import stream_chunks, streams

LIVE = ("open", "closed")
ENDED = ("assembled", "failed", "aborted")
PAGE = 500


class StreamRow(msgspec.Struct, frozen=True, kw_only=True):
    """A stream, from its row or from its hash in Redis, where the fields have the same names.

    `next_seq` is the first chunk that is missing; `highest_seq` and `final_seq` are -1 where there is none.
    """

    id: str
    tenant_id: str
    scope_id: str
    shard: int
    state: str
    queue: str
    template: str
    actor: str
    reason: str
    message_id: str
    next_seq: int
    highest_seq: int
    final_seq: int
    chunk_count: int
    byte_count: int
    max_bytes: int
    max_chunks: int
    idle_ms: int
    created_at: int
    updated_at: int
    epoch: int
    n: int

    @property
    def version(self) -> Version:
        return Version(self.epoch, self.n)

    @property
    def live(self) -> bool:
        return self.state in LIVE


class ChunkRow(NamedTuple):
    stream_id: str
    seq: int
    data: bytes


async def write(conn: AsyncConnection, rows: Sequence[StreamRow], chunks: Sequence[ChunkRow]) -> None:
    """Streams as they are now; chunks never change, one that is there stays."""
    values = [msgspec.structs.asdict(row) for row in rows]
    pieces = [chunk._asdict() for chunk in chunks]
    changing = [name for name in StreamRow.__struct_fields__ if name != "id"]
    if is_sqlite(conn):
        stored = sqlite_insert(streams)
        upsert = stored.on_conflict_do_update(set_={name: stored.excluded[name] for name in changing})
        if values:
            await conn.execute(upsert, values)
        if pieces:
            await conn.execute(sqlite_insert(stream_chunks).on_conflict_do_nothing(), pieces)
        return
    maria = mysql_insert(streams)
    if values:
        renewed = {name: maria.inserted[name] for name in changing}
        await conn.execute(maria.on_duplicate_key_update(renewed), values)
    if pieces:
        await conn.execute(mysql_insert(stream_chunks).prefix_with("IGNORE"), pieces)


async def find(engine: AsyncEngine, scope_id: str, stream_id: str) -> StreamRow | None:
    query = select(streams).where(streams.c.id == stream_id, streams.c.scope_id == scope_id)
    async with reading(engine) as conn:
        row = (await conn.execute(query)).mappings().first()
    return None if row is None else StreamRow(**row)


async def chunks_after(
    engine: AsyncEngine, stream_id: str, after: int, limit: int
) -> list[tuple[int, bytes]]:
    """At most `limit` chunks in order, gaps passed over."""
    c = stream_chunks.c
    query = select(c.seq, c.data).where(c.stream_id == stream_id, c.seq > after).order_by(c.seq).limit(limit)
    async with reading(engine) as conn:
        return [(row.seq, row.data) for row in await conn.execute(query)]


async def seqs(engine: AsyncEngine, stream_id: str) -> list[int]:
    """Which chunks there are."""
    async with reading(engine) as conn:
        found = await conn.execute(select(stream_chunks.c.seq).where(stream_chunks.c.stream_id == stream_id))
        return list(found.scalars())


async def page(
    engine: AsyncEngine,
    scope_id: str,
    before: str,
    limit: int,
    *,
    state: str | None = None,
    queues: Collection[str] | None = None,
) -> list[StreamRow]:
    """Newest first, those made before the id `before`."""
    c = streams.c
    query = select(streams).where(c.scope_id == scope_id)
    if before:
        query = query.where(c.id < before)
    if state is not None:
        query = query.where(c.state == state)
    if queues is not None:
        query = query.where(c.queue.in_(list(queues)))
    async with reading(engine) as conn:
        found = (await conn.execute(query.order_by(c.id.desc()).limit(limit))).mappings()
        return [StreamRow(**row) for row in found]


async def live_in(engine: AsyncEngine, scope_id: str) -> int:
    """How many of a scope are open, or closed and not assembled."""
    query = select(func.count()).where(streams.c.scope_id == scope_id, streams.c.state.in_(LIVE))
    async with reading(engine) as conn:
        count: int = (await conn.execute(query)).scalar_one()
    return count


async def live_of_shard(engine: AsyncEngine, shard: int) -> AsyncIterator[list[StreamRow]]:
    """Those of a shard, in pages."""
    c, after = streams.c, ""
    while True:
        query = select(streams).where(c.shard == shard, c.state.in_(LIVE), c.id > after)
        async with reading(engine) as conn:
            found = (await conn.execute(query.order_by(c.id).limit(PAGE))).mappings().all()
        if not found:
            return
        yield [StreamRow(**row) for row in found]
        after = found[-1]["id"]


async def committed(engine: AsyncEngine, shard: int, ids: Collection[str]) -> dict[str, Version]:
    """The versions of those streams of a shard whose rows, and those of all their chunks, are written: a row
    may be ahead of the journal's position, since it is read as it is when it is written."""
    query = select(streams.c.id, streams.c.epoch, streams.c.n).where(streams.c.id.in_(list(ids)))
    async with reading(engine) as conn:
        position = (await positions.load(conn, [shard])).get(shard)
        found = {row.id: Version(row.epoch, row.n) for row in await conn.execute(query)}
    if position is None:
        return {}
    return {name: version for name, version in found.items() if version <= position.version}


async def prune(engine: AsyncEngine, before: int, limit: int) -> int:
    """Delete at most `limit` streams that ended before `before` (ms), with their chunks. Returns how many
    went."""
    c = streams.c
    over = select(c.id).where(c.state.in_(ENDED), c.updated_at < before).limit(limit)
    async with reading(engine) as conn:
        ids = sorted((await conn.execute(over)).scalars())
    await remove(engine, ids)
    return len(ids)


async def remove(engine: AsyncEngine, ids: Sequence[str]) -> None:
    """With their chunks."""
    for stream_id in ids:
        async with engine.begin() as conn:
            await conn.execute(delete(stream_chunks).where(stream_chunks.c.stream_id == stream_id))
            await conn.execute(delete(streams).where(streams.c.id == stream_id))


async def remove_of_scope(engine: AsyncEngine, scope_id: str) -> None:
    while True:
        query = select(streams.c.id).where(streams.c.scope_id == scope_id).limit(PAGE)
        async with reading(engine) as conn:
            ids = list((await conn.execute(query)).scalars())
        if not ids:
            return
        await remove(engine, ids)
