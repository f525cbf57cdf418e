"""Moves message rows into the archive table and deletes rows that have had their time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from itertools import takewhile
from typing import NamedTuple

from sqlalchemy import Table, delete, func, select, tuple_
from sqlalchemy.dialects.mysql import insert as mysql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql import Insert

from scaiqueue.moments import now_ms
from scaiqueue.records import State, Version

from . import copies
from .engine import is_sqlite, reading
from .events import forget_up_to
from .tables import copies as copy_table
from .tables import events, idempotency, message_archive, messages

TERMINAL = [int(state) for state in State if state.terminal]


class Lane(NamedTuple):
    """Messages of one state in one queue."""

    scope_id: str
    queue: str
    state: int


async def terminal_lanes(engine: AsyncEngine) -> list[Lane]:
    """Where terminal messages stand in the message table."""
    c = messages.c
    # Jumps from one queue and state to the next in the index, however many rows each has.
    query = select(c.scope_id, c.queue, c.state).distinct()
    async with reading(engine) as connection:
        return [Lane(*row) for row in await connection.execute(query) if row.state in TERMINAL]


async def old_in_lane(
    engine: AsyncEngine, lane: Lane, before: int, rows: int, size: int
) -> AsyncIterator[list[str]]:
    """Ids of what was last touched before `before` (ms), in batches of at most `rows`, and of about `size`
    bytes. UUIDv7s rise with time: the first one that is made later ends the look, other ids never do."""
    c = messages.c
    after = ""
    while True:
        query = (
            select(c.id, c.updated_at, func.length(c.body) + func.length(c.response))
            .where(c.scope_id == lane.scope_id, c.queue == lane.queue, c.state == lane.state, c.id > after)
            .order_by(c.id)
            .limit(rows)
        )
        async with reading(engine) as connection:
            found = (await connection.execute(query)).all()
        ids: list[str] = []
        batch_size = 0
        for message_id, updated_at, message_size in found:
            if updated_at >= before:
                continue
            if ids and batch_size + message_size > size:
                yield ids
                ids, batch_size = [], 0
            ids.append(message_id)
            batch_size += message_size
        if ids:
            yield ids
        if len(found) < rows or _made_at(found[-1].id) >= before:
            return
        after = found[-1].id


def _made_at(message_id: str) -> int:
    """Milliseconds of a UUIDv7; 0 for another id."""
    return int(message_id[:8] + message_id[9:13], 16) if message_id[14] == "7" else 0


async def move_to_archive(
    engine: AsyncEngine, ids: Collection[str], states: Sequence[int], before: int
) -> int:
    """Move those of `ids` whose row is in `states` and was last touched before `before` (ms).

    One transaction, ids in order. Rows that another archiver holds or has moved are left to it; a row
    that stands in the archive already is only deleted. Returns how many rows left the message table.
    """
    chosen = (
        select(messages.c.id)
        .where(messages.c.id.in_(sorted(ids)))
        .where(messages.c.state.in_(states), messages.c.updated_at < before)
        .order_by(messages.c.id)
        .with_for_update(skip_locked=True)
    )
    async with engine.begin() as connection:
        locked = list((await connection.execute(chosen)).scalars())
        if locked:
            await connection.execute(_copy(locked, lite=is_sqlite(connection)))
            await connection.execute(delete(messages).where(messages.c.id.in_(locked)))
    return len(locked)


def _copy(ids: list[str], *, lite: bool) -> Insert:
    columns = [column.name for column in message_archive.columns]
    source = select(*(messages.c[name] for name in columns)).where(messages.c.id.in_(ids))
    if lite:
        return sqlite_insert(message_archive).from_select(columns, source).on_conflict_do_nothing()
    maria = mysql_insert(message_archive).from_select(columns, source)
    return maria.on_duplicate_key_update(id=message_archive.c.id)


async def remove_terminal(
    engine: AsyncEngine, table: Table, scope_id: str, queue: str, before: int, limit: int
) -> int:
    """Delete at most `limit` terminal messages of a queue that were last touched before `before` (ms).

    What an idempotency key still answers for is left until its window is over, and the body of copies for
    subscriptions until the last of them is gone. Returns how many went.
    """
    held = select(idempotency.c.message_id).where(
        idempotency.c.message_id == table.c.id, idempotency.c.expires_at >= now_ms()
    )
    needed = select(copy_table.c.message_id).where(copy_table.c.parent_id == table.c.id)
    over = (
        select(table.c.id)
        .where(table.c.scope_id == scope_id, table.c.queue == queue)
        .where(table.c.state.in_(TERMINAL), table.c.updated_at < before)
        .where(~held.exists(), ~needed.exists())
        .limit(limit)
    )
    async with reading(engine) as connection:
        ids = sorted((await connection.execute(over)).scalars())
    if ids:
        async with engine.begin() as connection:
            await connection.execute(delete(table).where(table.c.id.in_(ids)))
            await copies.forget(connection, ids)
    return len(ids)


async def prune_idempotency(engine: AsyncEngine, before: int, limit: int) -> int:
    """Delete at most `limit` keys whose window ended before `before` (ms). Returns how many were found."""
    key = (idempotency.c.scope_id, idempotency.c.queue, idempotency.c.key_hash)
    expired = (
        select(*key).where(idempotency.c.expires_at < before).order_by(idempotency.c.expires_at).limit(limit)
    )
    async with reading(engine) as connection:
        found = [tuple(row) for row in (await connection.execute(expired)).all()]
    if found:
        # A key may have been used again since it was read: the end of its window is checked once more.
        gone = delete(idempotency).where(tuple_(*key).in_(sorted(found)), idempotency.c.expires_at < before)
        async with engine.begin() as connection:
            await connection.execute(gone)
    return len(found)


async def prune_events(engine: AsyncEngine, shard: int, before: int, limit: int) -> int:
    """Delete at most `limit` events of a shard, the oldest, that are from before `before` (ms).

    Returns how many were found. They stand in the order of the journal, so the first that is young
    enough ends the look.
    """
    oldest = (
        select(events.c.epoch, events.c.n, events.c.at)
        .where(events.c.shard == shard)
        .order_by(events.c.epoch, events.c.n)
        .limit(limit)
    )
    async with reading(engine) as connection:
        old = list(takewhile(lambda row: row.at < before, (await connection.execute(oldest)).all()))
    if old:
        async with engine.begin() as connection:
            await forget_up_to(connection, shard, Version(old[-1].epoch, old[-1].n))
    return len(old)
