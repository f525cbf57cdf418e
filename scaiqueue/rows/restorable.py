"""What recovery reads back from the rows: messages of a shard, counters of a scope, idempotency keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Table, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.records import Flag, Record, Version, encode_record, join_envelope
from scaiqueue.rows.bulk import IdempotencyRow
from scaiqueue.rows.engine import reading
from scaiqueue.rows.tables import idempotency, message_archive, messages

PAGE = 200
NEWEST = 1000
LIVE_STATES = (1, 2, 3, 4, 9)
_pack = msgspec.msgpack.Encoder().encode


class Restorable(NamedTuple):
    """One message as the `restore` script takes it; a terminal one goes without its content."""

    tenant: str
    scope_id: str
    id: str
    record: bytes
    envelope: bytes
    overlay: bytes
    outcome: bytes


def _restorable(row: Any) -> Restorable:
    header = row.header.encode()
    record = Record(
        queue=row.queue,
        state=row.state,
        attempts=row.attempts,
        seq=row.seq,
        rank=row.priority_rank,
        deadline=row.deadline,
        expires_at=row.expires_at,
        size=len(header) + 1 + len(row.body),
        token=row.token,
        holder=row.holder,
        verb=row.verb,
        touched_epoch=row.touched_epoch,
        touched_n=row.touched_n,
        max_retries=row.max_retries,
        created_at=row.created_at,
        flags=row.flags,
        due_at=row.due_at,
        updated_at=row.updated_at,
        origin=tuple(msgspec.json.decode(row.origin)) if row.origin else (),
    )
    live = row.state in LIVE_STATES
    return Restorable(
        row.tenant_id,
        row.scope_id,
        row.id,
        encode_record(record),
        join_envelope(header, row.body) if live else b"",
        row.overlay.encode() if live else b"",
        _outcome(row.response, row.failure_reason) if live and row.flags & Flag.outcome else b"",
    )


def _outcome(response: bytes, reason: str) -> bytes:
    """As the scripts pack it, text; a response that is none goes as binary."""
    try:
        return _pack((response.decode(), reason))
    except UnicodeDecodeError:
        return _pack((response, reason))


async def live_messages(engine: AsyncEngine, shard: int) -> AsyncIterator[list[Restorable]]:
    """Every message of the shard that is not terminal, in pages by (version, id)."""
    async for page in _touched_pages(engine, messages, shard, Version(0, -1), live_only=True):
        yield page


async def touched_after(engine: AsyncEngine, shard: int, version: Version) -> AsyncIterator[list[Restorable]]:
    """Every message of the shard that was touched after `version`, archived ones too, in pages."""
    for table in (messages, message_archive):
        async for page in _touched_pages(engine, table, shard, version, live_only=False):
            yield page


async def _touched_pages(
    engine: AsyncEngine, table: Table, shard: int, after: Version, *, live_only: bool
) -> AsyncIterator[list[Restorable]]:
    columns = table.c
    last_id = "~"  # above every id: `after` itself is left out
    while True:
        newer = or_(
            columns.touched_epoch > after.epoch,
            and_(
                columns.touched_epoch == after.epoch,
                or_(
                    columns.touched_n > after.n,
                    and_(columns.touched_n == after.n, columns.id > last_id),
                ),
            ),
        )
        query = select(table).where(columns.shard == shard, newer)
        if live_only:
            query = query.where(columns.state.in_(LIVE_STATES))
        order = (columns.touched_epoch, columns.touched_n, columns.id)
        async with reading(engine) as conn:
            rows = (await conn.execute(query.order_by(*order).limit(PAGE))).all()
        if not rows:
            return
        yield [_restorable(row) for row in rows]
        last = rows[-1]
        after, last_id = Version(last.touched_epoch, last.touched_n), last.id


async def newest_seq(conn: AsyncConnection, scope_id: str) -> int:
    """The largest publish number that the rows of a scope know. Of the archive only the newest count:
    ids rise with time as the numbers do."""
    largest = select(func.max(messages.c.seq)).where(messages.c.scope_id == scope_id)
    newest = (
        select(message_archive.c.seq)
        .where(message_archive.c.scope_id == scope_id)
        .order_by(message_archive.c.id.desc())
        .limit(NEWEST)
    )
    live: int = (await conn.execute(largest)).scalar_one() or 0
    archived: list[int] = list((await conn.execute(newest)).scalars())
    return max([live, *archived])


async def idempotency_pages(
    engine: AsyncEngine, scope_id: str, now_ms: int
) -> AsyncIterator[list[IdempotencyRow]]:
    """Keys of a scope that are still within their window, in pages."""
    columns = idempotency.c
    queue, key_hash = "", ""
    while True:
        beyond = or_(columns.queue > queue, and_(columns.queue == queue, columns.key_hash > key_hash))
        query = (
            select(idempotency)
            .where(columns.scope_id == scope_id, columns.expires_at > now_ms, beyond)
            .order_by(columns.queue, columns.key_hash)
            .limit(1000)
        )
        async with reading(engine) as conn:
            rows = [IdempotencyRow(*row) for row in (await conn.execute(query)).all()]
        if not rows:
            return
        yield rows
        queue, key_hash = rows[-1].queue, rows[-1].key_hash
