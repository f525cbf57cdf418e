"""Idempotency keys that the rows remember."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from scaiqueue.rows.tables import idempotency

Key = tuple[str, str, str]


async def owned_keys(conn: AsyncConnection, keys: Sequence[Key]) -> set[Key]:
    """Which of the keys (scope id, queue, hash) have a row."""
    columns = (idempotency.c.scope_id, idempotency.c.queue, idempotency.c.key_hash)
    found = await conn.execute(select(*columns).where(tuple_(*columns).in_(keys)))
    return {(row[0], row[1], row[2]) for row in found}
