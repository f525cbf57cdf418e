"""Reads of streams: from Redis, or from the rows where Redis has forgotten them or is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Hashable
from typing import Any, NamedTuple, TypeVar

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.access.gate import Standing, for_good
from scaiqueue.errors import Code, QueueError
from scaiqueue.keys import StreamKeys
from scaiqueue.persister.streams import stored_stream
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.rows import streams
from scaiqueue.rows.streams import StreamRow
from scaiqueue.streams import metrics
from scaiqueue.streams.audience import Audience

CHUNKS_A_PAGE = 500
# A wake-up is lost only with the subscriber connection, and then everyone is woken; this is for the rest.
LOOK_AGAIN_S = 15.0

T = TypeVar("T")


class Part(NamedTuple):
    """Chunks in order, without a gap, and the stream as it was then."""

    stream: StreamRow
    chunks: list[tuple[int, bytes]]
    after: int

    @property
    def done(self) -> bool:
        """Nothing comes after these."""
        return self.stream.state != "open" and self.after + 1 >= self.stream.next_seq


class StreamReader:
    """Raises SCAIQUEUE_STREAM_NOT_FOUND. While `rows_lead`, Redis is not asked."""

    def __init__(
        self, redis: Redis, engine: AsyncEngine, audience: Audience, rows_lead: Callable[[], bool]
    ) -> None:
        self._redis = redis
        self._engine = engine
        self._audience = audience
        self._rows_lead = rows_lead
        self._looking: dict[Hashable, asyncio.Task[Any]] = {}

    async def find(self, scope: ScopeEntry, stream_id: str) -> StreamRow:
        keys = scope.keys.stream(stream_id)
        if not self._rows_lead():
            reply: Any = await self._redis.hgetall(keys.key("meta"))
            stream = stored_stream(keys, reply)
            if stream is not None:
                return stream
        return await self._row(scope, stream_id)

    async def _row(self, scope: ScopeEntry, stream_id: str) -> StreamRow:
        row = await streams.find(self._engine, scope.id, stream_id)
        if row is None:
            raise QueueError(Code.SCAIQUEUE_STREAM_NOT_FOUND)
        return row

    async def part(self, scope: ScopeEntry, stream_id: str, after: int, limit: int = CHUNKS_A_PAGE) -> Part:
        """The chunks behind `after` up to the first that is missing, at most `limit`. Whoever asks for the
        same at the same time shares one look."""
        key = (scope.id, stream_id, after, limit, self._audience.wakes)
        return await self._once(key, lambda: self._part(scope, stream_id, after, limit))

    async def _part(self, scope: ScopeEntry, stream_id: str, after: int, limit: int) -> Part:
        found = None
        if not self._rows_lead():
            found = await self._from_redis(scope.keys.stream(stream_id), after, limit)
        if found is None:
            stream = await self._row(scope, stream_id)
            chunks = await streams.chunks_after(self._engine, stream_id, after, limit)
            found = stream, [chunk for place, chunk in enumerate(chunks, after + 1) if chunk[0] == place]
        stream, chunks = found
        return Part(stream, chunks, chunks[-1][0] if chunks else after)

    async def _from_redis(
        self, keys: StreamKeys, after: int, limit: int
    ) -> tuple[StreamRow, list[tuple[int, bytes]]] | None:
        meta: Any = await self._redis.hgetall(keys.key("meta"))
        stream = stored_stream(keys, meta)
        if stream is None:
            return None
        seqs = list(range(after + 1, min(stream.next_seq, after + 1 + limit)))
        values: Any = await self._redis.hmget(keys.key("chunks"), seqs) if seqs else ()
        if any(data is None for data in values):
            return None  # forgotten between the two looks, and so in the rows
        return stream, list(zip(seqs, values, strict=True))

    async def content(self, scope: ScopeEntry, stream_id: str) -> tuple[StreamRow, bytes]:
        """All chunks up to the first that is missing, joined."""
        parts: list[bytes] = []
        after = -1
        while True:
            part = await self.part(scope, stream_id, after)
            parts += [data for _, data in part.chunks]
            after = part.after
            if not part.chunks or after + 1 >= part.stream.next_seq:
                return part.stream, b"".join(parts)

    async def missing(self, scope: ScopeEntry, stream: StreamRow) -> list[tuple[int, int]]:
        """The gaps, first and last chunk of each: before the highest chunk, and up to the final one."""
        end = max(stream.highest_seq, stream.final_seq)
        if stream.next_seq > end:
            return []
        names: Any = ()
        if not self._rows_lead():
            names = await self._redis.hkeys(scope.keys.stream(stream.id).key("chunks"))
        there = {int(name) for name in names or await streams.seqs(self._engine, stream.id)}
        gaps: list[tuple[int, int]] = []
        for seq in range(stream.next_seq, end + 1):
            if seq in there:
                continue
            if gaps and gaps[-1][1] == seq - 1:
                gaps[-1] = (gaps[-1][0], seq)
            else:
                gaps.append((seq, seq))
        return gaps

    async def await_part(
        self,
        scope: ScopeEntry,
        stream_id: str,
        after: int,
        limit: int,
        wait_s: float,
        gone: asyncio.Future[Any],
        standing: Standing = for_good,
    ) -> Part:
        """The next part; where there is none yet, as soon as there is, at most after `wait_s`, or when
        `gone` is done. Raises what `standing` raises, which is asked before each look."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        with self._audience.seat(scope.keys.stream(stream_id)) as woken, metrics.listeners.track_inprogress():
            while True:
                woken.clear()
                stands_s = await standing()
                part = await self.part(scope, stream_id, after, limit)
                left = deadline - loop.time()
                if part.chunks or part.done or left <= 0 or self._audience.closing or gone.done():
                    return part
                await _first(woken, gone, min(left, stands_s, LOOK_AGAIN_S))

    async def follow(self, scope: ScopeEntry, stream_id: str, after: int) -> AsyncGenerator[Part, None]:
        """Every part behind `after`, as it comes, until the stream ends or this process does. An empty one
        now and then, where nothing comes."""
        with self._audience.seat(scope.keys.stream(stream_id)) as woken, metrics.listeners.track_inprogress():
            while not self._audience.closing:
                woken.clear()
                part = await self.part(scope, stream_id, after)
                yield part
                after = part.after
                if part.done:
                    return
                if after + 1 >= part.stream.next_seq:
                    await _within(woken, LOOK_AGAIN_S)

    async def _once(self, key: Hashable, look: Callable[[], Coroutine[Any, Any, T]]) -> T:
        task = self._looking.get(key)
        if task is None:
            task = self._looking[key] = asyncio.create_task(look())
            task.add_done_callback(lambda done: self._looked(key, done))
        found: T = await asyncio.shield(task)
        return found

    def _looked(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        self._looking.pop(key, None)
        if not task.cancelled():
            task.exception()  # whoever waited has heard of it


async def _within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


async def _first(woken: asyncio.Event, gone: asyncio.Future[Any], seconds: float) -> None:
    waiting = asyncio.ensure_future(woken.wait())
    try:
        await asyncio.wait({waiting, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
