"""Queue rows and the settings that they keep as JSON."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.moments import now_ms
from scaiqueue.rows.engine import LOOK_UP_WITHIN_S, reading
from scaiqueue.rows.notes import kind_of_change, tell_queue
from scaiqueue.rows.tables import queues

Ordering = Literal["fifo", "priority", "deadline"]
ConsumerMode = Literal["competing", "broadcast"]
OverflowPolicy = Literal["reject", "drop_oldest", "dead_letter"]
Durability = Literal["committed", "indexed"]
Access = Literal["", "noput", "relay", "copies", "readonly"]
SchemaMode = Literal["off", "warn", "enforce"]


class QueueSlugTaken(Exception):
    """Another queue of the scope has the slug."""


class Backoff(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Delay before a retry. `fixed`: base; `linear`: base x attempts; `exponential`: base x factor^(n-1)."""

    strategy: Literal["fixed", "linear", "exponential"] = "exponential"
    base_s: Annotated[float, Meta(ge=0, le=86400)] = 1.0
    factor: Annotated[float, Meta(ge=1, le=100)] = 2.0
    max_s: Annotated[float, Meta(ge=0, le=604800)] = 300.0
    jitter: Literal["full", "none"] = "full"


class Aging(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """After `after_s` in the queue a message's rank rises by `step`, and again every `every_s`."""

    after_s: Annotated[int, Meta(ge=1, le=31_536_000)]
    step: Annotated[int, Meta(ge=1, le=5000)]
    every_s: Annotated[int, Meta(ge=1, le=31_536_000)]


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the JSON column holds. `access`: "" all, "noput" no publish, "relay" no publish, but rules and
    redrives send messages there, "copies" likewise, for redrives: the queue of a subscription of the queue
    with the id `broadcast_queue`, "readonly" no publish, no claim."""

    consumer_mode: ConsumerMode = "competing"
    ordering: Ordering = "fifo"
    max_depth: int = 0
    overflow_policy: OverflowPolicy = "reject"
    max_retries: int = 5
    visibility_timeout_s: int = 30
    backoff: Backoff = Backoff()
    durability: Durability | None = None
    aging: Aging | None = None
    require_claim_token: bool = False
    idempotency_window_s: int | None = None
    retention_s: int | None = None
    purpose: str | None = None
    schema: str | None = None
    schema_mode: SchemaMode | None = None
    access: Access = ""
    broadcast_queue: str | None = None


decode_settings = msgspec.json.Decoder(QueueSettings).decode


class QueueRow(msgspec.Struct, frozen=True, kw_only=True):
    """Times in ms. `version` rises with every change of settings or state."""

    id: str
    tenant_id: str
    scope_id: str
    slug: str
    display_name: str
    description: str
    state: str
    settings: str
    version: int
    created_at: int
    updated_at: int

    @property
    def parsed(self) -> QueueSettings:
        return decode_settings(self.settings)

    @property
    def owner_id(self) -> str:
        """The queue to whose users it belongs: of a subscription's, the broadcast queue."""
        return self.parsed.broadcast_queue or self.id


def encode_settings(settings: QueueSettings) -> str:
    return msgspec.json.encode(settings).decode()


def _row(values: Any) -> QueueRow:
    return QueueRow(**values)


async def create(engine: AsyncEngine, queue: QueueRow) -> None:
    """Raises QueueSlugTaken."""
    try:
        async with engine.begin() as connection:
            await connection.execute(insert(queues).values(**msgspec.structs.asdict(queue)))
            await tell_queue(connection, queue, "created")
    except IntegrityError:
        if await find(engine, queue.scope_id, queue.slug) is None:
            raise
        raise QueueSlugTaken from None


async def find(engine: AsyncEngine, scope_id: str, reference: str) -> QueueRow | None:
    """By id or slug, within the scope."""
    query = select(queues).where(
        queues.c.scope_id == scope_id, or_(queues.c.id == reference, queues.c.slug == reference)
    )
    async with reading(engine, LOOK_UP_WITHIN_S) as connection:
        found = [_row(row) for row in (await connection.execute(query)).mappings()]
    return min(found, key=lambda row: row.id != reference, default=None)


async def page(
    engine: AsyncEngine,
    scope_id: str,
    after: str,
    limit: int,
    only: Collection[str] | None = None,
    *,
    of_subscriptions: bool = True,
) -> list[QueueRow]:
    """At most `limit` queues in the order of their creation, after the id `after`."""
    query = select(queues).where(queues.c.scope_id == scope_id, queues.c.id > after)
    if not of_subscriptions:
        query = query.where(queues.c.slug.not_like("%.%"))
    if only is not None:
        query = query.where(queues.c.id.in_(only))
    async with reading(engine) as connection:
        rows = await connection.execute(query.order_by(queues.c.id).limit(limit))
        return [_row(row) for row in rows.mappings()]


async def of_subscriptions(engine: AsyncEngine, scope_id: str, queue: str) -> list[QueueRow]:
    """Those that hold the copies of a broadcast queue."""
    # In the order of the characters a slash follows the dot.
    within = (queues.c.slug > f"{queue}.", queues.c.slug < f"{queue}/")
    query = select(queues).where(queues.c.scope_id == scope_id, *within).order_by(queues.c.slug)
    async with reading(engine) as connection:
        return [_row(row) for row in (await connection.execute(query)).mappings()]


async def places(engine: AsyncEngine, slug: str) -> list[tuple[str, str]]:
    """Tenant and scope id of every queue with the slug."""
    query = select(queues.c.tenant_id, queues.c.scope_id).where(queues.c.slug == slug)
    async with reading(engine) as connection:
        return [(tenant, scope_id) for tenant, scope_id in await connection.execute(query)]


async def slugs(engine: AsyncEngine, scope_id: str) -> list[str]:
    """Of every queue of the scope."""
    async with reading(engine) as connection:
        return list(
            (await connection.execute(select(queues.c.slug).where(queues.c.scope_id == scope_id))).scalars()
        )


async def all_of(engine: AsyncEngine, scope_id: str) -> Sequence[QueueRow]:
    """Every queue of the scope, read in pages."""
    found: list[QueueRow] = []
    while batch := await page(engine, scope_id, found[-1].id if found else "", 500):
        found += batch
        if len(batch) < 500:
            break
    return found


async def change(engine: AsyncEngine, queue_id: str, **values: object) -> QueueRow | None:
    """Set columns, raise the version, and return the row; None if it is gone."""
    one = queues.c.id == queue_id
    async with engine.begin() as connection:
        state = (await connection.execute(select(queues.c.state).where(one).with_for_update())).scalar()
        await connection.execute(
            update(queues).where(one).values(**values, version=queues.c.version + 1, updated_at=now_ms())
        )
        found = (await connection.execute(select(queues).where(one))).mappings().first()
        row = None if found is None else _row(found)
        if row is not None:
            await tell_queue(connection, row, kind_of_change(state or "", values), values)
    return row


async def remove(engine: AsyncEngine, queue_id: str) -> None:
    async with engine.begin() as connection:
        found = (await connection.execute(select(queues).where(queues.c.id == queue_id))).first()
        await connection.execute(delete(queues).where(queues.c.id == queue_id))
        if found is not None:
            await tell_queue(connection, found, "deleted")
