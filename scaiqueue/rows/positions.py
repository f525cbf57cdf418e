"""How far each shard's journal is in the rows. Moves are compare-and-set: they fence out a second owner."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Table, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scaiqueue.records import Version
from scaiqueue.rows.tables import journal_positions


class Position(NamedTuple):
    """`version` is the last entry that the rows hold; n = -1: none of its epoch. `published` is the shard's
    count of published messages up to there."""

    version: Version
    published: int


class Step(NamedTuple):
    """A move of a shard's position from `old`, which must be what it is, to `new`; `at` in ms."""

    shard: int
    old: Version
    new: Version
    published: int
    at: int


async def load(
    conn: AsyncConnection, shards: Iterable[int], table: Table = journal_positions
) -> dict[int, Position]:
    """Positions of `shards`; one without a row is left out."""
    query = select(table.c.shard, table.c.epoch, table.c.n, table.c.published)
    found = await conn.execute(query.where(table.c.shard.in_(list(shards))))
    return {row.shard: Position(Version(row.epoch, row.n), row.published) for row in found}


async def number_of_shards(conn: AsyncConnection) -> int:
    """What the installation was made with; 0 before the first start."""
    return int((await conn.execute(select(func.count()).select_from(journal_positions))).scalar_one())


async def advance(
    conn: AsyncConnection,
    shard: int,
    old: Version,
    new: Version,
    published: int,
    now_ms: int,
    table: Table = journal_positions,
) -> bool:
    """Move from `old` to `new`; False when the position is not `old` (any more)."""
    moved = await conn.execute(
        update(table)
        .where(table.c.shard == shard, table.c.epoch == old.epoch, table.c.n == old.n)
        .values(epoch=new.epoch, n=new.n, published=published, updated_at=now_ms)
    )
    return moved.rowcount == 1


async def create(conn: AsyncConnection, shard: int, version: Version, now_ms: int) -> None:
    """The first row of a shard. Raises IntegrityError when there is one."""
    await conn.execute(
        insert(journal_positions).values(
            shard=shard, epoch=version.epoch, n=version.n, published=0, updated_at=now_ms
        )
    )
