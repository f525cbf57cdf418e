"""API key rows. Only the SHA-256 of a key is kept."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.moments import now_ms
from scaiqueue.rows.access import raise_version
from scaiqueue.rows.engine import LOOK_UP_WITHIN_S, reading
from scaiqueue.rows.scopes import ensure_tenant
from scaiqueue.rows.tables import api_keys


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """Times in ms, 0 = none. `scopes` and `queues` hold ids, JSON; `[]` is no limit. `rate_limit`: calls a
    minute, 0 as the setting says; `rate_burst`: so many of them at once, 0 all."""

    id: str
    tenant_id: str
    name: str
    key_hash: str
    prefix: str
    permissions: str
    scopes: str
    queues: str
    created_at: int
    expires_at: int
    revoked_at: int
    last_used_at: int
    rate_limit: int = 0
    rate_burst: int = 0


def _row(values: Any) -> KeyRow:
    return KeyRow(**values)


async def create(engine: AsyncEngine, key: KeyRow) -> None:
    async with engine.begin() as connection:
        await ensure_tenant(connection, key.tenant_id)
        await connection.execute(insert(api_keys).values(**msgspec.structs.asdict(key)))


async def create_first(engine: AsyncEngine, key: KeyRow) -> None:
    """As `create`; a key that is there already stays as it is (several processes start at once)."""
    if await by_hash(engine, key.key_hash) is not None:
        return
    try:
        await create(engine, key)
    except IntegrityError:
        if await by_hash(engine, key.key_hash) is None:
            raise


async def by_hash(engine: AsyncEngine, key_hash: str) -> KeyRow | None:
    async with reading(engine, LOOK_UP_WITHIN_S) as connection:
        found = await connection.execute(select(api_keys).where(api_keys.c.key_hash == key_hash))
        row = found.mappings().first()
    return None if row is None else _row(row)


async def find(engine: AsyncEngine, tenant: str, key_id: str) -> KeyRow | None:
    query = select(api_keys).where(api_keys.c.tenant_id == tenant, api_keys.c.id == key_id)
    async with reading(engine) as connection:
        row = (await connection.execute(query)).mappings().first()
    return None if row is None else _row(row)


async def page(engine: AsyncEngine, tenant: str, after: str, limit: int) -> list[KeyRow]:
    query = select(api_keys).where(api_keys.c.tenant_id == tenant, api_keys.c.id > after)
    async with reading(engine) as connection:
        rows = await connection.execute(query.order_by(api_keys.c.id).limit(limit))
        return [_row(row) for row in rows.mappings()]


async def revoke(engine: AsyncEngine, key_id: str) -> None:
    """At once; a key revoked earlier keeps its time."""
    async with engine.begin() as connection:
        await connection.execute(
            update(api_keys)
            .where(api_keys.c.id == key_id, api_keys.c.revoked_at == 0)
            .values(revoked_at=now_ms())
        )
        await raise_version(connection)


async def rotate(engine: AsyncEngine, old_id: str, old_expires_at: int, new: KeyRow) -> None:
    """The new key and the old one's end in one transaction."""
    async with engine.begin() as connection:
        await connection.execute(
            update(api_keys).where(api_keys.c.id == old_id).values(expires_at=old_expires_at)
        )
        await connection.execute(insert(api_keys).values(**msgspec.structs.asdict(new)))
        await raise_version(connection)


async def used(engine: AsyncEngine, seen: dict[str, int]) -> None:
    """Last uses: key id → ms."""
    async with engine.begin() as connection:
        for key_id, at in sorted(seen.items()):
            await connection.execute(
                update(api_keys)
                .where(api_keys.c.id == key_id, api_keys.c.last_used_at < at)
                .values(last_used_at=at)
            )
