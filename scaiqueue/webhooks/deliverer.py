"""Delivers for all webhooks whose lease this worker gets. Any number of workers may do so."""

from __future__ import annotations

import asyncio
from typing import NamedTuple
from uuid import uuid4

import structlog
from redis.asyncio import Redis
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.events.reader import EventReader
from scaiqueue.persister.tasks import cancel_all
from scaiqueue.persister.watermarks import Watermarks
from scaiqueue.rows import webhooks
from scaiqueue.rows.webhooks import WebhookRow
from scaiqueue.settings import Settings
from scaiqueue.webhooks import metrics
from scaiqueue.webhooks.line import LEASE_S, Line, Tools
from scaiqueue.webhooks.sender import Sender

LOOK_EVERY_S = 1.0

log = structlog.get_logger("scaiqueue.webhooks")


class _Running(NamedTuple):
    line: Line
    task: asyncio.Task[None]


class Deliverer:
    """`run` until it is cancelled. Without webhooks it reads one small table once a second."""

    def __init__(
        self, settings: Settings, redis: Redis, engine: AsyncEngine, sender: Sender | None = None
    ) -> None:
        self._engine = engine
        self._sender = sender or Sender(settings)
        self._tools = Tools(
            engine,
            EventReader(engine),
            self._sender,
            str(uuid4()),
            settings.webhook_retry_base_ms / 1000,
            settings.webhook_disable_after_s,
        )
        self._watermarks = Watermarks(redis, engine, range(settings.shards))
        self._watermarks.on_advance = self._wake
        self._listening: asyncio.Task[None] | None = None
        self._running: dict[str, _Running] = {}

    async def run(self) -> None:
        try:
            while True:
                try:
                    await self._look()
                except (SQLAlchemyError, OSError) as error:
                    log.warning("webhooks_not_readable", error=str(error)[:500])
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            await cancel_all(running.task for running in self._running.values())
            if self._listening is not None:
                await cancel_all([self._listening])
                await self._watermarks.stop()
            await self._sender.close()

    async def _look(self) -> None:
        rows = await webhooks.enabled(self._engine)
        for webhook_id, (line, task) in list(self._running.items()):
            if task.done():
                self._ended(webhook_id, task)
            elif webhook_id in rows:
                line.webhook = rows[webhook_id]
            else:
                task.cancel()
        for webhook_id, row in rows.items():
            if webhook_id not in self._running:
                await self._take_up(row)
        metrics.served.set(len(self._running))

    async def _take_up(self, row: WebhookRow) -> None:
        if not await webhooks.hold(self._engine, row.id, self._tools.owner, LEASE_S):
            return
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())
        line = Line(row, self._tools)
        task = asyncio.create_task(line.run(), name=f"webhook {row.id}")
        self._running[row.id] = _Running(line, task)

    async def _listen(self) -> None:
        """Hear of commits at once; where that fails the lines look by themselves."""
        try:
            await self._watermarks.start()
        except (SQLAlchemyError, OSError) as error:
            log.warning("commits_not_heard", error=str(error)[:500])

    def _ended(self, webhook_id: str, task: asyncio.Task[None]) -> None:
        del self._running[webhook_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("webhook_line_ended", webhook_id=webhook_id, exc_info=error)

    def _wake(self, _shard: int) -> None:
        for running in self._running.values():
            running.line.wake()
