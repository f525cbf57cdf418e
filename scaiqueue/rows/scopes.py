"""Scope rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.moments import now_ms
from scaiqueue.rows.engine import LOOK_UP_WITHIN_S, reading
from scaiqueue.rows.notes import kind_of_change, tell_scope
from scaiqueue.rows.queues import QueueRow
from scaiqueue.rows.tables import queues, scopes, tenants


class SlugTaken(Exception):
    """Another row of the same parent has the slug."""


class ScopeRow(msgspec.Struct, frozen=True, kw_only=True):
    """Times in ms. `version` rises with every change; `durability` "" is the installation's default."""

    id: str
    tenant_id: str
    slug: str
    shard: int
    display_name: str
    description: str
    durability: str
    state: str
    version: int
    created_at: int
    updated_at: int


def _row(values: Any) -> ScopeRow:
    return ScopeRow(**values)


async def ensure_tenant(connection: AsyncConnection, tenant: str) -> None:
    if (await connection.execute(select(tenants.c.slug).where(tenants.c.slug == tenant))).first() is None:
        await connection.execute(insert(tenants).values(slug=tenant, created_at=now_ms()))


async def create(engine: AsyncEngine, scope: ScopeRow, with_queues: Sequence[QueueRow]) -> None:
    """The scope and its first queues in one transaction. Raises SlugTaken."""
    try:
        async with engine.begin() as connection:
            await ensure_tenant(connection, scope.tenant_id)
            await connection.execute(insert(scopes).values(**msgspec.structs.asdict(scope)))
            await connection.execute(insert(queues), [msgspec.structs.asdict(queue) for queue in with_queues])
            await tell_scope(connection, scope, "created")
    except IntegrityError:
        if await find(engine, scope.tenant_id, scope.slug) is None:
            raise
        raise SlugTaken from None


async def find(engine: AsyncEngine, tenant: str, reference: str) -> ScopeRow | None:
    """By id or slug, within the tenant."""
    query = select(scopes).where(
        scopes.c.tenant_id == tenant, or_(scopes.c.id == reference, scopes.c.slug == reference)
    )
    async with reading(engine, LOOK_UP_WITHIN_S) as connection:
        found = [_row(row) for row in (await connection.execute(query)).mappings()]
    return min(found, key=lambda row: row.id != reference, default=None)


async def named(engine: AsyncEngine, tenant: str, reference: str) -> ScopeRow | None:
    """As `find`; of any tenant where `tenant` is "", then by id alone."""
    if tenant:
        return await find(engine, tenant, reference)
    async with reading(engine, LOOK_UP_WITHIN_S) as connection:
        found = (await connection.execute(select(scopes).where(scopes.c.id == reference))).mappings().first()
    return _row(found) if found else None


async def page(
    engine: AsyncEngine, tenant: str, after: str, limit: int, only: Collection[str] | None = None
) -> list[ScopeRow]:
    """At most `limit` scopes in the order of their creation, after the id `after`."""
    query = select(scopes).where(scopes.c.tenant_id == tenant, scopes.c.id > after)
    if only is not None:
        query = query.where(scopes.c.id.in_(only))
    async with reading(engine) as connection:
        rows = await connection.execute(query.order_by(scopes.c.id).limit(limit))
        return [_row(row) for row in rows.mappings()]


async def change(engine: AsyncEngine, scope_id: str, **values: object) -> ScopeRow | None:
    """Set columns, raise the version, and return the row; None if it is gone."""
    one = scopes.c.id == scope_id
    async with engine.begin() as connection:
        state = (await connection.execute(select(scopes.c.state).where(one).with_for_update())).scalar()
        await connection.execute(
            update(scopes).where(one).values(**values, version=scopes.c.version + 1, updated_at=now_ms())
        )
        found = (await connection.execute(select(scopes).where(one))).mappings().first()
        row = None if found is None else _row(found)
        if row is not None:
            await tell_scope(connection, row, kind_of_change(state or "", values), values)
    return row


async def remove(engine: AsyncEngine, scope_id: str) -> None:
    """The scope's row and its queues' rows."""
    async with engine.begin() as connection:
        found = (await connection.execute(select(scopes).where(scopes.c.id == scope_id))).first()
        await connection.execute(delete(queues).where(queues.c.scope_id == scope_id))
        await connection.execute(delete(scopes).where(scopes.c.id == scope_id))
        if found is not None:
            await tell_scope(connection, found, "deleted")
