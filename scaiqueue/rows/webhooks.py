"""Rows of webhooks, and the lease under which one worker delivers for one."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.moments import now_ms
from scaiqueue.rows.engine import clock, reading
from scaiqueue.rows.event_tables import webhook_deliveries, webhook_positions, webhooks
from scaiqueue.rows.events import Place, ends
from scaiqueue.rows.tables import journal_positions

MOST = 100
STEP = 1000


class WebhookRow(msgspec.Struct, frozen=True, kw_only=True):
    """Times in ms, 0 = none. `scope_id` and `queue` "" are any; `events` is a JSON list of patterns."""

    id: str
    tenant_id: str
    scope_id: str
    queue: str
    url: str
    events: str
    secret: str
    max_retries: int
    description: str
    enabled: bool
    disabled_reason: str
    failing_since: int
    created_at: int
    updated_at: int


_columns = [webhooks.c[name] for name in WebhookRow.__struct_fields__]
_c = webhooks.c


def _row(values: Any) -> WebhookRow:
    return WebhookRow(**values)


async def create(engine: AsyncEngine, webhook: WebhookRow, shard: int | None) -> bool:
    """It begins with what comes into the rows from now on, of all shards or of one. False: there are MOST
    already."""
    async with engine.begin() as conn:
        count = select(func.count()).where(_c.tenant_id == webhook.tenant_id)
        if (await conn.execute(count)).scalar_one() >= MOST:
            return False
        values = msgspec.structs.asdict(webhook)
        await conn.execute(insert(webhooks).values(**values, lease_owner="", lease_until=0))
        shards = list((await conn.execute(select(journal_positions.c.shard))).scalars())
        found = await ends(conn, shards if shard is None else [shard])
        rows = [
            {"webhook_id": webhook.id, "shard": number, **place._asdict()} for number, place in found.items()
        ]
        if rows:
            await conn.execute(insert(webhook_positions), rows)
    return True


async def find(engine: AsyncEngine, tenant: str, webhook_id: str) -> WebhookRow | None:
    query = select(*_columns).where(_c.tenant_id == tenant, _c.id == webhook_id)
    async with reading(engine) as conn:
        row = (await conn.execute(query)).mappings().first()
    return None if row is None else _row(row)


async def page(engine: AsyncEngine, tenant: str, after: str, limit: int) -> list[WebhookRow]:
    """In the order of their creation."""
    query = select(*_columns).where(_c.tenant_id == tenant, _c.id > after).order_by(_c.id).limit(limit)
    async with reading(engine) as conn:
        return [_row(row) for row in (await conn.execute(query)).mappings()]


async def change(engine: AsyncEngine, webhook_id: str, **values: object) -> None:
    async with engine.begin() as conn:
        await conn.execute(update(webhooks).where(_c.id == webhook_id).values(**values, updated_at=now_ms()))


async def remove(engine: AsyncEngine, webhook_id: str) -> None:
    """With its deliveries, in small transactions."""
    async with engine.begin() as conn:
        await conn.execute(delete(webhooks).where(_c.id == webhook_id))
        await conn.execute(delete(webhook_positions).where(webhook_positions.c.webhook_id == webhook_id))
    d = webhook_deliveries.c
    while True:
        async with reading(engine) as conn:
            ids = list(
                (await conn.execute(select(d.id).where(d.webhook_id == webhook_id).limit(STEP))).scalars()
            )
        if not ids:
            return
        async with engine.begin() as conn:
            await conn.execute(delete(webhook_deliveries).where(d.id.in_(ids)))


async def enabled(engine: AsyncEngine) -> dict[str, WebhookRow]:
    """By id."""
    async with reading(engine) as conn:
        rows = await conn.execute(select(*_columns).where(_c.enabled).order_by(_c.id))
        return {row["id"]: _row(row) for row in rows.mappings()}


async def hold(engine: AsyncEngine, webhook_id: str, owner: str, seconds: float) -> bool:
    """Take the lease, or hold it longer; False: another worker has it, or the webhook is off or gone."""
    async with engine.begin() as conn:
        now = clock(conn)
        mine_or_free = or_(_c.lease_owner == owner, _c.lease_until < now)
        held = await conn.execute(
            update(webhooks)
            .where(and_(_c.id == webhook_id, _c.enabled, mine_or_free))
            .values(lease_owner=owner, lease_until=now + int(seconds * 1000))
        )
    return held.rowcount == 1


async def let_go(engine: AsyncEngine, webhook_id: str, owner: str) -> None:
    async with engine.begin() as conn:
        await conn.execute(
            update(webhooks).where(_c.id == webhook_id, _c.lease_owner == owner).values(lease_until=0)
        )


async def positions(engine: AsyncEngine, webhook_id: str) -> tuple[dict[int, Place], dict[int, Place]]:
    """By shard: how far the webhook is, and where the rows end."""
    p = webhook_positions.c
    async with reading(engine) as conn:
        found = await conn.execute(
            select(p.shard, p.epoch, p.n, p.place, p.part).where(p.webhook_id == webhook_id)
        )
        reached = {shard: Place(*place) for shard, *place in found}
        return reached, await ends(conn, reached) if reached else {}


async def move(conn: AsyncConnection, webhook_id: str, shard: int, old: Place, new: Place) -> bool:
    """By compare-and-set: False where another worker has moved it."""
    p = webhook_positions.c
    here = (p.webhook_id == webhook_id, p.shard == shard)
    at = (p.epoch == old.epoch, p.n == old.n, p.place == old.place, p.part == old.part)
    moved = await conn.execute(update(webhook_positions).where(*here, *at).values(**new._asdict()))
    return moved.rowcount == 1
