"""From the rows back into the index: settings, messages, counters and idempotency keys of one shard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.keys import ScopeKeys, Shard
from scaiqueue.moments import now_ms
from scaiqueue.queueing.configure import keys_of, queue_call, scope_call
from scaiqueue.records import Version
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
        self, runner: ScriptRunner, engine: AsyncEngine, shard: Shard, epoch: int, keep_lock: KeepLock
    ) -> None:
        self.runner = runner
        self.engine = engine
        self.shard = shard
        self.epoch = epoch
        self.keep_lock = keep_lock

    async def run(self, journal_end: Version, *, lost_all: bool) -> int:
        """Restore what was touched after `journal_end`, or all that lives; answers how many messages."""
        found = await self._scopes()
        await self._configure(found)
        pages = (
            restorable.live_messages(self.engine, self.shard.number)
            if lost_all
            else restorable.touched_after(self.engine, self.shard.number, journal_end)
        )
        count = await self._restore(pages)
        for scope in found if self.epoch > 1 else ():
            await self._raise_counters(keys_of(scope))
            await self._remember_keys(keys_of(scope))
        return count

    async def _scopes(self) -> list[ScopeRow]:
        async with reading(self.engine) as conn:
            query = select(scopes).where(scopes.c.shard == self.shard.number).order_by(scopes.c.id)
            return [ScopeRow(**row) for row in (await conn.execute(query)).mappings()]

    async def _configure(self, found: Sequence[ScopeRow]) -> None:
        calls: list[Call] = []
        for scope in found:
            calls.append(scope_call(scope))
            calls += [queue_call(scope, queue) for queue in await queues.all_of(self.engine, scope.id)]
            if len(calls) >= CALLS:
                await self._call(calls)
                calls = []
        await self._call(calls)

    async def _restore(self, pages: AsyncIterator[list[Restorable]]) -> int:
        count = 0
        scope_of = attrgetter("tenant", "scope_id")
        async for page in pages:
            for (tenant, scope_id), rows in groupby(sorted(page, key=scope_of), key=scope_of):
                keys = ScopeKeys(self.shard, tenant, scope_id)
                await self._call([self._restore_call(keys, items) for items in _bounded(rows)])
            count += len(page)
            await self.keep_lock()
        return count

    def _restore_call(self, keys: ScopeKeys, items: Sequence[RestoreItem], seq_floor: int = 0) -> Call:
        return binding.restore_call(keys, seq_floor, 0, items, epoch=self.epoch)

    async def _raise_counters(self, keys: ScopeKeys) -> None:
        """Above everything ever given out. Tokens carry the epoch, so their counter may stay."""
        async with reading(self.engine) as conn:
            floor = await restorable.newest_seq(conn, keys.scope_id)
        stored = await self.runner.redis.hget(keys.key("meta"), "seq")
        floor = max(floor, int(stored or 0)) + SEQ_MARGIN
        await self._call([self._restore_call(keys, [], floor)])

    async def _remember_keys(self, keys: ScopeKeys) -> None:
        async for page in restorable.idempotency_pages(self.engine, keys.scope_id, now_ms()):
            async with self.runner.redis.pipeline(transaction=False) as pipe:
                for row in page:
                    name = f"{keys.root}:idem:{row.queue}:{row.key_hash}"
                    pipe.set(name, f"{row.message_id} {row.digest}", pxat=row.expires_at, nx=True)
                await pipe.execute()
            await self.keep_lock()

    async def _call(self, calls: Sequence[Call]) -> None:
        answers: list[Any] = await self.runner.run_many(calls) if calls else []
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
            parse_reply(answer)


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
