"""Rows of subscriptions, each with the row of the queue that holds its copies. Every change raises the
version of the broadcast queue first: changes are in its order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.moments import now_ms
from scaiqueue.records import Flag, State
from scaiqueue.rows.engine import reading
from scaiqueue.rows.queues import QueueRow
from scaiqueue.rows.tables import message_archive, messages, queues
from scaiqueue.rows.tables import subscriptions as table

FILLING, ACTIVE, REMOVING = "filling", "active", "removing"


class SubscriptionNameTaken(Exception):
    """Another subscription of the queue has the name."""


class SubscriptionRow(msgspec.Struct, frozen=True, kw_only=True):
    """Times in ms. `filter` is JSON; `dedup_window_s` 0 is none. `fill_before` -1: it is not yet known which
    messages are older than the subscription; `filled_to` is the last of them that was looked at, `filled`
    how many were copied."""

    id: str
    tenant_id: str
    scope_id: str
    queue: str
    name: str
    slug: str
    filter: str
    start: str
    delivery: str
    dedup_window_s: int
    state: str
    fill_before: int
    filled_to: str
    filled: int
    version: int
    created_at: int
    updated_at: int


class Roster(msgspec.Struct, frozen=True):
    """All subscriptions of a queue in the order of their creation, and the version that they hold since."""

    version: int
    subscriptions: list[SubscriptionRow]

    @property
    def served(self) -> Sequence[SubscriptionRow]:
        """Those that get copies."""
        return [row for row in self.subscriptions if row.state != REMOVING]


def _row(values: Any) -> SubscriptionRow:
    return SubscriptionRow(**values)


async def _raise_version(connection: AsyncConnection, scope_id: str, queue: str) -> None:
    """First of all: whoever changes the queue's subscriptions waits here for the one before."""
    of_queue = and_(queues.c.scope_id == scope_id, queues.c.slug == queue)
    await connection.execute(update(queues).where(of_queue).values(version=queues.c.version + 1))


async def _roster(connection: AsyncConnection, scope_id: str, queue: str) -> Roster:
    version = select(queues.c.version).where(queues.c.scope_id == scope_id, queues.c.slug == queue)
    found = select(table).where(table.c.scope_id == scope_id, table.c.queue == queue).order_by(table.c.id)
    return Roster(
        int((await connection.execute(version)).scalar() or 0),
        [_row(row) for row in (await connection.execute(found)).mappings()],
    )


async def roster(engine: AsyncEngine, scope_id: str, queue: str) -> Roster:
    async with reading(engine) as connection:
        return await _roster(connection, scope_id, queue)


async def find(engine: AsyncEngine, scope_id: str, queue: str, reference: str) -> SubscriptionRow | None:
    """By id or name, among those of the queue."""
    query = select(table).where(
        table.c.scope_id == scope_id,
        table.c.queue == queue,
        or_(table.c.id == reference, table.c.name == reference),
    )
    async with reading(engine) as connection:
        found = [_row(row) for row in (await connection.execute(query)).mappings()]
    return min(found, key=lambda row: row.id != reference, default=None)


async def create(engine: AsyncEngine, row: SubscriptionRow, queue: QueueRow, most: int) -> Roster | None:
    """With the queue for its copies; None where there are `most` already. Raises SubscriptionNameTaken."""
    try:
        async with engine.begin() as connection:
            await _raise_version(connection, row.scope_id, row.queue)
            count = select(func.count()).select_from(table)
            mine = count.where(table.c.scope_id == row.scope_id, table.c.queue == row.queue)
            if (await connection.execute(mine)).scalar_one() >= most:
                return None
            await connection.execute(insert(table).values(**msgspec.structs.asdict(row)))
            await connection.execute(insert(queues).values(**msgspec.structs.asdict(queue)))
            return await _roster(connection, row.scope_id, row.queue)
    except IntegrityError:
        if await find(engine, row.scope_id, row.queue, row.name) is None:
            raise
        raise SubscriptionNameTaken from None


async def change(engine: AsyncEngine, row: SubscriptionRow, **values: object) -> Roster:
    async with engine.begin() as connection:
        await _raise_version(connection, row.scope_id, row.queue)
        await connection.execute(
            update(table)
            .where(table.c.id == row.id)
            .values(**values, version=table.c.version + 1, updated_at=now_ms())
        )
        return await _roster(connection, row.scope_id, row.queue)


async def remove(engine: AsyncEngine, row: SubscriptionRow) -> None:
    async with engine.begin() as connection:
        await connection.execute(delete(table).where(table.c.id == row.id))


async def note_fill(engine: AsyncEngine, row: SubscriptionRow, **values: object) -> SubscriptionRow | None:
    """How far its fill has come, if it is still going on; None: it isn't."""
    going = and_(table.c.id == row.id, table.c.state == FILLING)
    async with engine.begin() as connection:
        noted = update(table).where(going).values(**values, updated_at=now_ms())
        if (await connection.execute(noted)).rowcount != 1:
            return None
        found = await connection.execute(select(table).where(table.c.id == row.id))
        return _row(found.mappings().one())


async def abandoned_fills(engine: AsyncEngine, for_ms: int) -> list[SubscriptionRow]:
    """Fills that nobody has carried on for so long."""
    query = select(table).where(table.c.state == FILLING, table.c.updated_at < now_ms() - for_ms)
    async with reading(engine) as connection:
        return [_row(row) for row in (await connection.execute(query)).mappings()]


def _published(place: Any, row: SubscriptionRow) -> list[Any]:
    """Conditions: what was published into the queue, and is kept."""
    c = place.c
    mine = [c.scope_id == row.scope_id, c.queue == row.queue, c.state == State.completed.value]
    return [*mine, c.flags.op("&")(Flag.shared_body.value) != 0, c.seq < row.fill_before]


async def first_to_fill(engine: AsyncEngine, row: SubscriptionRow, most: int) -> str:
    """The id behind which the newest `most` messages for it lie; "" where there are not so many."""
    ids: list[str] = []
    async with reading(engine) as connection:
        for place in (messages, message_archive):
            query = select(place.c.id).where(*_published(place, row)).order_by(place.c.id.desc())
            ids += (await connection.execute(query.offset(most).limit(1))).scalars()
    return max(ids, default="")


async def ids_to_fill(engine: AsyncEngine, row: SubscriptionRow, limit: int) -> list[str]:
    """The next messages for it, oldest first, after `filled_to`."""
    ids: set[str] = set()
    async with reading(engine) as connection:
        for place in (messages, message_archive):
            query = select(place.c.id).where(*_published(place, row), place.c.id > row.filled_to)
            ids.update((await connection.execute(query.order_by(place.c.id).limit(limit))).scalars())
    return sorted(ids)[:limit]
