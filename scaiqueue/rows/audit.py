"""Rows of the audit: appended and read, never changed; and its checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

import msgspec
from sqlalchemy import ColumnElement, delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.audit.chain import AuditRow, Link, Page, chained, pruned_page
from scaiqueue.rows import packets
from scaiqueue.rows.engine import is_sqlite, reading
from scaiqueue.rows.literals import joined
from scaiqueue.rows.tables import audit_checkpoints, audit_log


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The chain was whole up to `seq`, whose row has `hash`; `at` in ms."""

    id: str
    seq: int
    hash: str
    at: int


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows: of a tenant, and of one scope unless None. Each of `texts` must occur in the entries, and
    one of `either`, if there are any: rows that can't hold what is looked for are not read. Times in ms."""

    tenant_id: str
    scope_id: str | None = None
    texts: Sequence[str] = ()
    either: Sequence[str] = ()
    since: int | None = None
    until: int | None = None


async def _end(conn: AsyncConnection) -> Link:
    """Where the chain ends. The last row is locked, so that one writer at a time appends."""
    c = audit_log.c
    query = select(c.seq, c.hash).order_by(c.seq.desc()).limit(1).with_for_update()
    found = (await conn.execute(query)).first()
    return Link(*found) if found else Link()


_INSERT = f"INSERT INTO {audit_log.name} ({','.join(AuditRow.__struct_fields__)})"


class Appender:
    """Appends pages in one transaction. A call that is repeated after a failure finds what the failed one
    may have written after all."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._end: Link | None = None
        self.tried: Link | None = None

    async def append(self, pages: Sequence[Page]) -> None:
        """Raises IntegrityError where another writer was first: call again."""
        end, self._end = self._end, None
        async with self._engine.begin() as conn:
            if await self._written(conn):
                rows = []
            else:
                # Where nobody wrote since, the next number is free: that saves to ask for it.
                rows = chained(end or await _end(conn), pages)
                self.tried = rows[0].link
                await _insert(conn, rows)
        self._end = rows[-1].link if rows else None
        self.tried = None

    async def _written(self, conn: AsyncConnection) -> bool:
        if self.tried is None:
            return False
        query = select(audit_log.c.hash).where(audit_log.c.seq == self.tried.seq)
        return (await conn.execute(query)).scalar() == self.tried.hash


async def _insert(conn: AsyncConnection, rows: Sequence[AuditRow]) -> None:
    """For MariaDB as literals: its driver escapes long texts slowly."""
    if is_sqlite(conn):
        await conn.execute(insert(audit_log), [msgspec.structs.asdict(row) for row in rows])
    else:
        values = ",".join(f"({joined(msgspec.structs.astuple(row))})" for row in rows)
        await packets.run(conn, [f"{_INSERT} VALUES {values}"])


async def after(engine: AsyncEngine, seq: int, limit: int) -> list[AuditRow]:
    """Whole rows in the order of the chain."""
    query = select(audit_log).where(audit_log.c.seq > seq).order_by(audit_log.c.seq).limit(limit)
    async with reading(engine) as conn:
        return [AuditRow(**row) for row in (await conn.execute(query)).mappings()]


async def before(engine: AsyncEngine, wanted: Wanted, seq: int, limit: int) -> tuple[list[AuditRow], int]:
    """The newest up to number `seq` that may hold what is wanted, of the `limit` newest at all; and the
    number below which to go on, 0 where nothing is left."""
    c = audit_log.c
    chosen = [c.tenant_id == wanted.tenant_id, c.seq <= seq]
    if wanted.scope_id is not None:
        chosen.append(c.scope_id == wanted.scope_id)
    if wanted.until is not None:
        chosen.append(c.first_at < wanted.until)
    if wanted.since is not None:
        chosen.append(c.last_at >= wanted.since)
    window = select(c.seq).where(*chosen).order_by(c.seq.desc()).limit(limit)
    async with reading(engine) as conn:
        seqs = list((await conn.execute(window)).scalars())
        if not seqs:
            return [], 0
        held = [_holds(text) for text in wanted.texts]
        if wanted.either:
            held.append(or_(*map(_holds, wanted.either)))
        query = select(audit_log).where(c.seq.in_(seqs), *held).order_by(c.seq.desc())
        rows = [AuditRow(**row) for row in (await conn.execute(query)).mappings()]
    return rows, seqs[-1] - 1 if len(seqs) == limit else 0


def _holds(text: str) -> ColumnElement[bool]:
    return func.instr(audit_log.c.entries, text) > 0


async def checkpoints(engine: AsyncEngine, seq: int) -> list[Checkpoint]:
    """From number `seq` on."""
    c = audit_checkpoints.c
    async with reading(engine) as conn:
        found = await conn.execute(select(audit_checkpoints).where(c.seq >= seq).order_by(c.seq))
        return [Checkpoint(**row) for row in found.mappings()]


async def newest_checkpoint(engine: AsyncEngine) -> Checkpoint | None:
    query = select(audit_checkpoints).order_by(audit_checkpoints.c.seq.desc()).limit(1)
    async with reading(engine) as conn:
        found = (await conn.execute(query)).mappings().first()
    return Checkpoint(**found) if found else None


async def checkpoint_page(engine: AsyncEngine, before_id: str, limit: int) -> list[Checkpoint]:
    """Newest first."""
    query = select(audit_checkpoints).order_by(audit_checkpoints.c.id.desc()).limit(limit)
    if before_id:
        query = query.where(audit_checkpoints.c.id < before_id)
    async with reading(engine) as conn:
        return [Checkpoint(**row) for row in (await conn.execute(query)).mappings()]


async def add_checkpoint(engine: AsyncEngine, checkpoint: Checkpoint) -> None:
    async with engine.begin() as conn:
        await conn.execute(insert(audit_checkpoints).values(**msgspec.structs.asdict(checkpoint)))


async def prune(engine: AsyncEngine, until: int, now: int, limit: int) -> int:
    """Delete the oldest rows, at most `limit`, that are from before `until` (ms). Returns how many went. The
    chain itself says so: without that row whoever verifies it would miss them."""
    c = audit_log.c
    query = select(c.seq, c.hash, c.last_at).order_by(c.seq).limit(limit)
    async with engine.begin() as conn:
        end = await _end(conn)
        old = [*takewhile(lambda row: row.last_at < until, (await conn.execute(query)).all())]
        if not old:
            return 0
        last = Link(old[-1].seq, old[-1].hash)
        (row,) = chained(end, [pruned_page(last, now)])
        await conn.execute(insert(audit_log).values(**msgspec.structs.asdict(row)))
        await conn.execute(delete(audit_log).where(c.seq <= last.seq))
        await conn.execute(delete(audit_checkpoints).where(audit_checkpoints.c.seq <= last.seq))
    return len(old)
