"""Rows of deliveries: which event goes to which webhook, and what came of it; no event's content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.rows.engine import reading
from scaiqueue.rows.event_tables import webhook_deliveries
from scaiqueue.rows.events import Place

PENDING, DELIVERED, FAILED = "pending", "delivered", "failed"
MOST_PENDING = 5000


class DeliveryRow(msgspec.Struct, frozen=True, kw_only=True):
    """Times in ms. `subject` is the message, or else the scope, that the event is about. `status_code` 0: no
    answer; `replay_of` "": it is the first of its event."""

    id: str
    webhook_id: str
    tenant_id: str
    scope_id: str
    event_id: str
    event_type: str
    subject: str
    shard: int
    epoch: int
    n: int
    place: int
    part: int
    state: str
    attempts: int
    next_at: int
    status_code: int
    error: str
    duration_ms: int
    replay_of: str
    created_at: int
    updated_at: int

    @property
    def at(self) -> Place:
        """Of its event."""
        return Place(self.epoch, self.n, self.place, self.part)

    @property
    def lane(self) -> str:
        """Of those in one only the first is under way; a replay is out of order anyway."""
        return self.id if self.replay_of else self.subject

    @property
    def order(self) -> tuple[int, Place]:
        return self.shard, self.at


_c = webhook_deliveries.c


def _row(values: Any) -> DeliveryRow:
    return DeliveryRow(**values)


async def add(conn: AsyncConnection, rows: Sequence[DeliveryRow]) -> None:
    if rows:
        await conn.execute(insert(webhook_deliveries), [msgspec.structs.asdict(row) for row in rows])


async def record(conn: AsyncConnection, rows: Sequence[DeliveryRow]) -> None:
    """What came of attempts. A delivery that was deleted meanwhile stays so."""
    changed = ("state", "attempts", "next_at", "status_code", "error", "duration_ms", "updated_at")
    one = (
        update(webhook_deliveries)
        .where(_c.id == bindparam("the_id"))
        .values({name: bindparam(f"new_{name}") for name in changed})
    )
    values = [{"the_id": row.id, **{f"new_{name}": getattr(row, name) for name in changed}} for row in rows]
    await conn.execute(one, values)


async def pending(engine: AsyncEngine, webhook_id: str) -> list[DeliveryRow]:
    """What is to be delivered, in no order."""
    query = select(webhook_deliveries).where(_c.webhook_id == webhook_id, _c.state == PENDING)
    async with reading(engine) as conn:
        rows = (await conn.execute(query.limit(MOST_PENDING))).mappings()
        return [_row(row) for row in rows]


async def find(engine: AsyncEngine, webhook_id: str, delivery_id: str) -> DeliveryRow | None:
    query = select(webhook_deliveries).where(_c.webhook_id == webhook_id, _c.id == delivery_id)
    async with reading(engine) as conn:
        row = (await conn.execute(query)).mappings().first()
    return None if row is None else _row(row)


async def page(
    engine: AsyncEngine, webhook_id: str, before: str, limit: int, state: str | None, event_id: str | None
) -> list[DeliveryRow]:
    """Newest first, before the id `before`."""
    query = select(webhook_deliveries).where(_c.webhook_id == webhook_id)
    if before:
        query = query.where(_c.id < before)
    if state is not None:
        query = query.where(_c.state == state)
    if event_id is not None:
        query = query.where(_c.event_id == event_id)
    async with reading(engine) as conn:
        rows = (await conn.execute(query.order_by(_c.id.desc()).limit(limit))).mappings()
        return [_row(row) for row in rows]


async def prune(engine: AsyncEngine, before: int, limit: int) -> int:
    """Delete at most `limit` deliveries that were made before `before` (ms) and are over."""
    old = select(_c.id).where(_c.created_at < before, _c.state != PENDING).order_by(_c.created_at)
    async with reading(engine) as conn:
        ids = list((await conn.execute(old.limit(limit))).scalars())
    if ids:
        async with engine.begin() as conn:
            await conn.execute(delete(webhook_deliveries).where(_c.id.in_(ids)))
    return len(ids)
