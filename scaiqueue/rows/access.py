"""Rows of grants, queue ACLs and trusts. Every change of who may do what raises one version, which each
process watches; so do changes of keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import BigInteger, cast, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.rows.engine import LOOK_UP_WITHIN_S, reading
from scaiqueue.rows.tables import acls, grants, installation, trusts

VERSION = "access_version"


class GrantRow(msgspec.Struct, frozen=True, kw_only=True):
    """`permissions` is JSON; times in ms, 0 = none."""

    id: str
    tenant_id: str
    scope_id: str
    key_id: str
    permissions: str
    created_by: str
    created_at: int
    expires_at: int


class AclRow(msgspec.Struct, frozen=True, kw_only=True):
    """`entries` is JSON of `allow` and `deny`."""

    queue_id: str
    tenant_id: str
    scope_id: str
    entries: str
    updated_by: str
    updated_at: int


class TrustRow(msgspec.Struct, frozen=True, kw_only=True):
    """Messages of `from_scope` may be sent into `to_scope`. `terms` is JSON of what is let in."""

    id: str
    tenant_id: str
    from_scope: str
    to_scope: str
    terms: str
    created_by: str
    created_at: int


class PolicyRows(NamedTuple):
    """What a scope's rows say at a version or later."""

    version: int
    grants: Sequence[GrantRow]
    acls: Sequence[AclRow]


async def raise_version(connection: AsyncConnection) -> None:
    """In the transaction of a change."""
    raised = cast(installation.c.value, BigInteger) + 1
    await connection.execute(update(installation).where(installation.c.name == VERSION).values(value=raised))


async def _version(connection: AsyncConnection) -> int:
    query = select(installation.c.value).where(installation.c.name == VERSION)
    return int((await connection.execute(query)).scalar_one())


async def version(engine: AsyncEngine, within_s: float) -> int:
    async with reading(engine, within_s) as connection:
        return await _version(connection)


async def policy(engine: AsyncEngine, scope_id: str) -> PolicyRows:
    async with reading(engine, LOOK_UP_WITHIN_S) as connection:
        # The version first: what is read after it is not older.
        found = await _version(connection)
        granted = await connection.execute(select(grants).where(grants.c.scope_id == scope_id))
        lists = await connection.execute(select(acls).where(acls.c.scope_id == scope_id))
        return PolicyRows(
            found,
            [GrantRow(**row) for row in granted.mappings()],
            [AclRow(**row) for row in lists.mappings()],
        )


async def create_grant(engine: AsyncEngine, grant: GrantRow, most: int) -> int | None:
    """The version since which it holds; None where the scope has `most` already."""
    async with engine.begin() as connection:
        await raise_version(connection)
        count = select(func.count()).select_from(grants).where(grants.c.scope_id == grant.scope_id)
        if (await connection.execute(count)).scalar_one() >= most:
            await connection.rollback()
            return None
        await connection.execute(insert(grants).values(**msgspec.structs.asdict(grant)))
        return await _version(connection)


async def find_grant(engine: AsyncEngine, scope_id: str, grant_id: str) -> GrantRow | None:
    query = select(grants).where(grants.c.scope_id == scope_id, grants.c.id == grant_id)
    async with reading(engine) as connection:
        row = (await connection.execute(query)).mappings().first()
    return None if row is None else GrantRow(**row)


async def grant_page(engine: AsyncEngine, scope_id: str, after: str, limit: int) -> list[GrantRow]:
    query = select(grants).where(grants.c.scope_id == scope_id, grants.c.id > after)
    async with reading(engine) as connection:
        rows = await connection.execute(query.order_by(grants.c.id).limit(limit))
        return [GrantRow(**row) for row in rows.mappings()]


async def remove_grant(engine: AsyncEngine, grant_id: str) -> int:
    """The version since which it is gone."""
    async with engine.begin() as connection:
        await raise_version(connection)
        await connection.execute(delete(grants).where(grants.c.id == grant_id))
        return await _version(connection)


async def find_acl(engine: AsyncEngine, queue_id: str) -> AclRow | None:
    async with reading(engine) as connection:
        row = (await connection.execute(select(acls).where(acls.c.queue_id == queue_id))).mappings().first()
    return None if row is None else AclRow(**row)


async def replace_acl(engine: AsyncEngine, queue_id: str, acl: AclRow | None) -> int:
    """The version since which it holds, or since which there is none."""
    async with engine.begin() as connection:
        await raise_version(connection)
        await connection.execute(delete(acls).where(acls.c.queue_id == queue_id))
        if acl is not None:
            await connection.execute(insert(acls).values(**msgspec.structs.asdict(acl)))
        return await _version(connection)


async def create_trust(engine: AsyncEngine, trust: TrustRow, most: int) -> bool:
    """False where the receiving scope has `most` already."""
    async with engine.begin() as connection:
        count = select(func.count()).select_from(trusts).where(trusts.c.to_scope == trust.to_scope)
        if (await connection.execute(count)).scalar_one() >= most:
            return False
        await connection.execute(insert(trusts).values(**msgspec.structs.asdict(trust)))
    return True


async def find_trust(engine: AsyncEngine, scope_id: str, trust_id: str) -> TrustRow | None:
    """One that the scope gives or is given."""
    query = select(trusts).where(trusts.c.id == trust_id, _of(scope_id))
    async with reading(engine) as connection:
        row = (await connection.execute(query)).mappings().first()
    return None if row is None else TrustRow(**row)


def _of(scope_id: str) -> Any:
    return or_(trusts.c.to_scope == scope_id, trusts.c.from_scope == scope_id)


async def trust_page(engine: AsyncEngine, scope_id: str, after: str, limit: int) -> list[TrustRow]:
    """Those that the scope gives, and those that it is given."""
    query = select(trusts).where(_of(scope_id), trusts.c.id > after)
    async with reading(engine) as connection:
        rows = await connection.execute(query.order_by(trusts.c.id).limit(limit))
        return [TrustRow(**row) for row in rows.mappings()]


async def trusts_between(engine: AsyncEngine, from_scope: str, to_scope: str) -> list[TrustRow]:
    query = select(trusts).where(trusts.c.to_scope == to_scope, trusts.c.from_scope == from_scope)
    async with reading(engine) as connection:
        return [TrustRow(**row) for row in (await connection.execute(query)).mappings()]


async def remove_trust(engine: AsyncEngine, trust_id: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(delete(trusts).where(trusts.c.id == trust_id))


async def remove_of_queue(engine: AsyncEngine, queue_id: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(delete(acls).where(acls.c.queue_id == queue_id))


async def remove_of_scope(engine: AsyncEngine, scope_id: str) -> None:
    """Grants, ACLs, and trusts that it gives or is given."""
    async with engine.begin() as connection:
        await raise_version(connection)
        for table in (grants, acls):
            await connection.execute(delete(table).where(table.c.scope_id == scope_id))
        await connection.execute(delete(trusts).where(_of(scope_id)))
