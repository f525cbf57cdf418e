"""Rows of erasures, and the messages that one may mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Table, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.moments import now_ms
from scaiqueue.rows import copies
from scaiqueue.rows.engine import reading
from scaiqueue.rows.tables import erasures, message_archive, messages

RUNNING = "running"
TABLES: Sequence[Table] = (messages, message_archive)
"""In the order in which messages move through them: none that moves meanwhile is missed."""


class ErasureRow(msgspec.Struct, frozen=True, kw_only=True):
    """`scope_id` "" is all of the tenant's. A running one whose `updated_at` is old has lost its runner."""

    id: str
    tenant_id: str
    scope_id: str
    mode: str
    dry_run: bool
    kinds: str
    subject: str
    state: str
    counts: str
    cursor: str
    cancel_requested: bool
    actor: str
    created_at: int
    updated_at: int


class Candidate(msgspec.Struct, frozen=True):
    """Of a message what a subject is compared with; `body` only where it is asked for."""

    id: str
    header: bytes
    overlay: bytes
    body: bytes


async def create(engine: AsyncEngine, row: ErasureRow) -> None:
    async with engine.begin() as conn:
        await conn.execute(insert(erasures).values(**msgspec.structs.asdict(row)))


async def find(engine: AsyncEngine, tenant: str, erasure_id: str) -> ErasureRow | None:
    query = select(erasures).where(erasures.c.tenant_id == tenant, erasures.c.id == erasure_id)
    async with reading(engine) as conn:
        found = (await conn.execute(query)).mappings().first()
    return ErasureRow(**found) if found else None


async def page(engine: AsyncEngine, tenant: str, after: str, limit: int) -> list[ErasureRow]:
    query = select(erasures).where(erasures.c.tenant_id == tenant, erasures.c.id > after)
    async with reading(engine) as conn:
        found = await conn.execute(query.order_by(erasures.c.id).limit(limit))
        return [ErasureRow(**row) for row in found.mappings()]


async def request_cancel(engine: AsyncEngine, erasure_id: str) -> None:
    changed = update(erasures).where(erasures.c.id == erasure_id, erasures.c.state == RUNNING)
    async with engine.begin() as conn:
        await conn.execute(changed.values(cancel_requested=True))


async def save(engine: AsyncEngine, row: ErasureRow, **values: Any) -> ErasureRow | None:
    """Write how far it is; None if another runner has taken it over meanwhile."""
    c = erasures.c
    now = max(now_ms(), row.updated_at + 1)
    mine = (c.id == row.id) & (c.updated_at == row.updated_at) & (c.state == RUNNING)
    async with engine.begin() as conn:
        saved = await conn.execute(update(erasures).where(mine).values(updated_at=now, **values))
        if saved.rowcount != 1:
            return None
        found = (await conn.execute(select(erasures).where(c.id == row.id))).mappings().one()
    return ErasureRow(**found)


async def abandoned(engine: AsyncEngine, older_than_ms: int) -> list[ErasureRow]:
    """Running ones that nobody has written to for so long."""
    c = erasures.c
    query = select(erasures).where(c.state == RUNNING, c.updated_at < now_ms() - older_than_ms)
    async with reading(engine) as conn:
        return [ErasureRow(**row) for row in (await conn.execute(query.limit(100))).mappings()]


async def candidates(
    engine: AsyncEngine, table: Table, scope_id: str, after: str, limit: int, *,
    correlation_id: str | None, source_id: str | None, bodies: bool,
) -> list[Candidate]:  # fmt: skip
    """Messages of a scope in the order of their ids, after the id `after`; copies with the body that they
    share."""
    c = table.c
    body = c.body if bodies else literal(b"").label("body")
    query = select(c.id, c.header, c.overlay, body).where(c.scope_id == scope_id, c.id > after)
    if correlation_id is not None:
        query = query.where(c.correlation_id == correlation_id)
    if source_id is not None:
        query = query.where(c.source_id == source_id)
    async with reading(engine) as conn:
        found = (await conn.execute(query.order_by(c.id).limit(limit))).all()
        of = await copies.parents(conn, [row.id for row in found]) if bodies else {}
        held = await copies.bodies(conn, set(of.values()))
    return [
        Candidate(
            row.id,
            row.header.encode(),
            row.overlay.encode(),
            held.get(of[row.id], b"") if row.id in of else bytes(row.body),
        )
        for row in found
    ]
