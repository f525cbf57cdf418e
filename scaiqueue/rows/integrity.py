"""Rows of the consistency checker: what messages' rows say in short, and its findings and corrections."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.records import Version
from scaiqueue.rows import positions
from scaiqueue.rows.engine import reading
from scaiqueue.rows.tables import integrity, message_archive, messages

PAGE = 200
NOWHERE = Version(0, -1)
EVERY_SHARD = -1
FOREVER = "audit_broken"
"""A kind that no later look finds healed."""


class KnownRow(NamedTuple):
    """Where a message's row says it is."""

    state: int
    queue: str
    attempts: int
    version: Version


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """A divergence as its row holds it. `corrected_at` 0: it was not corrected. Times in ms."""

    id: str
    shard: int
    tenant_id: str
    scope_id: str
    kind: str
    queue: str
    subject: str
    detail: str
    found_at: int
    seen_at: int
    looks: int = 1
    corrected_at: int = 0
    correction: str = ""


async def known_rows(
    engine: AsyncEngine, shard: int, ids: Collection[str]
) -> tuple[Version, dict[str, KnownRow]]:
    """The shard's position, and then the rows, which are there or beyond."""
    found: dict[str, KnownRow] = {}
    async with reading(engine) as conn:
        position = (await positions.load(conn, [shard])).get(shard)
        for table in (messages, message_archive):
            left = [message_id for message_id in ids if message_id not in found]
            if left:
                c = table.c
                query = select(c.id, c.state, c.queue, c.attempts, c.touched_epoch, c.touched_n)
                for row in await conn.execute(query.where(c.id.in_(left))):
                    version = Version(row.touched_epoch, row.touched_n)
                    found[row.id] = KnownRow(row.state, row.queue, row.attempts, version)
    return (position.version if position else NOWHERE), found


async def live_ids(engine: AsyncEngine, scope_id: str, queue: str, state: int, after: str) -> list[str]:
    """A page of the ids of live rows, in order."""
    query = (
        select(messages.c.id)
        .where(messages.c.scope_id == scope_id, messages.c.queue == queue, messages.c.state == state)
        .where(messages.c.id > after)
        .order_by(messages.c.id)
        .limit(PAGE)
    )
    async with reading(engine) as conn:
        return list((await conn.execute(query)).scalars())


async def note(engine: AsyncEngine, found: Sequence[Noted]) -> None:
    """Write divergences down; one that is known and not corrected is only seen again."""
    async with engine.begin() as conn:
        for one in found:
            known = await _open_id(conn, one)
            if known is None:
                await conn.execute(insert(integrity).values(**msgspec.structs.asdict(one)))
                continue
            names = ("detail", "seen_at", "corrected_at", "correction")
            changes = {name: getattr(one, name) for name in names}
            changed = update(integrity).where(integrity.c.id == known)
            await conn.execute(changed.values(looks=integrity.c.looks + 1, **changes))


async def _open_id(conn: AsyncConnection, one: Noted) -> str | None:
    c = integrity.c
    query = select(c.id).where(
        c.scope_id == one.scope_id,
        c.kind == one.kind,
        c.queue == one.queue,
        c.subject == one.subject,
        c.corrected_at == 0,
    )
    found: str | None = (await conn.execute(query.limit(1))).scalar()
    return found


async def page(
    engine: AsyncEngine, scope_id: str, shard: int, before: str, limit: int, *, corrected: bool
) -> tuple[list[Noted], bool]:
    """Newest first: of a scope and of its whole shard; `corrected`: only those that were corrected."""
    c = integrity.c
    of_all = (c.scope_id == "") & c.shard.in_((shard, EVERY_SHARD))
    query = select(integrity).where(or_(c.scope_id == scope_id, of_all))
    if corrected:
        query = query.where(c.corrected_at > 0)
    if before:
        query = query.where(c.id < before)
    async with reading(engine) as conn:
        rows = (await conn.execute(query.order_by(c.id.desc()).limit(limit + 1))).mappings().all()
    return [Noted(**row) for row in rows[:limit]], len(rows) > limit


async def close_unseen(engine: AsyncEngine, since: int, now: int) -> None:
    """What a whole round since `since` (ms) has not seen again is over: recovered, or put right otherwise."""
    c = integrity.c
    over = update(integrity).where(c.corrected_at == 0, c.seen_at < since, c.kind != FOREVER)
    async with engine.begin() as conn:
        await conn.execute(over.values(corrected_at=now, correction="not seen any more"))


async def prune(engine: AsyncEngine, before: int) -> None:
    """Forget what was last seen before `before` (ms)."""
    async with engine.begin() as conn:
        await conn.execute(delete(integrity).where(integrity.c.seen_at < before))
