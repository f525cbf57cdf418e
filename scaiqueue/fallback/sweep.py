"""While Redis is away there are no agents: API processes give queues what time brings, and wake who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from scaiqueue.fallback import members
from scaiqueue.fallback.belief import Belief, Path
from scaiqueue.fallback.runner import FallbackRunner
from scaiqueue.keys import QueueKeys, ScopeKeys, Shard
from scaiqueue.rows.engine import clock, reading
from scaiqueue.rows.tables import scopes
from scaiqueue.scripts.replies import NotReadyError

log = structlog.get_logger("scaiqueue.fallback")

EVERY_S = 0.5
QUEUES = 100
MESSAGES = 100


class Sweep:
    """`wake_all` lets everybody look who waits for a message."""

    def __init__(self, belief: Belief, runner: FallbackRunner, wake_all: Callable[[], None]) -> None:
        self._belief = belief
        self._runner = runner
        self._wake_all = wake_all

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            if self._belief.path is not Path.rows:
                continue
            try:
                for queue in await self._overdue():
                    await self._settle(queue)
            except NotReadyError:
                await self._belief.refresh()
            except (SQLAlchemyError, OSError) as error:
                log.warning("sweep_failed", error=str(error)[:300])
            self._wake_all()

    async def _settle(self, queue: QueueKeys) -> None:
        epoch = self._belief.epochs[queue.scope.shard.epoch]
        settled = MESSAGES
        while settled >= MESSAGES:
            settled = await self._runner.settle(queue, MESSAGES, term=self._belief.row.term, epoch=epoch)

    async def _overdue(self) -> list[QueueKeys]:
        async with reading(self._runner.engine) as conn:
            now = int((await conn.execute(select(clock(conn)))).scalar_one())
            due = await members.overdue_queues(conn, self._belief.row.term, now, QUEUES)
            c = scopes.c
            query = select(c.id, c.tenant_id, c.shard).where(c.id.in_({scope_id for scope_id, _ in due}))
            known = {
                row.id: ScopeKeys(Shard(row.shard), row.tenant_id, row.id)
                for row in await conn.execute(query)
            }
        return [known[scope_id].queue(slug) for scope_id, slug in due if scope_id in known]
