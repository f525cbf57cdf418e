"""Makes the index whole again after every restart of Redis, lossy or not, and lets nobody in before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple
from uuid import uuid4

import structlog
from redis.asyncio import Redis
from redis.asyncio.lock import Lock
from redis.exceptions import LockError
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue import upkeep
from scaiqueue.fallback import mode
from scaiqueue.keys import Shard
from scaiqueue.moments import now_ms
from scaiqueue.persister.shard import journal_end
from scaiqueue.persister.tasks import cancel_all, happens_within
from scaiqueue.persister.transaction import PositionMoved, Writer
from scaiqueue.queueing.rulebook import Rulebooks
from scaiqueue.records import Version
from scaiqueue.recovery.fence import LOCK_SECONDS, RUN_ID, disagreeing, look, recovery_lock
from scaiqueue.recovery.progress import finished
from scaiqueue.recovery.rebuild import Rebuild
from scaiqueue.recovery.remainder import carry_left, carry_remainder
from scaiqueue.rows import positions
from scaiqueue.rows.installation import ensure_shards
from scaiqueue.scripts.runner import ScriptRunner
from scaiqueue.settings import Settings

log = structlog.get_logger("scaiqueue.recovery")

WATCH_SECONDS = 1.0
# Between attempts while the server is away: as long as nobody has recovered it, nobody is served.
AGAIN_SECONDS = 0.2
# A field of the shard's limits while its index is rebuilt: who does it.
RECOVERING = "recovering"
# And the journal's end when that was begun, kept over every further attempt; an epoch of 0: all was lost.
RECOVERING_FROM = "recovering_from"
RACES = 5


class Limits(NamedTuple):
    """What the scripts obey of the settings, for every shard."""

    backlog_limit: int
    max_body: int
    max_hops: int = 10
    max_matches: int = 100_000

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        return cls(
            settings.backlog_limit,
            settings.max_body_bytes,
            settings.routing_max_hops,
            settings.routing_max_matches,
        )


class Recovery:
    """One for each API process. `prepare` at its start; `start` then watches for restarts of the server.

    The runner must ask `may_reload` before it heals a NOSCRIPT: an empty script cache is the fence.
    """

    def __init__(
        self, redis: Redis, runner: ScriptRunner, engine: AsyncEngine, *, shards: int, limits: Limits
    ) -> None:
        self.redis = redis
        self.runner = runner
        self.engine = engine
        self.shards = range(shards)
        self.limits = limits
        self._rulebooks = Rulebooks(engine, runner, limits.max_hops, limits.max_matches)
        self._writer = Writer(engine, redis)
        self._one_at_a_time = asyncio.Lock()
        self._asked = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look once a second, and at once when a script is missing."""
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._watching is not None:
            await cancel_all([self._watching])

    async def may_reload(self) -> bool:
        """True where only the scripts are gone, as after SCRIPT FLUSH. Else recovery is on its way."""
        if not (await look(self.redis, self.shards)).fenced:
            return True
        self._asked.set()
        return False

    async def prepare(self) -> list[int]:
        """Recover every shard that needs it; answers which. Raises SettingsError for a wrong shard count.

        Safe at any time and in any number of processes: a whole shard is left alone.
        """
        async with self._one_at_a_time:
            await ensure_shards(self.engine, len(self.shards))
            if await mode.is_away(self.engine):
                return []  # the rows have it all; who leaves that mode calls again
            for _ in range(RACES):
                try:
                    return await self._prepare()
                except (RecoveryRace, PositionMoved, LockError) as error:
                    log.warning("recovery_raced", error=str(error))
            return await self._prepare()

    async def _prepare(self) -> list[int]:
        run_id = (await look(self.redis, ())).run_id
        async with recovery_lock(self.redis, run_id) as lock:
            if await mode.is_away(self.engine):
                return []
            health = await look(self.redis, self.shards)
            wrong = await disagreeing(self.redis, self.engine, self.shards)
            sick = sorted({*health.fenced, *wrong})
            if sick:
                # Before any script is loaded: what is loaded must find no epoch of another time.
                await self.redis.delete(*(Shard(number).epoch for number in sick))
            await self.runner.load()
            restored = 0
            try:
                for number in sick:
                    restored += await self._recover(Shard(number), health.run_id, lock)
            finally:
                await self._writer.close()
            await self._apply_limits(self.shards)
        if sick:
            await finished(self.redis)
            log.info("index_recovered", shards=len(sick), restored=restored)
        return sick

    async def _recover(self, shard: Shard, run_id: str, lock: Lock) -> int:
        """Answers how many messages came back from the rows."""

        async def keep_lock() -> None:
            await lock.extend(LOCK_SECONDS, replace_ttl=True)

        left = await carry_left(self.runner, self.engine, shard)
        position = await carry_remainder(self.runner, self._writer, shard)
        await keep_lock()
        end = await journal_end(self.redis, shard)
        begun_from, whole = await self.redis.hmget(shard.limits, [RECOVERING_FROM, RUN_ID])
        # A recovery that was cut short has journaled what it restored: its end says nothing of the rest, and
        # the index holds what it found as well.
        found = end if begun_from is None else Version.parse(begun_from)
        lost_all = found.epoch == 0 or whole is None
        epoch = max(position.version.epoch, end.epoch) + 1
        async with self.engine.begin() as conn:
            raised = await positions.advance(
                conn, shard.number, position.version, Version(epoch, -1), position.published, now_ms()
            )
        if not raised:
            raise RecoveryRace(f"shard {shard.number} is being recovered by another process")
        mark = uuid4().hex
        counts = ("published", position.published, "persisted", position.published)
        begun = (RECOVERING, mark, RECOVERING_FROM, str(Version(0, -1) if lost_all else found))
        await upkeep.write(self.redis, "HSET", shard.limits, *counts, *begun)
        rebuild = Rebuild(self.runner, self.engine, shard, epoch, keep_lock, self._rulebooks)
        until = position.version if left is None else left.version
        restored = await rebuild.run(found, until, lost_all=lost_all, left=left is not None)
        async with self.engine.begin() as conn:
            await mode.has_returned(conn, shard.number)
            at = (await positions.load(conn, [shard.number]))[shard.number].version
            if at.epoch != epoch:
                raise RecoveryRace(f"shard {shard.number} was recovered by another process")
        # In this order, and no transaction: none can be begun at the memory limit.
        async with self.redis.pipeline(transaction=False) as pipe:
            upkeep.write(pipe, "HSET", shard.limits, RUN_ID, run_id)
            upkeep.write(pipe, "SET", shard.epoch, epoch)
            pipe.hget(shard.limits, RECOVERING)
            *_, marked = await pipe.execute()
        if marked != mark.encode():
            # The mark is gone where the server was emptied meanwhile, and with it what was restored.
            await self.redis.delete(shard.epoch)
            raise RecoveryRace(f"shard {shard.number} was emptied, or taken over, during its recovery")
        async with self.redis.pipeline(transaction=False) as pipe:
            pipe.hdel(shard.limits, RECOVERING, RECOVERING_FROM)
            pipe.publish(shard.committed_channel, str(Version(epoch, -1)))
            await pipe.execute()
        log.debug(
            "shard_recovered", shard=shard.number, epoch=epoch, restored=restored, lost_all=lost_all,
            journal_end=str(end), position=str(position.version),
        )  # fmt: skip
        return restored

    async def _apply_limits(self, shards: Sequence[int]) -> None:
        async with self.redis.pipeline(transaction=False) as pipe:
            for number in shards:
                limits = ("backlog_limit", self.limits.backlog_limit, "max_body", self.limits.max_body)
                upkeep.write(pipe, "HSET", Shard(number).limits, *limits)
            await pipe.execute()

    async def _watch(self) -> None:
        while True:
            await happens_within(self._asked, WATCH_SECONDS)
            self._asked.clear()
            try:
                if (await look(self.redis, self.shards)).fenced:
                    await self.prepare()
            except Exception as error:
                # Whatever it is, without this loop the process would never recover again.
                log.warning("recovery_not_yet", cause=type(error).__name__, error=str(error)[:500])
                await asyncio.sleep(AGAIN_SECONDS)
                self._asked.set()


class RecoveryRace(RuntimeError):
    """Another process raised the epoch first: look again."""
