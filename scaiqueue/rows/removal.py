"""Takes the rows of a removed queue or scope away, in small transactions."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Table, delete, select
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.rows import access, copies
from scaiqueue.rows.engine import reading
from scaiqueue.rows.tables import (
    hitl_patterns,
    idempotency,
    jobs,
    message_archive,
    messages,
    rates,
    routing_rules,
    schemas,
    subscriptions,
)

ROWS_A_STEP = 1000


async def _delete_by_id(
    engine: AsyncEngine, table: Table, *where: ColumnElement[bool], all_goes: bool = False
) -> None:
    while True:
        async with engine.begin() as connection:
            found = await connection.execute(select(table.c.id).where(*where).limit(ROWS_A_STEP))
            ids = [row[0] for row in found]
            if ids:
                if table in (messages, message_archive):
                    await (copies.forget if all_goes else copies.leave_bodies)(connection, ids)
                await connection.execute(delete(table).where(table.c.id.in_(ids)))
        if len(ids) < ROWS_A_STEP:
            return


async def idempotency_hashes(engine: AsyncEngine, scope_id: str, queue: str) -> list[str]:
    """Hashes of the keys that the rows remember for a queue."""
    query = select(idempotency.c.key_hash).where(
        idempotency.c.scope_id == scope_id, idempotency.c.queue == queue
    )
    async with reading(engine) as connection:
        return [row[0] for row in await connection.execute(query)]


async def remove_queue_rows(engine: AsyncEngine, scope_id: str, queue: str) -> None:
    """Messages, archived ones too, and idempotency keys. The queue's own row is left."""
    for table in (messages, message_archive):
        await _delete_by_id(engine, table, table.c.scope_id == scope_id, table.c.queue == queue)
    async with engine.begin() as connection:
        for table in (idempotency, rates):
            await connection.execute(
                delete(table).where(table.c.scope_id == scope_id, table.c.queue == queue)
            )


async def remove_scope_rows(engine: AsyncEngine, scope_id: str) -> None:
    """All but the rows of the scope and of its queues."""
    tables = (messages, message_archive, jobs, schemas, hitl_patterns, routing_rules, subscriptions)
    for table in tables:
        await _delete_by_id(engine, table, table.c.scope_id == scope_id, all_goes=True)
    async with engine.begin() as connection:
        for table in (idempotency, rates):
            await connection.execute(delete(table).where(table.c.scope_id == scope_id))
    await access.remove_of_scope(engine, scope_id)
