"""Copies of older messages for subscriptions that start with the earliest: a fill goes on in another process
where its runner stopped."""

from __future__ import annotations

import asyncio

import msgspec
import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.broadcast.program import copy_id
from scaiqueue.errors import QueueError
from scaiqueue.persister.watermarks import Watermarks
from scaiqueue.queueing.configure import Configurator
from scaiqueue.queueing.directory import Directory, QueueEntry
from scaiqueue.records import encode_record, join_envelope
from scaiqueue.rows import copies, messages, subscriptions
from scaiqueue.rows.engine import reading
from scaiqueue.rows.messages import MessageRow
from scaiqueue.rows.subscriptions import ACTIVE, SubscriptionRow
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import BackfillItem
from scaiqueue.scripts.replies import NotReadyError
from scaiqueue.scripts.runner import ScriptRunner

MOST = 100_000
"""So many of the newest messages are copied at most."""
STEP = 50
ABANDONED_MS = 30_000
LOOK_EVERY_S = 10.0
RETRY_S = 1.0
SETTLED_S = 1.0
COMMIT_S = 10.0
ACTOR = "system:backfill"

_log = structlog.get_logger("scaiqueue.backfill")


class Backfiller:
    """Runs the fills of this process, and takes up those that others left."""

    def __init__(
        self,
        runner: ScriptRunner,
        engine: AsyncEngine,
        watermarks: Watermarks,
        directory: Directory,
        configurator: Configurator,
    ) -> None:
        self._runner = runner
        self._engine = engine
        self._watermarks = watermarks
        self._directory = directory
        self._configurator = configurator
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def begin(self, row: SubscriptionRow) -> None:
        """What is small is done when this returns."""
        await asyncio.wait({self._start(row)}, timeout=SETTLED_S)

    async def run(self) -> None:
        """Take up abandoned fills now and then, until cancelled; then stop this process's own."""
        try:
            while True:
                try:
                    for row in await subscriptions.abandoned_fills(self._engine, ABANDONED_MS):
                        if row.id not in self._tasks:
                            self._start(row)
                except (SQLAlchemyError, OSError) as error:
                    _log.warning("fills not readable", error=str(error))
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _start(self, row: SubscriptionRow) -> asyncio.Task[None]:
        task = self._tasks[row.id] = asyncio.create_task(self._carry_on(row))
        task.add_done_callback(lambda _: self._tasks.pop(row.id, None))
        return task

    async def _carry_on(self, row: SubscriptionRow) -> None:
        current: SubscriptionRow | None = row
        while current is not None:
            try:
                current = await self._step(current)
                continue
            except QueueError:
                return  # its queue is gone
            except (RedisError, SQLAlchemyError, NotReadyError, OSError) as error:
                _log.warning("fill waits", subscription=row.slug, error=str(error))
            await asyncio.sleep(RETRY_S)

    async def _step(self, row: SubscriptionRow) -> SubscriptionRow | None:
        """The subscription as it is now, None when it is filled or gone."""
        scope = await self._directory.scope(row.tenant_id, row.scope_id)
        queue = await self._directory.queue(scope, row.queue)
        if row.fill_before < 0:
            found = await subscriptions.roster(self._engine, row.scope_id, row.queue)
            newest = await self._configurator.subscribe(queue.keys, found)
            first = msgspec.structs.replace(row, fill_before=newest + 1)
            await self._watermarks.wait_journal_end(scope.keys.shard.number, COMMIT_S)
            begin = await subscriptions.first_to_fill(self._engine, first, MOST)
            return await subscriptions.note_fill(self._engine, row, fill_before=newest + 1, filled_to=begin)
        ids = await subscriptions.ids_to_fill(self._engine, row, STEP)
        copied = await self._copy(queue, row, ids) if ids else 0
        if len(ids) < STEP:
            await subscriptions.note_fill(self._engine, row, state=ACTIVE, filled=row.filled + copied)
            return None
        return await subscriptions.note_fill(self._engine, row, filled_to=ids[-1], filled=row.filled + copied)

    async def _copy(self, queue: QueueEntry, row: SubscriptionRow, ids: list[str]) -> int:
        """How many copies were made; a message that has one already is passed over."""
        of = {copy_id(message_id, row.id): message_id for message_id in ids}
        async with reading(self._engine) as connection:
            had = await copies.parents(connection, of)
        missing = [message_id for copy, message_id in of.items() if copy not in had]
        found = await messages.by_ids(self._engine, row.scope_id, missing)
        if not found:
            return 0
        scope = queue.scope.keys
        items = [_item(message) for message in found]
        reply = await binding.backfill(self._runner, scope, queue.keys, row.slug, ACTOR, items)
        if reply.entry is not None:
            await self._watermarks.wait(scope.shard.number, reply.entry, COMMIT_S)
        return sum(item[0] == "OK" for item in reply.items)


def _item(row: MessageRow) -> BackfillItem:
    envelope = join_envelope(row.header, row.body)
    record = msgspec.structs.replace(row.record, size=len(envelope), shared=row.id)
    return BackfillItem(row.id, encode_record(record), envelope, row.overlay)
