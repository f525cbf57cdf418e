"""The persister of one process: reads the journals of its shards on one connection, commits each in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.keys import Shard
from scaiqueue.persister.journal import JournalGap, RawEntry
from scaiqueue.persister.ownership import RENEW_SECONDS, Leases
from scaiqueue.persister.shard import Lost, ShardJournal, load_position
from scaiqueue.persister.tasks import cancel_all, happens_within
from scaiqueue.persister.transaction import PositionMoved, Writer
from scaiqueue.persister.watermarks import Watermarks
from scaiqueue.records import Version
from scaiqueue.scripts.runner import ScriptRunner

log = structlog.get_logger("scaiqueue.persister")

BLOCK_MS = 200
BLOCK_WHEN_FULL_MS = 5
ENTRIES_PER_READ = 250
STOP_SECONDS = 8.0
PAUSE_SECONDS = 0.2
TROUBLE_SECONDS = 0.1

Recover = Callable[[], Awaitable[object]]


async def _no_recovery() -> None:
    log.error("recovery_needed", hint="start an API process: it recovers the index")


class Persister:
    """`recover` is awaited when a shard can't be carried on; afterwards its shards are taken up again.

    One that doesn't carry only hears how far the others are.
    """

    def __init__(
        self,
        redis: Redis,
        runner: ScriptRunner,
        engine: AsyncEngine,
        *,
        shards: int,
        recover: Recover = _no_recovery,
        watermarks: Watermarks | None = None,
        carries: bool = True,
    ) -> None:
        self.redis = redis
        self.runner = runner
        self.engine = engine
        self.carries = carries
        self.watermarks = watermarks or Watermarks(redis, engine, range(shards))
        self._recover = recover
        self._writer = Writer(engine, redis)
        self._leases = Leases(redis, range(shards))
        self._journals: dict[int, ShardJournal] = {}
        self._runs: dict[int, asyncio.Task[None]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._troubled = asyncio.Event()
        self.watermarks.on_new_epoch = self._troubled.set

    @property
    def owned(self) -> frozenset[int]:
        """The shards that this process persists now."""
        return frozenset(self._journals)

    async def start(self) -> None:
        """Returns once the free shards are taken up; commits go on in the background."""
        await self.watermarks.start()
        if not self.carries:
            return
        with contextlib.suppress(RedisError, OSError):  # without Redis there is nothing to persist
            await self._share_out()
        self._loops = [asyncio.create_task(self._read()), asyncio.create_task(self._own())]

    async def stop(self) -> None:
        """Commit what the owned journals hold (for at most STOP_SECONDS), then give up ownership."""
        with contextlib.suppress(TimeoutError, RedisError, OSError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._drain()
        await cancel_all(self._loops)
        for number in list(self._journals):
            await self._drop(number)
        await self._writer.close()
        with contextlib.suppress(TimeoutError, RedisError, OSError):
            async with asyncio.timeout(1.0):
                await self._leases.leave()
        await self.watermarks.stop()

    async def _drain(self) -> None:
        for number in list(self._journals):
            await self.watermarks.wait_journal_end(number, STOP_SECONDS)

    async def _read(self) -> None:
        """One XREAD over all shards that have room."""
        while True:
            open_journals = [j for j in self._journals.values() if not j.full and j.failure is None]
            if not open_journals:
                self._changed.clear()
                await happens_within(self._changed, PAUSE_SECONDS)
                continue
            block = BLOCK_MS if len(open_journals) == len(self._journals) else BLOCK_WHEN_FULL_MS
            try:
                answer = await self._read_once(open_journals, block)
            except (RedisError, OSError) as error:
                log.warning("journal_unreadable", error=str(error))
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            by_name = {journal.shard.journal.encode(): journal for journal in open_journals}
            for name, entries in answer:
                self._feed(by_name[name], entries)

    async def _read_once(
        self, journals: Sequence[ShardJournal], block: int
    ) -> list[tuple[bytes, list[RawEntry]]]:
        streams: dict[Any, Any] = {journal.shard.journal: journal.cursor_id for journal in journals}
        answer: Any = await self.redis.xread(streams, count=ENTRIES_PER_READ, block=block)
        if isinstance(answer, dict):  # protocol 3
            return [(name, entries[0]) for name, entries in answer.items()]
        return list(answer)

    def _feed(self, journal: ShardJournal, entries: list[RawEntry]) -> None:
        if self._journals.get(journal.shard.number) is not journal:
            return
        try:
            journal.feed(entries)
        except JournalGap as gap:
            journal.failure = gap
            journal.wake()

    async def _own(self) -> None:
        """Keeps the leases, starts and ends shards accordingly, and calls recovery where it is needed."""
        while True:
            await happens_within(self._troubled, RENEW_SECONDS)
            await asyncio.sleep(TROUBLE_SECONDS if self._troubled.is_set() else 0)
            self._troubled.clear()
            try:
                await self._share_out()
            except Exception as error:
                # Whatever it is, without this loop the process would never persist again.
                log.warning("leases_not_renewed", cause=type(error).__name__, error=str(error)[:500])
                await asyncio.sleep(PAUSE_SECONDS)
                self._troubled.set()

    async def _share_out(self) -> None:
        await self._leases.renew()
        owned, epochs = self._leases.owned, self._leases.epochs
        sick = {number for number in owned if epochs[number] is None}
        for number, run in list(self._runs.items()):
            journal = self._journals[number]
            elsewhere = number in owned and epochs[number] != journal.cursor.epoch
            if elsewhere or (run.done() and journal.failure is not None):
                sick.add(number)
            if run.done() or number not in owned or number in sick:
                await self._drop(number)
        for number in self._leases.surplus:
            await self._drop(number)
        await self._leases.release(self._leases.surplus)
        for number in sorted(self._leases.owned - set(self._journals) - sick):
            try:
                await self._take_up(number)
            except (Lost, JournalGap) as error:
                log.error("shard_not_carried_on", shard=number, error=str(error))
                sick.add(number)
        if sick:
            await self._recover()
            self._troubled.set()
        self._changed.set()

    async def _take_up(self, number: int) -> None:
        position = await load_position(self._writer, number)
        epoch = self._leases.epochs[number]
        if position.version.epoch != epoch:
            raise Lost(f"the rows of shard {number} are at epoch {position.version.epoch}, Redis at {epoch}")
        journal = ShardJournal(Shard(number), position, self.runner, self._writer, self._committed)
        await journal.check_end()
        journal.forget_leftovers()
        self._journals[number] = journal
        run = asyncio.create_task(journal.run())
        run.add_done_callback(lambda _run: self._troubled.set())
        self._runs[number] = run
        self._changed.set()

    async def _drop(self, number: int) -> None:
        run = self._runs.pop(number, None)
        journal = self._journals.pop(number, None)
        if run is not None:
            await cancel_all([run])
            outcome = None if run.cancelled() else run.exception()
            if isinstance(outcome, PositionMoved):
                log.info("position_moved", shard=number)
            elif outcome is not None:
                log.error("shard_stopped", shard=number, error=str(outcome))
        if journal is not None:
            journal.close()

    async def _committed(self, number: int, version: Version) -> None:
        self.watermarks.advance(number, version)
        with contextlib.suppress(RedisError, OSError):
            await self.redis.publish(Shard(number).committed_channel, str(version))
        self._changed.set()
