"""Rows of jobs: long work that any API process can go on with when its runner is gone."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.moments import now_ms
from scaiqueue.rows.engine import reading
from scaiqueue.rows.tables import jobs

RUNNING = "running"


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """`parameters` and `progress` are JSON. A running job whose `updated_at` is old has lost its runner."""

    id: str
    tenant_id: str
    scope_id: str
    kind: str
    state: str
    parameters: str
    progress: str
    cancel_requested: bool
    actor: str
    created_at: int
    updated_at: int


def _row(values: Any) -> JobRow:
    return JobRow(**values)


async def create(engine: AsyncEngine, job: JobRow) -> None:
    async with engine.begin() as connection:
        await connection.execute(insert(jobs).values(**msgspec.structs.asdict(job)))


async def find(engine: AsyncEngine, scope_id: str, job_id: str) -> JobRow | None:
    query = select(jobs).where(jobs.c.scope_id == scope_id, jobs.c.id == job_id)
    async with reading(engine) as connection:
        row = (await connection.execute(query)).mappings().first()
    return None if row is None else _row(row)


async def page(engine: AsyncEngine, scope_id: str, after: str, limit: int) -> list[JobRow]:
    query = select(jobs).where(jobs.c.scope_id == scope_id, jobs.c.id > after)
    async with reading(engine) as connection:
        rows = await connection.execute(query.order_by(jobs.c.id).limit(limit))
        return [_row(row) for row in rows.mappings()]


async def request_cancel(engine: AsyncEngine, job_id: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(
            update(jobs).where(jobs.c.id == job_id, jobs.c.state == RUNNING).values(cancel_requested=True)
        )


async def save(engine: AsyncEngine, job: JobRow, state: str, progress: str) -> JobRow | None:
    """Write progress; None if another runner has taken the job over meanwhile."""
    now = max(now_ms(), job.updated_at + 1)
    async with engine.begin() as connection:
        saved = await connection.execute(
            update(jobs)
            .where(jobs.c.id == job.id, jobs.c.updated_at == job.updated_at, jobs.c.state == RUNNING)
            .values(state=state, progress=progress, updated_at=now)
        )
        if saved.rowcount != 1:
            return None
        row = (await connection.execute(select(jobs).where(jobs.c.id == job.id))).mappings().one()
    return _row(row)


async def abandoned(engine: AsyncEngine, kind: str, older_than_ms: int) -> list[JobRow]:
    """Running jobs that nobody has written to for so long."""
    query = select(jobs).where(
        jobs.c.kind == kind, jobs.c.state == RUNNING, jobs.c.updated_at < now_ms() - older_than_ms
    )
    async with reading(engine) as connection:
        return [_row(row) for row in (await connection.execute(query.limit(100))).mappings()]
