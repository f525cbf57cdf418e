"""Sends on what rules have put into the `_outbound` queues of this installation's scopes.

Each message is claimed, published at its target under a key of its own, and completed when the target's row
is committed: a relay that dies in between leaves a lease that ends, and the next one recognises what has
arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.access import metrics
from scaiqueue.errors import Code, QueueError
from scaiqueue.keys import OUTBOUND
from scaiqueue.queueing.claim import Claimer, ClaimRequest
from scaiqueue.queueing.directory import Directory, QueueEntry, ScopeEntry
from scaiqueue.queueing.header import MAX_HEADER
from scaiqueue.queueing.publish import Draft, Published, Publisher
from scaiqueue.queueing.settle import Settlement
from scaiqueue.queueing.waiting import WaitingRoom
from scaiqueue.rows import queues
from scaiqueue.scripts.binding import CompleteItem, FailItem, ReleaseItem
from scaiqueue.scripts.replies import NotReadyError
from scaiqueue.transfers.departure import ACTOR, Departure, arrival, departures
from scaiqueue.transfers.terms import Terms, terms_between

BATCH = 100
WAIT_S = 20.0
LOOK_EVERY_S = 5.0
RETRY_S = 1.0
UNTRUSTED, CLOSED = "TRUST_MISSING", "ROUTE_TARGET"
# The servers' trouble, not the target's: the attempt does not count.
_AWAY = (Code.SCAIQUEUE_UNAVAILABLE, Code.SCAIQUEUE_BACKLOG_FULL, Code.SCAIQUEUE_MEMORY_FULL)

_log = structlog.get_logger("scaiqueue.relay")


class Relay:
    """One task for each scope that sends messages to others."""

    def __init__(
        self,
        engine: AsyncEngine,
        directory: Directory,
        claimer: Claimer,
        publisher: Publisher,
        settlement: Settlement,
        room: WaitingRoom,
    ) -> None:
        self._engine = engine
        self._directory = directory
        self._claimer = claimer
        self._publisher = publisher
        self._settlement = settlement
        self._room = room
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()

    def look_again(self) -> None:
        """A scope may have got its `_outbound`."""
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled; then every task of it is."""
        try:
            while True:
                self._changed.clear()
                try:
                    for tenant, scope_id in await queues.places(self._engine, OUTBOUND):
                        if scope_id not in self._tasks:
                            self._start(tenant, scope_id)
                except (SQLAlchemyError, OSError) as error:
                    _log.warning("queues not readable", error=str(error)[:300])
                await _first(self._changed, LOOK_EVERY_S)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _start(self, tenant: str, scope_id: str) -> None:
        task = self._tasks[scope_id] = asyncio.create_task(self._serve(tenant, scope_id))
        task.add_done_callback(lambda _: self._tasks.pop(scope_id, None))

    async def _serve(self, tenant: str, scope_id: str) -> None:
        while not self._room.closing:
            try:
                scope = await self._directory.scope(tenant, scope_id)
                queue = await self._directory.queue(scope, OUTBOUND)
                await self._empty(scope, queue)
                continue
            except QueueError as error:
                if error.code in (Code.SCAIQUEUE_SCOPE_NOT_FOUND, Code.SCAIQUEUE_QUEUE_NOT_FOUND):
                    return
            except (RedisError, SQLAlchemyError, NotReadyError, OSError, TimeoutError) as error:
                _log.warning("relay waits", scope=scope_id, error=str(error)[:300])
            await asyncio.sleep(RETRY_S)

    async def _empty(self, scope: ScopeEntry, queue: QueueEntry) -> None:
        """All that is there, and what comes within a while."""
        request = ClaimRequest(queues=(queue,), holder=ACTOR, want=BATCH)
        with self._room.seat([queue.keys]) as seat:
            while True:
                seat.woken.clear()
                for lease in await self._claimer.claim(scope, request):
                    await self._send(scope, [*departures(lease)])
                    seat.woken.set()
                if not await _first(seat.woken, WAIT_S) or self._room.closing:
                    return

    async def _send(self, scope: ScopeEntry, leaving: Sequence[Departure]) -> None:
        by_scope: dict[str, list[Departure]] = {}
        for message in leaving:
            by_scope.setdefault(message.scope_id, []).append(message)
        for target, messages in by_scope.items():
            await self._send_to(scope, target, messages)

    async def _send_to(self, scope: ScopeEntry, target: str, messages: Sequence[Departure]) -> None:
        results: dict[str, Published | QueueError | str] = {}
        drafts: list[tuple[Departure, QueueEntry, Draft]] = []
        # Asked of the rows each time: a trust that was taken back lets nothing in any more.
        terms = await terms_between(self._engine, scope.id, target)
        for message in messages:
            queue = await self._target(scope, message, terms)
            if isinstance(queue, str):
                results[message.id] = queue
                continue
            draft = arrival(message, queue)
            if len(draft.header) > MAX_HEADER:
                results[message.id] = CLOSED
            else:
                drafts.append((message, queue, draft))
        if drafts:
            place = drafts[0][1].scope
            try:
                sent = await self._publisher.publish(place, [draft for _, _, draft in drafts])
            except QueueError as error:
                sent = [error] * len(drafts)
            results |= {message.id: result for (message, _, _), result in zip(drafts, sent, strict=True)}
        await self._settle(scope, target, messages, results)

    async def _target(
        self, scope: ScopeEntry, message: Departure, terms: Sequence[Terms]
    ) -> QueueEntry | str:
        """Where the message goes; or the reason why it can't."""
        let_in = [each for each in terms if each.passes(message.header)]
        if not let_in:
            return UNTRUSTED
        try:
            place = await self._directory.scope(scope.row.tenant_id, message.scope_id)
            queue = await self._directory.queue(place, message.queue)
        except QueueError:
            return CLOSED
        return queue if any(each.lets_into(queue.id) for each in let_in) else UNTRUSTED

    async def _settle(
        self,
        scope: ScopeEntry,
        target: str,
        messages: Sequence[Departure],
        results: dict[str, Published | QueueError | str],
    ) -> None:
        done: list[CompleteItem] = []
        failed: list[FailItem] = []
        waiting: list[ReleaseItem] = []
        for message in messages:
            result, lease = results[message.id], (message.id, message.token, ACTOR)
            if isinstance(result, Published):
                metrics.transfers_total.labels("again" if result.replay else "arrived").inc()
                arrived = {"scope": target, "queue": message.queue, "id": result.id}
                done.append(CompleteItem(*lease, msgspec.json.encode({"transferred": arrived})))
            elif isinstance(result, str):
                metrics.transfers_total.labels("untrusted" if result == UNTRUSTED else "refused").inc()
                failed.append(FailItem(*lease, result, 0))
            elif result.code in _AWAY:
                metrics.transfers_total.labels("waiting").inc()
                waiting.append(ReleaseItem(*lease, round(RETRY_S * 1000)))
            else:
                again = int(result.code.retryable)
                metrics.transfers_total.labels("waiting" if again else "refused").inc()
                failed.append(FailItem(*lease, CLOSED, again))
        if done:
            await self._settlement.complete.settle(scope, done)
        if failed:
            await self._settlement.fail.settle(scope, failed)
        if waiting:
            await self._settlement.release.settle(scope, waiting)


async def _first(event: asyncio.Event, seconds: float) -> bool:
    """True when it is set in time."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
