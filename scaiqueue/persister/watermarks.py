"""How far the rows are, as this process knows it: acks of committed publishes wait here."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.keys import Shard
from scaiqueue.persister.tasks import cancel_all, happens_within
from scaiqueue.records import Version
from scaiqueue.rows import positions
from scaiqueue.rows.engine import reading

log = structlog.get_logger("scaiqueue.persister")

QUIET_SECONDS = 0.2
TICK_SECONDS = 0.05
LISTEN_SECONDS = 5.0


class _Waiter:
    __slots__ = ("deadline", "future", "strict", "version")

    def __init__(self, version: Version, deadline: float, strict: bool, future: asyncio.Future[bool]) -> None:
        self.version = version
        self.deadline = deadline
        self.strict = strict
        self.future = future


Judge = Callable[[_Waiter], bool | None]


class _ShardMarks:
    def __init__(self) -> None:
        self.mark = Version(0, -1)
        self.heard = 0.0
        self.waiters: list[_Waiter] = []


class Watermarks:
    """Learns commits through one subscription, and from the position rows when that is quiet.

    `wait` answers True once the rows hold the entry, and False when that can't be known: the time
    is over, or the shard's epoch was raised meanwhile.
    """

    def __init__(self, redis: Redis, engine: AsyncEngine, shards: Iterable[int]) -> None:
        self.redis = redis
        self.engine = engine
        self.on_new_epoch: Callable[[], None] = lambda: None
        self.on_advance: Callable[[int], None] = lambda _shard: None
        self._shards = {number: _ShardMarks() for number in shards}
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting = asyncio.Event()
        self._subscribed = asyncio.Event()
        self.rows_lead: Callable[[], bool] = lambda: False

    async def start(self) -> None:
        """Returns once the subscription is there and the positions are known."""
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._tick())]
        await happens_within(self._subscribed, LISTEN_SECONDS)
        await self._read_positions(self._shards)

    async def stop(self) -> None:
        """Answers all waiters False."""
        await cancel_all(self._tasks)
        self._tasks = []
        for marks in self._shards.values():
            self._settle(marks, lambda _waiter: False)

    def mark(self, shard: int) -> Version:
        """The last entry of `shard` known to be in the rows."""
        return self._shards[shard].mark

    def advance(self, shard: int, version: Version) -> None:
        """The rows hold `version`: answers the waiters up to it."""
        marks = self._shards[shard]
        marks.heard = time.monotonic()
        if version <= marks.mark:
            return
        raised, marks.mark = version.epoch > marks.mark.epoch, version
        if raised:
            self.on_new_epoch()
        self.on_advance(shard)
        if marks.waiters:
            self._settle(marks, lambda waiter: _verdict(waiter, version))

    async def wait(self, shard: int, version: Version, timeout_s: float) -> bool:
        """True when entry `version` is in the rows; False after `timeout_s`, or when the epoch changed."""
        return await self._wait(shard, version, timeout_s, strict=True)

    async def wait_journal_end(self, shard: int, timeout_s: float = 1.0) -> bool:
        """True when the rows hold all that the journal held at the call; False: they are behind.

        While `rows_lead`, which is when transitions are made in the rows themselves, there is no journal.
        """
        if self.rows_lead():
            return True
        last: Any = await self.redis.xrevrange(Shard(shard).journal, count=1)
        if not last:
            return True
        return await self._wait(shard, Version.parse(last[0][0]), timeout_s, strict=False)

    async def wait_replayed(self, shard: int, epoch: int, timeout_s: float) -> bool:
        """True when the rows hold what was in the index all the time that its epoch was `epoch`.

        False also where the index was recovered since then, perhaps without what was found in it. While the
        rows lead, what was found is theirs.
        """
        if self.rows_lead():
            return True
        async with self.redis.pipeline(transaction=False) as pipe:
            pipe.get(Shard(shard).epoch)
            pipe.xrevrange(Shard(shard).journal, count=1)
            current, last = await pipe.execute()
        if current is None or int(current) != epoch:
            return False
        end = Version.parse(last[0][0]) if last else Version(epoch, -1)
        # The last entry of an earlier epoch was carried over before this one began.
        return await self._wait(shard, max(end, Version(epoch, -1)), timeout_s, strict=True)

    async def _wait(self, shard: int, version: Version, timeout_s: float, *, strict: bool) -> bool:
        marks = self._shards[shard]
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(version, time.monotonic() + timeout_s, strict, future)
        verdict = _verdict(waiter, marks.mark)
        if verdict is not None or timeout_s <= 0 or not self._tasks:
            return bool(verdict)
        if not marks.waiters:
            marks.heard = time.monotonic()
        marks.waiters.append(waiter)
        self._waiting.set()
        return await future

    def _settle(self, marks: _ShardMarks, judge: Judge) -> None:
        left = []
        for waiter in marks.waiters:
            if waiter.future.done():
                continue
            verdict = judge(waiter)
            if verdict is None:
                left.append(waiter)
            else:
                waiter.future.set_result(verdict)
        marks.waiters = left

    async def _listen(self) -> None:
        """One subscription for all shards, made again when it is lost; then the rows are asked at once."""
        while True:
            pubsub = self.redis.pubsub(ignore_subscribe_messages=True)
            try:
                await pubsub.subscribe(*(Shard(number).committed_channel for number in self._shards))
                self._subscribed.set()
                self._doubt()
                await self._follow(pubsub)
            except (RedisError, OSError) as error:
                log.warning("watermark_subscription_lost", error=str(error))
                self._doubt()
                await asyncio.sleep(QUIET_SECONDS)
            finally:
                with contextlib.suppress(RedisError, OSError):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _follow(self, pubsub: PubSub) -> None:
        numbers = {Shard(number).committed_channel.encode(): number for number in self._shards}
        while True:
            message = await pubsub.get_message(timeout=LISTEN_SECONDS)
            if message is not None and message["type"] == "message":
                self.advance(numbers[message["channel"]], Version.parse(message["data"]))

    def _doubt(self) -> None:
        for marks in self._shards.values():
            marks.heard = 0.0

    async def _tick(self) -> None:
        """While someone waits: ends waits that are over, and asks the rows for shards that are quiet."""
        while True:
            if not any(marks.waiters for marks in self._shards.values()):
                self._waiting.clear()
                await self._waiting.wait()
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            quiet = [n for n, m in self._shards.items() if m.waiters and now - m.heard >= QUIET_SECONDS]
            if quiet:
                for number in quiet:
                    self._shards[number].heard = now
                try:
                    async with asyncio.timeout(1.0):
                        await self._read_positions(quiet)
                except Exception as error:
                    log.warning("positions_unreadable", error=str(error))
            for marks in self._shards.values():
                if marks.waiters:
                    self._settle(marks, lambda waiter: False if waiter.deadline <= now else None)  # noqa: B023

    async def _read_positions(self, shards: Iterable[int]) -> None:
        async with reading(self.engine) as conn:
            found = await positions.load(conn, shards)
        for number, position in found.items():
            self.advance(number, position.version)


def _verdict(waiter: _Waiter, mark: Version) -> bool | None:
    """None: not yet. Of an older epoch only what was heard in its time is certain; for a list the rows
    of a later epoch are good enough, since recovery carries over what is left before it raises the epoch."""
    if mark < waiter.version:
        return None
    return mark.epoch == waiter.version.epoch or not waiter.strict
