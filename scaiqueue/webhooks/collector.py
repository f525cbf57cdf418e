"""Makes deliveries of the events that a webhook wants, and moves its positions with them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils import uuid7

from scaiqueue.events.envelope import Told
from scaiqueue.events.kinds import Choice
from scaiqueue.events.reader import EventReader, Wanted
from scaiqueue.events.transitions import Event
from scaiqueue.moments import now_ms
from scaiqueue.rows import webhook_deliveries, webhooks
from scaiqueue.rows.events import Place
from scaiqueue.rows.webhook_deliveries import PENDING, DeliveryRow
from scaiqueue.rows.webhooks import WebhookRow

# Where nothing is wanted a position is written this often; a worker that takes over reads that much again.
STORE_EVERY_S = 5.0


class LeaseLost(Exception):
    """Another worker delivers for this webhook now."""


class Item(NamedTuple):
    """A delivery to be made; `body` None: its envelope is made when it is sent. `at`: of the event, ms."""

    row: DeliveryRow
    body: bytes | None = None
    at: int = 0


class Collector:
    """Of one webhook. Never more than one page of one shard at a time."""

    def __init__(self, engine: AsyncEngine, reader: EventReader, webhook_id: str) -> None:
        self._engine = engine
        self._reader = reader
        self._webhook_id = webhook_id
        self._stored: dict[int, Place] = {}
        self._reached: dict[int, Place] = {}
        self._stored_at = 0.0

    async def collect(self, webhook: WebhookRow, room: int) -> list[Item]:
        """What is new, from shard after shard until there are `room` or more. Raises LeaseLost."""
        stored, ends = await webhooks.positions(self._engine, self._webhook_id)
        if self._stored and stored != self._stored:
            raise LeaseLost
        self._stored = stored
        items: list[Item] = []
        for shard, place in {**stored, **self._reached}.items():
            end = ends.get(shard, place)
            while place < end and len(items) < room:
                page = await self._reader.of_shard(shard, webhook.tenant_id, place, end, _wanted(webhook))
                if page.told:
                    items += await self._store(webhook, shard, page.told, page.reached)
                place = self._reached[shard] = page.reached
                if not page.more:
                    break
        if time.monotonic() - self._stored_at > STORE_EVERY_S:
            await self.store_positions()
        return items

    async def _store(self, webhook: WebhookRow, shard: int, told: Sequence[Told], to: Place) -> list[Item]:
        items = [Item(_delivery(webhook, shard, event), event.body, event.at) for event in told]
        async with self._engine.begin() as conn:
            if not await webhooks.move(conn, self._webhook_id, shard, self._stored[shard], to):
                raise LeaseLost
            await webhook_deliveries.add(conn, [item.row for item in items])
        self._stored[shard] = to
        return items

    async def store_positions(self) -> None:
        """Those that moved over what nobody wants."""
        self._stored_at = time.monotonic()
        moved = {shard: to for shard, to in self._reached.items() if self._stored[shard] != to}
        if not moved:
            return
        async with self._engine.begin() as conn:
            for shard, to in sorted(moved.items()):
                if not await webhooks.move(conn, self._webhook_id, shard, self._stored[shard], to):
                    raise LeaseLost
        self._stored |= moved


def _wanted(webhook: WebhookRow) -> Wanted:
    choice = Choice(msgspec.json.decode(webhook.events, type=list[str]))

    def wanted(event: Event) -> bool:
        return (
            webhook.scope_id in ("", event.row.scope_id)
            and webhook.queue in ("", event.queue)
            and choice.has(event.event_type)
        )

    return wanted


def _delivery(webhook: WebhookRow, shard: int, event: Told) -> DeliveryRow:
    now = now_ms()
    return DeliveryRow(
        id=str(uuid7()),
        webhook_id=webhook.id,
        tenant_id=webhook.tenant_id,
        scope_id=event.scope_id,
        event_id=event.event_id,
        event_type=event.event_type,
        subject=event.subject,
        shard=shard,
        **event.place._asdict(),
        state=PENDING,
        attempts=0,
        next_at=0,
        status_code=0,
        error="",
        duration_ms=0,
        replay_of="",
        created_at=now,
        updated_at=now,
    )
