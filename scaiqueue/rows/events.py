"""Reads what events are told from, in the order of the journal, and adds what has no place of its own in it.

Rows of a shard are committed in their order (its position moves in the same transaction), so whoever has read
up to a place has missed nothing before it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, and_, delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from scaiqueue.records import Version
from scaiqueue.rows.bulk import EventRow
from scaiqueue.rows.event_tables import event_addenda, event_horizons
from scaiqueue.rows.tables import events, journal_positions

ALL = 2**31 - 1
ROWS = 200
_place = re.compile(r"([0-9]{1,8})\.(-1|[0-9]{1,15})\.([0-9]{1,10})\.([0-9]{1,10})")


class Place(NamedTuple):
    """Of an event in its shard: `part` counts the events of one row, `place` rows behind a journal entry,
    0 for the entry itself. `part` = ALL: all of the row."""

    epoch: int
    n: int
    place: int = 0
    part: int = ALL

    def __str__(self) -> str:
        return ".".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> Place:
        """Raises ValueError."""
        found = _place.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no place")
        return cls(*map(int, found.groups()))


FIRST = Place(0, -1, 0, 0)


class StoredEvents(NamedTuple):
    """A journal entry, or what stands behind one. `origin` is what ids of its events are made from."""

    epoch: int
    n: int
    place: int
    origin: str
    tenant_id: str
    scope_id: str
    op: str
    queue: str
    at: int
    transitions: str
    detail: str


class Addendum(NamedTuple):
    """What is told beside the journal; `origin` "": its own place."""

    tenant_id: str
    scope_id: str
    op: str
    queue: str
    at: int
    transitions: str
    detail: str
    origin: str = ""


async def ends(conn: AsyncConnection, shards: Collection[int]) -> dict[int, Place]:
    """The last place of each of `shards`."""
    p, a = journal_positions.c, event_addenda.c
    behind = journal_positions.outerjoin(
        event_addenda, and_(a.shard == p.shard, a.epoch == p.epoch, a.n == p.n)
    )
    query = (
        select(p.shard, p.epoch, p.n, func.coalesce(func.max(a.place), 0))
        .select_from(behind)
        .where(p.shard.in_(shards))
        .group_by(p.shard, p.epoch, p.n)
    )
    return {shard: Place(epoch, n, place) for shard, epoch, n, place in await conn.execute(query)}


async def horizon(conn: AsyncConnection, shard: int) -> Version | None:
    """Up to where events are kept no longer; None: all are."""
    c = event_horizons.c
    found = (await conn.execute(select(c.epoch, c.n).where(c.shard == shard))).first()
    return None if found is None else Version(found.epoch, found.n)


async def of_scope(conn: AsyncConnection, scope_id: str, after: Place, end: Place) -> list[StoredEvents]:
    """The first rows of a scope that hold something behind `after`, up to `end`."""
    return await _between(
        conn, [events.c.scope_id == scope_id], [event_addenda.c.scope_id == scope_id], after, end
    )


async def of_shard(
    conn: AsyncConnection, shard: int, tenant: str, after: Place, end: Place
) -> list[StoredEvents]:
    """As `of_scope`, of all scopes that a tenant has in a shard."""
    e, a = events.c, event_addenda.c
    mine = [e.shard == shard, e.tenant_id == tenant], [a.shard == shard, a.tenant_id == tenant]
    return await _between(conn, *mine, after, end)


async def _between(
    conn: AsyncConnection,
    of_events: list[ColumnElement[bool]],
    of_addenda: list[ColumnElement[bool]],
    after: Place,
    end: Place,
) -> list[StoredEvents]:
    e, a = events.c, event_addenda.c
    begun = e.n >= after.n if after.place == 0 else e.n > after.n
    entries = _entries().where(
        *of_events,
        or_(e.epoch > after.epoch, and_(e.epoch == after.epoch, begun)),
        or_(e.epoch < end.epoch, and_(e.epoch == end.epoch, e.n <= end.n)),
    )
    later = or_(a.n > after.n, and_(a.n == after.n, a.place >= after.place))
    sooner = or_(a.n < end.n, and_(a.n == end.n, a.place <= end.place))
    addenda = select(*(a[name] for name in StoredEvents._fields)).where(
        *of_addenda,
        or_(a.epoch > after.epoch, and_(a.epoch == after.epoch, later)),
        or_(a.epoch < end.epoch, and_(a.epoch == end.epoch, sooner)),
    )
    found = [_entry(row) for row in await conn.execute(entries.order_by(e.epoch, e.n).limit(ROWS))]
    order = (a.epoch, a.n, a.place)
    found += [StoredEvents(*row) for row in await conn.execute(addenda.order_by(*order).limit(ROWS))]
    return sorted(found, key=lambda row: row[:3])[:ROWS]


def _entries() -> Select[Any]:
    names = ("epoch", "n", "tenant_id", "scope_id", "op", "queue", "at", "transitions", "detail")
    return select(*(events.c[name] for name in names))


def _entry(row: Row[Any]) -> StoredEvents:
    place: tuple[Any, ...] = (row.epoch, row.n, 0, f"{row.epoch}-{row.n}")
    return StoredEvents(*place, *row[2:])


async def at_place(conn: AsyncConnection, shard: int, at: Place) -> StoredEvents | None:
    """The row that holds an event; None: it is kept no longer."""
    if at.place:
        a = event_addenda.c
        query = select(*(a[name] for name in StoredEvents._fields))
        place = (a.shard == shard, a.epoch == at.epoch, a.n == at.n, a.place == at.place)
        row = (await conn.execute(query.where(*place))).first()
        return None if row is None else StoredEvents(*row)
    c = events.c
    entry = _entries().where(c.shard == shard, c.epoch == at.epoch, c.n == at.n)
    found = (await conn.execute(entry)).first()
    return None if found is None else _entry(found)


async def add(conn: AsyncConnection, shard: int, addenda: Iterable[Addendum]) -> None:
    """Behind the entry that the rows have reached, which holds still until the transaction ends."""
    p, a = journal_positions.c, event_addenda.c
    position = select(p.epoch, p.n).where(p.shard == shard).with_for_update()
    epoch, n = tuple((await conn.execute(position)).first() or (0, -1))
    taken = select(func.max(a.place)).where(a.shard == shard, a.epoch == epoch, a.n == n)
    last = (await conn.execute(taken)).scalar() or 0
    rows = [
        {
            "shard": shard,
            "epoch": epoch,
            "n": n,
            "place": place,
            **addendum._asdict(),
            "origin": addendum.origin or f"{epoch}-{n}+{place}",
        }
        for place, addendum in enumerate(addenda, last + 1)
    ]
    if rows:
        await conn.execute(insert(event_addenda), rows)


def told_again(row: EventRow) -> Addendum:
    """A journal entry that comes into the rows when they are further already: readers have passed it."""
    return Addendum(
        row.tenant_id, row.scope_id, row.op, row.queue, row.at, row.transitions, row.detail,
        f"{row.epoch}-{row.n}",
    )  # fmt: skip


async def forget_up_to(conn: AsyncConnection, shard: int, last: Version) -> None:
    """Delete what a shard tells up to an entry, and remember that it is gone."""
    for c, table in ((events.c, events), (event_addenda.c, event_addenda)):
        passed = or_(c.epoch < last.epoch, and_(c.epoch == last.epoch, c.n <= last.n))
        await conn.execute(delete(table).where(c.shard == shard, passed))
    await conn.execute(delete(event_horizons).where(event_horizons.c.shard == shard))
    await conn.execute(insert(event_horizons).values(shard=shard, epoch=last.epoch, n=last.n))
