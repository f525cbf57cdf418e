"""From the rows back into the index: settings, rules, messages, streams, counters, idempotency keys of one
shard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue import upkeep
from scaiqueue.keys import ScopeKeys, Shard
from scaiqueue.moments import now_ms
from scaiqueue.persister.collect import SEQ
from scaiqueue.persister.pipeline import replies_of
from scaiqueue.persister.tasks import together
from scaiqueue.queueing.configure import keys_of, queue_call, scope_call, stored_roster_calls
from scaiqueue.queueing.rulebook import Rulebooks
from scaiqueue.records import Version
from scaiqueue.recovery.progress import Progress
from scaiqueue.recovery.streams import restore_streams
from scaiqueue.rows import queues, restorable
from scaiqueue.rows.engine import reading
from scaiqueue.rows.restorable import Restorable
from scaiqueue.rows.scopes import ScopeRow
from scaiqueue.rows.tables import scopes
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import RestoreItem
from scaiqueue.scripts.replies import parse_reply
from scaiqueue.scripts.runner import Call, ScriptRunner

# Numbers that were given out and never came into the rows lie within this.
SEQ_MARGIN = 1_000_000
CALLS = 100
CALL_BYTES = 4 * 2**20

KeepLock = Callable[[], Awaitable[object]]


class Rebuild:
    """Rebuilds one fenced shard for `epoch`. `keep_lock` is awaited between its bounded steps."""

    def __init__(
        self,
        runner: ScriptRunner,
        engine: AsyncEngine,
        shard: Shard,
        epoch: int,
        keep_lock: KeepLock,
        rulebooks: Rulebooks,
    ) -> None:
        self.runner = runner
        self.engine = engine
        self.shard = shard
        self.epoch = epoch
        self.keep_lock = keep_lock
        self._progress = Progress(shard.number)
        self._largest_seq: dict[str, int] = {}
        self.rulebooks = rulebooks

    async def run(
        self, journal_end: Version, position: Version, *, lost_all: bool, left: bool = False
    ) -> int:
        """Restore what was touched after `journal_end` and up to `position`, or all that lives; answers how
        many messages. `left`: the rows have gone on from `position` by themselves."""
        found = await self._scopes()
        await self._configure(found)
        if lost_all:
            lanes = [lane for of in found for lane in await restorable.live_lanes(self.engine, of.id)]
            await self._progress.expect(self.runner.redis, sum(lane.messages for lane in lanes))
            for lane in lanes:
                await self._restore(restorable.live_messages(self.engine, lane))
        else:
            await self._restore(
                restorable.touched_between(self.engine, self.shard.number, journal_end, position)
            )
            if left:
                await self._restore(restorable.touched_later(self.engine, self.shard.number, position.epoch))
        if self.epoch > 1:
            await restore_streams(self.runner.redis, self.engine, self.shard, self.keep_lock)
        for scope in found if self.epoch > 1 else ():
            await self._raise_counters(keys_of(scope))
            await self._remember_keys(keys_of(scope))
        return self._progress.restored

    async def _scopes(self) -> list[ScopeRow]:
        async with reading(self.engine) as conn:
            query = select(scopes).where(scopes.c.shard == self.shard.number).order_by(scopes.c.id)
            return [ScopeRow(**row) for row in (await conn.execute(query)).mappings()]

    async def _configure(self, found: Sequence[ScopeRow]) -> None:
        calls: list[Call] = []
        for scope in found:
            calls.append(scope_call(scope))
            calls.append(await self.rulebooks.stored_call(keys_of(scope)))
            found_queues = await queues.all_of(self.engine, scope.id)
            calls += [queue_call(scope, queue) for queue in found_queues]
            calls += await stored_roster_calls(self.engine, keys_of(scope), found_queues)
            if len(calls) >= CALLS:
                await self._call(calls)
                calls = []
        await self._call(calls)

    async def _restore(self, pages: AsyncIterator[list[Restorable]]) -> None:
        """The next page is read while one is restored."""
        page = await _next(pages)
        while page is not None:
            _, page = await together(self._restore_page(page), _next(pages))

    async def _restore_page(self, page: list[Restorable]) -> None:
        scope_of = attrgetter("tenant", "scope_id")
        calls = []
        for (tenant, scope_id), group in groupby(sorted(page, key=scope_of), key=scope_of):
            rows = list(group)
            keys = ScopeKeys(self.shard, tenant, scope_id)
            calls += [self._restore_call(keys, items) for items in _bounded(rows)]
            largest = max(int.from_bytes(row.record[SEQ]) for row in rows)
            self._largest_seq[scope_id] = max(self._largest_seq.get(scope_id, 0), largest)
        await self._call(calls)
        await self._progress.add(self.runner.redis, len(page))
        await self.keep_lock()

    def _restore_call(self, keys: ScopeKeys, items: Sequence[RestoreItem], seq_floor: int = 0) -> Call:
        return binding.restore_call(keys, seq_floor, 0, items, epoch=self.epoch)

    async def _raise_counters(self, keys: ScopeKeys) -> None:
        """Above everything ever given out. Tokens carry the epoch, so their counter may stay."""
        async with reading(self.engine) as conn:
            floor = await restorable.newest_seq(conn, keys.scope_id)
        stored = await self.runner.redis.hget(keys.key("meta"), "seq")
        restored = self._largest_seq.get(keys.scope_id, 0)
        floor = max(floor, restored, int(stored or 0)) + SEQ_MARGIN
        await self._call([self._restore_call(keys, [], floor)])

    async def _remember_keys(self, keys: ScopeKeys) -> None:
        async for page in restorable.idempotency_pages(self.engine, keys.scope_id, now_ms()):
            async with self.runner.redis.pipeline(transaction=False) as pipe:
                for row in page:
                    name = f"{keys.root}:idem:{row.queue}:{row.key_hash}"
                    owner = f"{row.message_id} {row.digest}"
                    upkeep.write(pipe, "SET", name, owner, "PXAT", row.expires_at, "NX")
                await pipe.execute()
            await self.keep_lock()

    async def _call(self, calls: Sequence[Call]) -> None:
        redis = self.runner.redis
        answers = await replies_of(redis, [self.runner.command(call) for call in calls])
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
            parse_reply(answer)


async def _next(pages: AsyncIterator[list[Restorable]]) -> list[Restorable] | None:
    return await anext(pages, None)


def _bounded(rows: Any) -> list[list[RestoreItem]]:
    """Items of one scope, cut so that a call stays within CALL_BYTES (or is one message)."""
    calls: list[list[RestoreItem]] = []
    size = CALL_BYTES + 1
    for row in rows:
        length = len(row.envelope) + len(row.record) + len(row.overlay) + len(row.outcome)
        if size + length > CALL_BYTES:
            calls.append([])
            size = 0
        size += length
        calls[-1].append(RestoreItem(row.id, row.record, row.envelope, row.overlay, row.outcome))
    return calls
