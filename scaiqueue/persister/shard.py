"""One shard's journal, carried into the rows batch by batch."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from sqlalchemy.exc import DBAPIError

from scaiqueue.keys import ScopeKeys, Shard
from scaiqueue.persister import metrics
from scaiqueue.persister.batch import Batch, Rows, gather
from scaiqueue.persister.collect import envelope_bytes, load_parts, load_records, make_rows
from scaiqueue.persister.journal import Entry, JournalGap, RawEntry, after, decode_any, in_order
from scaiqueue.persister.transaction import PositionMoved, Writer
from scaiqueue.records import Version
from scaiqueue.rows import positions
from scaiqueue.rows.engine import reading
from scaiqueue.rows.positions import Position
from scaiqueue.scripts.binding import ForgetItem, forget_call
from scaiqueue.scripts.replies import parse_reply
from scaiqueue.scripts.runner import ScriptRunner

log = structlog.get_logger("scaiqueue.persister")

BATCH_MESSAGES = 1000
BATCH_BYTES = 4 * 2**20
# A message may have several transitions in a batch, and still costs one row.
BATCH_EVENTS = 8 * BATCH_MESSAGES
INBOX_EVENTS = 2 * BATCH_EVENTS
KEEP_SECONDS = 60.0
RETRY_SECONDS = (0.05, 5.0)
IDS_PER_FORGET = 1000

T = TypeVar("T")
Committed = Callable[[int, Version], Awaitable[None]]


class Lost(Exception):
    """The shard can't be carried on from here: recovery must look at it."""


async def load_position(writer: Writer, shard: int) -> Position:
    """Raises Lost when the shard has none yet."""
    async with reading(writer.engine) as conn:
        found = (await positions.load(conn, [shard])).get(shard)
    if found is None:
        raise Lost(f"shard {shard} has no position row")
    return found


async def journal_end(redis: Redis, shard: Shard) -> Version:
    """The last entry ever written to the journal, trimmed or not; 0-(-1) when there is no journal."""
    try:
        info = await redis.xinfo_stream(shard.journal)
    except ResponseError as error:
        if "no such key" in str(error):
            return Version(0, -1)
        raise
    last: bytes = info["last-generated-id"]
    return Version.parse(last)


class ShardJournal:
    """What is read and not yet committed of one shard. `feed` takes raw entries, `run` commits them."""

    def __init__(
        self, shard: Shard, position: Position, runner: ScriptRunner, writer: Writer, committed: Committed
    ) -> None:
        self.shard = shard
        self.runner = runner
        self.redis: Redis = runner.redis
        self.writer = writer
        self.committed = committed
        self.position = position.version
        self.published = position.published
        self.cursor = position.version
        self.failure: Exception | None = None
        self._inbox: deque[Entry] = deque()
        self._inbox_events = 0
        self._arrived = asyncio.Event()
        self._to_forget: dict[ScopeKeys, list[tuple[str, Version]]] = {}
        self._scope: ScopeKeys | None = None
        self._trims: deque[tuple[float, Version]] = deque()
        number = str(shard.number)
        self._lag_entries = metrics.lag_entries.labels(number)
        self._lag_seconds = metrics.lag_seconds.labels(number)

    @property
    def full(self) -> bool:
        return self._inbox_events >= INBOX_EVENTS

    @property
    def empty(self) -> bool:
        """Nothing is left to commit of what was fed."""
        return not self._inbox

    @property
    def cursor_id(self) -> str:
        return after(self.cursor)

    def feed(self, raws: list[RawEntry]) -> None:
        """Take entries that come after `cursor`. Raises JournalGap."""
        for entry in in_order(self.cursor, raws):
            self._inbox.append(entry)
            self._inbox_events += max(entry.size, 1)
            self.cursor = entry.version
        self._arrived.set()

    def wake(self) -> None:
        self._arrived.set()

    def close(self) -> None:
        """This process no longer speaks for the shard."""
        self._inbox.clear()
        self._show_lag()

    async def run(self) -> None:
        """Commit what arrives, for ever. Raises PositionMoved, or JournalGap after what was before it."""
        while True:
            self._show_lag()
            if self._inbox:
                await self.commit_next()
            elif self.failure is not None:
                raise self.failure
            else:
                self._arrived.clear()
                await self._arrived.wait()

    async def check_end(self) -> None:
        """Raises Lost when the journal ends before the position: Redis lost its tail."""
        last = await journal_end(self.redis, self.shard)
        if last < self.position and self.position.n >= 0:
            raise Lost(f"shard {self.shard.number}: the journal ends at {last}, the rows at {self.position}")

    async def commit_next(self) -> None:
        """One batch of the inbox, and what follows from its commit."""
        rows = await self.carry_next()
        for scope, ids in rows.forget.items():
            self._to_forget.setdefault(scope, []).extend(ids)
        self._trims.append((time.monotonic(), self.position))
        await self._retried(self._tidy)

    async def carry_next(self) -> Rows:
        """One batch of the inbox into the rows, retried until the row store takes it."""
        started = time.perf_counter()
        batch, rows = await self._retried(self._next_batch)
        await self._retried(lambda: self.writer.commit(batch, rows, self.position))
        metrics.commit_seconds.observe(time.perf_counter() - started)
        metrics.batch_messages.observe(batch.messages)
        for entry in batch.entries:
            self._inbox_events -= max(entry.size, 1)
            self._inbox.popleft()
        self.position, self.published = batch.end, batch.published
        self._scope = next((scope.keys for scope in batch.scopes.values()), self._scope)
        await self.committed(self.shard.number, self.position)
        return rows

    async def _next_batch(self) -> tuple[Batch, Rows]:
        """The longest head of the inbox that is within the bounds of a batch."""
        entries: list[Entry] = []
        messages: set[str] = set()
        events = 0
        for entry in self._inbox:
            for group in entry.groups:
                messages.update(group.ids)
            events += entry.size
            if entries and (len(messages) > BATCH_MESSAGES or events > BATCH_EVENTS):
                break
            entries.append(entry)
        while True:
            batch = gather(self.shard.number, entries, self.published)
            await load_records(self.redis, batch)
            if len(entries) == 1 or envelope_bytes(batch) <= BATCH_BYTES:
                break
            entries = entries[: len(entries) // 2]
        await load_parts(self.redis, batch)
        return batch, await make_rows(self.redis, batch)

    async def _tidy(self) -> None:
        """Forget what is terminal, say how far the rows are, and trim what was committed a minute ago."""
        calls = []
        for scope, ids in self._to_forget.items():
            items = [ForgetItem(message_id, str(version)) for message_id, version in ids]
            for start in range(0, len(items), IDS_PER_FORGET):
                calls.append(forget_call(scope, self.published, items[start : start + IDS_PER_FORGET]))
        if not calls and self._scope is not None:
            calls = [forget_call(self._scope, self.published, [])]
        for answer in await self.runner.run_many(calls) if calls else []:
            if isinstance(answer, Exception):
                raise answer
            parse_reply(answer)
        self._to_forget.clear()
        horizon = time.monotonic() - KEEP_SECONDS
        trim: Version | None = None
        while self._trims and self._trims[0][0] < horizon:
            trim = self._trims.popleft()[1]
        if trim is not None:
            await self.redis.xtrim(self.shard.journal, minid=str(trim), approximate=False)

    async def forget_leftovers(self) -> None:
        """At a takeover: forget what the last owner committed but did not come to forget."""
        end = self.position
        raws: Any = await self.redis.xrange(self.shard.journal, max=str(Version(end.epoch, max(end.n, 0))))
        for start in range(0, len(raws), 100):
            entries = [e for e in map(decode_any, raws[start : start + 100]) if e.version <= end]
            if not entries:
                continue
            batch = gather(self.shard.number, entries, self.published)
            await load_records(self.redis, batch)
            for scope in batch.scopes.values():
                ids = [
                    (message_id, touched.record.version)
                    for message_id, touched in scope.messages.items()
                    if touched.record and 5 <= touched.record.state <= 8 and touched.record.version <= end
                ]
                if ids:
                    self._to_forget.setdefault(scope.keys, []).extend(ids)
        self._trims.append((time.monotonic(), end))
        await self._tidy()

    async def _retried(self, work: Callable[[], Awaitable[T]]) -> T:
        """Again and again, with a backoff, while a server is away or a transaction lost a race."""
        delay, longest = RETRY_SECONDS
        while True:
            try:
                return await work()
            except (PositionMoved, JournalGap, Lost, asyncio.CancelledError):
                raise
            except Exception as error:
                cause = type(error).__name__
                metrics.retries.labels(cause).inc()
                text = str(error.orig if isinstance(error, DBAPIError) else error)
                log.warning("persister_retry", shard=self.shard.number, cause=cause, error=text[:500])
                self._show_lag()
            await asyncio.sleep(delay)
            delay = min(delay * 2, longest)

    def _show_lag(self) -> None:
        self._lag_entries.set(len(self._inbox))
        oldest = self._inbox[0].at if self._inbox else 0
        self._lag_seconds.set(max(0.0, time.time() - oldest / 1000) if oldest else 0.0)
