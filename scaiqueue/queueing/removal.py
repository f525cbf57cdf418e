"""Purge, and the end of queues and scopes: messages are ended by the scripts first, then rows go."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.keys import QueueKeys, ScopeKeys
from scaiqueue.persister.watermarks import Watermarks
from scaiqueue.queueing import refusals
from scaiqueue.queueing.administration import Administration, refuse_system_queue
from scaiqueue.queueing.configure import Configurator
from scaiqueue.queueing.depths import read_depths
from scaiqueue.queueing.directory import ScopeEntry
from scaiqueue.records import Version, decode_record
from scaiqueue.rows import access, queues, removal, scopes, streams
from scaiqueue.rows.queues import QueueRow
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import CancelItem, ReleaseItem
from scaiqueue.scripts.runner import ScriptRunner

STEP = 1000
PURGE_FOR_S = 5.0
ROUNDS = 20
_MESSAGE_KEYS = ("state", "body", "shared", "shares", "overlay", "outcome", "rules", "breakers")


class Purger:
    """Cancels what waits in a queue."""

    def __init__(self, runner: ScriptRunner, watermarks: Watermarks, commit_timeout_s: float) -> None:
        self._runner = runner
        self._watermarks = watermarks
        self._commit_timeout_s = commit_timeout_s

    async def purge(self, queue: QueueKeys, actor: str, within_s: float = PURGE_FOR_S) -> tuple[int, bool]:
        """How many were cancelled, and whether more are left after `within_s`. The rows hold it then."""
        deadline = time.monotonic() + within_s
        purged, entry, more = 0, None, True
        while more and time.monotonic() < deadline:
            reply = await binding.purge(self._runner, queue.scope, queue, STEP, actor)
            word, count = reply.items[0][:2]
            purged, more = purged + int(count), word == "MORE"
            entry = reply.entry or entry
        await self.committed(queue.scope, entry)
        return purged, more

    async def committed(self, scope: ScopeKeys, entry: Version | None) -> None:
        """Wait for the entry, or for all that the journal holds now."""
        number = scope.shard.number
        seen = (
            await self._watermarks.wait_journal_end(number, self._commit_timeout_s)
            if entry is None
            else await self._watermarks.wait(number, entry, self._commit_timeout_s)
        )
        if not seen:
            raise refusals.unavailable("The rows' commit was not seen in time.")


class Removal:
    """Deletes queues and scopes. A call that is cut short leaves them archived, and can be repeated."""

    def __init__(
        self,
        redis: Redis,
        runner: ScriptRunner,
        engine: AsyncEngine,
        administration: Administration,
        configurator: Configurator,
        purger: Purger,
        announce: Callable[[str], Awaitable[None]],
    ) -> None:
        self._redis = redis
        self._runner = runner
        self._engine = engine
        self._administration = administration
        self._configurator = configurator
        self._purger = purger
        self._announce = announce

    async def remove_queue(self, actor: str, scope: ScopeEntry, queue: QueueRow, *, force: bool) -> None:
        """Raises SCAIQUEUE_NOT_EMPTY while messages are live, unless forced; and for system queues."""
        refuse_system_queue(queue.slug, except_dead_letter=False)
        await self.refuse_live(scope, [queue], force)
        closed = await self._administration.turn_queue(scope.row, queue, "archive")
        await self._empty(actor, scope.keys.queue(queue.slug))
        await self._configurator.remove_queue(scope.row, closed)
        await self._purger.committed(scope.keys, None)
        hashes = await removal.idempotency_hashes(self._engine, scope.id, queue.slug)
        for start in range(0, len(hashes), STEP):
            names = [f"{scope.keys.root}:idem:{queue.slug}:{h}" for h in hashes[start : start + STEP]]
            await self._redis.unlink(*names)
        await removal.remove_queue_rows(self._engine, scope.id, queue.slug)
        await access.remove_of_queue(self._engine, queue.id)
        await queues.remove(self._engine, queue.id)
        await self._announce(scope.id)

    async def remove_scope(self, actor: str, scope: ScopeEntry, *, force: bool) -> None:
        """Raises SCAIQUEUE_NOT_EMPTY while messages are live in any queue, unless forced."""
        every = await queues.all_of(self._engine, scope.id)
        await self.refuse_live(scope, every, force)
        if not force and (count := await streams.live_in(self._engine, scope.id)):
            raise QueueError(Code.SCAIQUEUE_NOT_EMPTY, details=(Detail("streams", f"{count} live"),))
        closed = await self._administration.turn_scope(scope.row, "archive")
        for queue in every:
            await self._empty(actor, scope.keys.queue(queue.slug))
        for queue in every:
            await self._configurator.remove_queue(closed, queue)
        await self._configurator.remove_scope(closed)
        await self._purger.committed(scope.keys, None)
        await self._redis.unlink(*(scope.keys.key(name) for name in _MESSAGE_KEYS))
        await self._remove_streams(scope.keys)
        await removal.remove_scope_rows(self._engine, scope.id)
        await scopes.remove(self._engine, scope.id)
        await self._announce(scope.id)

    async def _remove_streams(self, scope: ScopeKeys) -> None:
        """What Redis holds of them: of those that live, and of those that have just ended."""
        shard = scope.shard
        for place in (shard.open_streams, shard.closed_streams, shard.ended_streams):
            found = cast(list[bytes], await self._redis.zrange(place, 0, -1))
            roots = [root.decode() for root in found if root.startswith(f"{scope.root}:".encode())]
            for root in roots:
                await self._redis.unlink(f"{root}:meta", f"{root}:chunks")
                await self._redis.zrem(place, root)
        await streams.remove_of_scope(self._engine, scope.scope_id)

    async def refuse_live(self, scope: ScopeEntry, rows: Sequence[QueueRow], force: bool) -> None:
        """Raises SCAIQUEUE_NOT_EMPTY while messages are live in any of the queues, unless forced."""
        if force:
            return
        depths = await read_depths(self._redis, [(scope.keys.queue(row.slug), "fifo") for row in rows])
        live = {
            row.slug: depth.pending + depth.claimed + depth.scheduled + depth.awaiting_review
            for row, depth in zip(rows, depths, strict=True)
        }
        if any(live.values()):
            details = tuple(Detail(slug, f"{count} live") for slug, count in live.items() if count)
            raise QueueError(Code.SCAIQUEUE_NOT_EMPTY, details=details)

    async def _empty(self, actor: str, queue: QueueKeys) -> None:
        """End every message of a closed queue: those under a lease are cancelled and given back."""
        for _ in range(ROUNDS):
            _, more = await self._purger.purge(queue, actor)
            held = cast(list[bytes], await self._redis.zrange(queue.key("claimed"), 0, STEP - 1))
            if not held:
                if not more:
                    return
                continue
            records = cast(list[bytes | None], await self._redis.hmget(queue.scope.key("state"), held))
            given_back = []
            for raw_id, packed in zip(held, records, strict=True):
                if packed is not None:
                    record = decode_record(packed)
                    given_back.append(ReleaseItem(raw_id, record.token, record.holder))
            await binding.cancel(
                self._runner, queue.scope, [CancelItem(item.id, actor) for item in given_back]
            )
            await binding.release(self._runner, queue.scope, given_back)
        raise QueueError(Code.SCAIQUEUE_NOT_EMPTY)
