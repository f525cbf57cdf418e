"""What there is: counts and lists of a scope's jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from scaiqueue.api.permissions import Permission
from scaiqueue.errors import Code, QueueError
from scaiqueue.moments import now_ms
from scaiqueue.osqueue.words import JobInfo, Jobs, State, Stats
from scaiqueue.queueing.directory import QueueEntry, ScopeEntry
from scaiqueue.queueing.header import read_header
from scaiqueue.queueing.message import spliced_body
from scaiqueue.queueing.principals import Principal
from scaiqueue.records import State as MessageState
from scaiqueue.rows import messages
from scaiqueue.rows.messages import MessageRow
from scaiqueue.services import Services

MAX_LISTED = 1000
"""The protocol has no pages: the counts are of all jobs, the list is of the oldest."""

# Dashboards ask again and again for a number that only grows.
COUNTED_EVERY_S = 1.0
_ROWS_WITHIN_S = 1.0
_MAX_COUNTS = 1000


class Board:
    """Counts from the index, lists from the rows as soon as they hold what the index held at the call."""

    def __init__(self, services: Services, scope: str, address: str) -> None:
        self._services = services
        self._scope = scope
        self._address = address
        self._completed: dict[tuple[str, ...], tuple[float, int]] = {}

    async def stats(self, principal: Principal) -> Stats:
        scope, queues = await self._place(principal)
        return await self._counts(scope, queues)

    async def jobs(self, principal: Principal) -> Jobs:
        scope, queues = await self._place(principal)
        listed = await self._listed(scope, queues)
        return Jobs(**msgspec.structs.asdict(await self._counts(scope, queues)), jobs=listed)

    async def state(self, principal: Principal) -> State:
        found = await self.jobs(principal)
        return State(self._address, now_ms(), found.jobs, found.completed_total)

    async def _place(self, principal: Principal) -> tuple[ScopeEntry | None, Sequence[QueueEntry]]:
        """The scope, None before its first job, and its queues that the key may see."""
        permission, access = Permission.view.value, self._services.access
        try:
            scope = await self._services.directory.scope(principal.tenant, self._scope)
        except QueueError as error:
            if error.code is not Code.SCAIQUEUE_SCOPE_NOT_FOUND:
                raise
            await access.require(principal, permission)
            return None, ()
        await access.admit(principal, permission, scope.id)
        closed = await access.closed(principal, permission, scope.id)
        queues = (await self._services.directory.queues(scope)).values()
        return scope, [queue for queue in queues if principal.sees(queue.id) and queue.id not in closed]

    async def _counts(self, scope: ScopeEntry | None, queues: Sequence[QueueEntry]) -> Stats:
        if scope is None or not queues:
            return Stats(0, 0, 0, 0, self._address)
        depths = await self._services.depths([(queue.keys, queue.settings.ordering) for queue in queues])
        claimed = sum(depth.claimed for depth in depths)
        unclaimed = sum(depth.pending + depth.scheduled + depth.awaiting_review for depth in depths)
        completed = await self._completed_of(scope, queues)
        return Stats(unclaimed + claimed, unclaimed, claimed, completed, self._address)

    async def _completed_of(self, scope: ScopeEntry, queues: Sequence[QueueEntry]) -> int:
        slugs = [queue.slug for queue in queues]
        key = (scope.id, *slugs)
        counted = self._completed.get(key)
        if counted is None or counted[0] <= time.monotonic():
            if len(self._completed) >= _MAX_COUNTS:
                self._completed.clear()
            number = await messages.completed(self._services.engine, scope.id, slugs)
            counted = self._completed[key] = (time.monotonic() + COUNTED_EVERY_S, number)
        return counted[1]

    async def _listed(self, scope: ScopeEntry | None, queues: Sequence[QueueEntry]) -> list[JobInfo]:
        if scope is None or not queues:
            return []
        watermarks = self._services.persister.watermarks
        await watermarks.wait_journal_end(scope.keys.shard.number, _ROWS_WITHIN_S)
        slugs = [queue.slug for queue in queues]
        rows = await messages.live(self._services.engine, scope.id, slugs, MAX_LISTED)
        return [_info(row) for row in rows]


def _info(row: MessageRow) -> JobInfo:
    record, header = row.record, read_header(row.header, row.overlay)
    claimed = record.state == MessageState.claimed
    # A holder is the key and, after a slash, the worker.
    key, _, worker = record.holder.partition("/")
    return JobInfo(
        id=row.id,
        status="in_progress" if claimed else "unclaimed",
        payload=spliced_body(header, row.body)[1],
        type=header.type or UNSET,
        worker_id=worker or key if claimed else UNSET,
        created_at=record.created_at,
        attempts=record.attempts,
        max_attempts=max(0, record.max_retries),
        heartbeat=record.updated_at if claimed else 0,
    )
