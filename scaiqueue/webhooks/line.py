"""Delivers for one webhook, as long as this worker holds its lease."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

import structlog
from msgspec.structs import replace
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue import moments
from scaiqueue.events.reader import EventReader
from scaiqueue.moments import now_ms
from scaiqueue.persister.tasks import cancel_all, happens_within
from scaiqueue.rows import webhook_deliveries, webhooks
from scaiqueue.rows.webhook_deliveries import DELIVERED, FAILED, PENDING, DeliveryRow
from scaiqueue.rows.webhooks import WebhookRow
from scaiqueue.webhooks import metrics
from scaiqueue.webhooks.attempts import after
from scaiqueue.webhooks.backlog import Backlog
from scaiqueue.webhooks.collector import Collector, Item, LeaseLost
from scaiqueue.webhooks.sender import ANSWER_WITHIN_S, GONE, Answer, Parcel, Sender

LEASE_S = 30.0
RENEW_EVERY_S = 5.0
# An attempt begins only while the lease outlasts it.
SPARE_S = 2.0
AT_ONCE = 8
LOOK_EVERY_S = 1.0
COLLECT_EVERY_S = 0.05
LEAST_PAUSE_S = 0.005
RESULTS = {DELIVERED: "delivered", PENDING: "retried", FAILED: "given_up"}
NOT_KEPT = Answer(0, "the event is no longer kept", 0)

log = structlog.get_logger("scaiqueue.webhooks")


class Tools(NamedTuple):
    """What all lines of a worker share; `owner` is the worker's name on leases."""

    engine: AsyncEngine
    reader: EventReader
    sender: Sender
    owner: str
    retry_base_s: float
    disable_after_s: float


class Line:
    """`webhook` is its row as the worker last read it."""

    def __init__(self, webhook: WebhookRow, tools: Tools) -> None:
        self.webhook = webhook
        self._tools = tools
        self._collector = Collector(tools.engine, tools.reader, webhook.id)
        self._backlog = Backlog()
        self._woken = asyncio.Event()
        self._attempts: set[asyncio.Task[None]] = set()
        self._results: list[DeliveryRow] = []
        self._failing_since = webhook.failing_since
        self._held_until = self._renew_at = self._look_at = 0.0
        self._collect_at = self._soonest = 0.0

    def wake(self) -> None:
        """There may be new events."""
        self._collect_at = min(self._collect_at, self._soonest)
        self._woken.set()

    async def run(self) -> None:
        """Until the lease is another's, the webhook is off, or it is cancelled."""
        try:
            while True:
                self._woken.clear()
                try:
                    await self._step()
                except (SQLAlchemyError, OSError) as error:
                    log.warning("webhook_rows_away", webhook_id=self.webhook.id, error=str(error)[:500])
                    await asyncio.sleep(LOOK_EVERY_S)
                await happens_within(self._woken, self._pause())
        except LeaseLost:
            log.info("webhook_lease_lost", webhook_id=self.webhook.id)
        finally:
            await cancel_all(self._attempts)
            await self._leave()

    async def _leave(self) -> None:
        try:
            await self._record()
            await self._collector.store_positions()
            await webhooks.let_go(self._tools.engine, self.webhook.id, self._tools.owner)
        except (SQLAlchemyError, OSError, LeaseLost) as error:
            log.warning("webhook_left_in_a_hurry", webhook_id=self.webhook.id, error=str(error)[:500])

    async def _step(self) -> None:
        now = time.monotonic()
        await self._record()
        if now >= self._renew_at:
            if not await webhooks.hold(self._tools.engine, self.webhook.id, self._tools.owner, LEASE_S):
                raise LeaseLost
            self._held_until, self._renew_at = now + LEASE_S, now + RENEW_EVERY_S
        if now >= self._look_at:
            # What was pending when the lease was taken, and replays.
            for row in await webhook_deliveries.pending(self._tools.engine, self.webhook.id):
                self._backlog.add(Item(row))
            self._look_at = now + LOOK_EVERY_S
        room = self._backlog.room
        if now >= self._collect_at and room:
            self._soonest, self._collect_at = now + COLLECT_EVERY_S, now + LOOK_EVERY_S
            items = await self._collector.collect(self.webhook, room)
            for item in items:
                self._backlog.add(item)
            if len(items) >= room:
                self._collect_at = self._soonest
        self._start()

    def _start(self) -> None:
        if self._held_until - time.monotonic() < ANSWER_WITHIN_S + SPARE_S:
            return
        for item in self._backlog.start(now_ms(), AT_ONCE - len(self._attempts)):
            attempt = asyncio.create_task(self._attempt(item))
            self._attempts.add(attempt)
            attempt.add_done_callback(self._attempts.discard)

    def _pause(self) -> float:
        now, due = time.monotonic(), self._backlog.next_due()
        pause = LOOK_EVERY_S
        if due is not None and len(self._attempts) < AT_ONCE:
            pause = min(pause, (due - now_ms()) / 1000)
        if self._backlog.room:
            pause = min(pause, self._collect_at - now)
        return max(pause, LEAST_PAUSE_S)

    async def _attempt(self, item: Item) -> None:
        try:
            answer, at = await self._send(item)
        except (SQLAlchemyError, OSError) as error:
            log.warning("webhook_event_not_readable", webhook_id=self.webhook.id, error=str(error)[:500])
            later = now_ms() + round(LOOK_EVERY_S * 1000)
            self._backlog.again(replace(item.row, next_at=later))
            return
        retries = 0 if answer is NOT_KEPT else self.webhook.max_retries
        done = after(item.row, answer, retries, self._tools.retry_base_s)
        metrics.attempts_total.labels(RESULTS[done.state]).inc()
        if done.state == DELIVERED:
            metrics.lag_seconds.observe(max(0, done.updated_at - at) / 1000)
        self._results.append(done)
        self._woken.set()

    async def _send(self, item: Item) -> tuple[Answer, int]:
        """What the receiver answered, and when the event was."""
        row, body, at = item.row, item.body, item.at
        if body is None:
            told = await self._tools.reader.one(row.shard, row.at)
            if told is None:
                return NOT_KEPT, 0
            body, at = told.body, told.at
        url, secret = self.webhook.url, self.webhook.secret
        parcel = Parcel(url, secret, row.id, row.event_id, row.event_type, row.attempts + 1, body)
        answer = await self._tools.sender.send(parcel)
        metrics.attempt_seconds.observe(answer.duration_ms / 1000)
        return answer, at

    async def _record(self) -> None:
        """What came of attempts, in one transaction; then what follows from it."""
        done = list(self._results)
        if not done:
            return
        async with self._tools.engine.begin() as conn:
            await webhook_deliveries.record(conn, done)
        del self._results[: len(done)]
        for row in done:
            if row.state == PENDING:
                self._backlog.again(row)
            else:
                self._backlog.over(row)
        await self._judge(done)

    async def _judge(self, done: list[DeliveryRow]) -> None:
        """How long nothing has been taken; after too long, or at the receiver's word, the webhook is off."""
        engine, now = self._tools.engine, now_ms()
        if not all(row.error for row in done):
            if self._failing_since:
                await webhooks.change(engine, self.webhook.id, failing_since=0)
            self._failing_since = 0
            return
        if not self._failing_since:
            await webhooks.change(engine, self.webhook.id, failing_since=now)
            self._failing_since = now
        gone = any(row.status_code == GONE for row in done)
        if gone or now - self._failing_since > self._tools.disable_after_s * 1000:
            since = moments.text(self._failing_since)
            reason = "the receiver answered 410" if gone else f"nothing was taken since {since}"
            said = f"{reason}; last: {done[-1].error}"
            await webhooks.change(engine, self.webhook.id, enabled=False, disabled_reason=said)
            metrics.disabled_total.inc()
            log.warning("webhook_disabled", webhook_id=self.webhook.id, reason=reason)
            raise LeaseLost
