"""One shard's journal, carried into the rows batch by batch."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice, starmap
from typing import Any, TypeVar

import structlog
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError
from sqlalchemy.exc import DBAPIError

from scaiqueue.keys import ScopeKeys, Shard
from scaiqueue.persister import metrics
from scaiqueue.persister.batch import Batch, Rows, gather
from scaiqueue.persister.collect import envelope_bytes, load_parts, load_records, make_rows, terminal_ids
from scaiqueue.persister.journal import Entry, JournalGap, RawEntry, after, decode_any, in_order
from scaiqueue.persister.pipeline import replies_of
from scaiqueue.persister.tasks import together
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

ENTRIES_PER_PAGE = 50

T = TypeVar("T")
Forgettable = dict[ScopeKeys, list[tuple[str, str]]]
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
        self._prepared: tuple[Batch, Rows] | None = None
        self._to_forget: Forgettable = {}
        self._tidying = False
        self._taken_over = position.version
        self._leftovers: str | None = None
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
            elif self._tidying or self._leftovers is not None:
                await self._retried(self._tidy)
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

    def forget_leftovers(self) -> None:
        """After a takeover: what the last owner committed and did not come to forget is forgotten in time."""
        self._leftovers = "-"
        self._trims.append((time.monotonic(), self.position))

    async def commit_next(self) -> None:
        """One batch of the inbox into the rows; meanwhile what follows from the commit before it."""
        if self._tidying or self._leftovers is not None:
            await together(self.carry_next(), self._retried(self._tidy))
        else:
            await self.carry_next()
        self._tidying = True
        self._trims.append((time.monotonic(), self.position))

    async def carry_next(self) -> None:
        """One batch of the inbox into the rows, retried until the row store takes it. Meanwhile a full next
        one is prepared."""
        async with self.writer.slots:
            if self._prepared is None:
                self._prepared = await self._retried(lambda: self._prepare(0, self.published))
            (batch, rows), self._prepared = self._prepared, None
            started = time.perf_counter()
            commit = self._retried(lambda: self.writer.commit(batch, rows, self.position))
            if self._inbox_events - batch.events > BATCH_MESSAGES:
                behind = len(batch.entries)
                following = self._retried(lambda: self._prepare(behind, batch.published))
                _, self._prepared = await together(commit, following)
            else:
                await commit
        metrics.commit_seconds.observe(time.perf_counter() - started)
        metrics.batch_messages.observe(batch.messages)
        for entry in batch.entries:
            self._inbox_events -= max(entry.size, 1)
            self._inbox.popleft()
        self.position, self.published = batch.end, batch.published
        known = next((scope.keys for scope in batch.scopes.values()), batch.streams.scope)
        self._scope = known or self._scope
        for keys, ids in rows.forget.items():
            self._to_forget.setdefault(keys, []).extend(ids)
        await self.committed(self.shard.number, self.position)
        await self._retried(lambda: self.writer.rule_counts.add(batch))

    async def _prepare(self, behind: int, published: int) -> tuple[Batch, Rows]:
        """The longest part of the inbox behind so many entries that is within the bounds of a batch."""
        entries: list[Entry] = []
        messages: set[str] = set()
        events = chunks = size = 0
        for entry in islice(self._inbox, behind, None):
            for group in entry.groups:
                messages.update(group.ids)
            events += entry.size
            if entry.stream is not None:
                chunks, size = chunks + len(entry.stream.seqs) + 1, size + entry.stream.bytes
            if entries and (
                len(messages) + chunks > BATCH_MESSAGES or events > BATCH_EVENTS or size > BATCH_BYTES
            ):
                break
            entries.append(entry)
        while True:
            batch = gather(self.shard.number, entries, published)
            await load_records(self.redis, batch)
            if len(entries) == 1 or envelope_bytes(batch) <= BATCH_BYTES:
                break
            entries = entries[: len(entries) // 2]
        await load_parts(self.redis, batch)
        rows = await make_rows(self.redis, batch)
        await self._check_kept(batch)
        return batch, rows

    async def _check_kept(self, batch: Batch) -> None:
        """Raises Lost when Redis no longer has the batch's last entry, after all of it was read.

        A server that was emptied or came back older has no records either: without this look a message
        that is gone would pass for one that is already forgotten, and be acknowledged.
        """
        end = str(batch.end)
        if not await self.redis.xrange(self.shard.journal, min=end, max=end, count=1):
            raise Lost(f"shard {self.shard.number}: entry {end} was read and is gone from the journal")

    async def _tidy(self) -> None:
        """Forget what is terminal, say how far the rows are, and trim what was committed a minute ago."""
        self._tidying = False
        forgetting, self._to_forget = self._to_forget, {}
        try:
            if self._leftovers is not None:
                await self._add_leftovers(forgetting)
            await self._forget(forgetting)
        except BaseException:
            self._tidying = True
            for scope, ids in forgetting.items():
                self._to_forget.setdefault(scope, []).extend(ids)
            raise
        horizon = time.monotonic() - KEEP_SECONDS
        trim: Version | None = None
        while self._trims and self._trims[0][0] < horizon:
            trim = self._trims.popleft()[1]
        if trim is not None:
            await self.redis.xtrim(self.shard.journal, minid=str(trim), approximate=False)

    async def _forget(self, forgetting: Forgettable) -> None:
        calls = []
        for scope, ids in forgetting.items():
            for start in range(0, len(ids), IDS_PER_FORGET):
                items = list(starmap(ForgetItem, ids[start : start + IDS_PER_FORGET]))
                calls.append(forget_call(scope, self.published, items))
        if not calls and self._scope is not None:
            calls = [forget_call(self._scope, self.published, [])]
        answers = await replies_of(self.redis, [self.runner.command(call) for call in calls])
        if any(isinstance(answer, NoScriptError) for answer in answers):
            answers = await self.runner.run_many(calls)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
            parse_reply(answer)

    async def _add_leftovers(self, forgetting: Forgettable) -> None:
        """After a takeover, page by page: what the last owner committed but did not come to forget."""
        end = self._taken_over
        # At the beginning of an epoch, what the earlier ones left: a recovery carries no list of it.
        raws: Any = await self.redis.xrange(
            self.shard.journal, self._leftovers or "-", after(end), count=ENTRIES_PER_PAGE
        )
        entries = [decode_any(raw) for raw in raws]
        if entries:
            batch = gather(self.shard.number, entries, self.published)
            for scope, ids in (await terminal_ids(self.redis, batch, end)).items():
                forgetting.setdefault(scope, []).extend(ids)
        self._leftovers = "(" + str(entries[-1].version) if len(entries) == ENTRIES_PER_PAGE else None

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
