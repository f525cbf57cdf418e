"""The sorted sets of the queues, as rows: made from the messages when a queue is first claimed from in a
term, kept from then on. So messages need no index in their queue's order, which each commit would pay for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, delete, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.fallback.rules import Rules
from scaiqueue.records import Record, State
from scaiqueue.rows.tables import fallback_claims, fallback_queues, fallback_scopes
from scaiqueue.rows.tables import fallback_members as table

PAGE = 2000
FILLED = 0
_FIRST_STATE, _LAST_STATE = State.scheduled, State.awaiting_review


class Kind(IntEnum):
    """The sets; all but `pending` are ordered by an instant, and settled in this order."""

    pending = 1
    claimed = 2
    expiry = 3
    scheduled = 4
    review = 5


TIMED = tuple(kind.value for kind in Kind if kind is not Kind.pending)
_KIND_OF_STATE = {
    State.scheduled: Kind.scheduled,
    State.pending: Kind.pending,
    State.claimed: Kind.claimed,
    State.awaiting_review: Kind.review,
}


class Member(NamedTuple):
    kind: int
    score: int


class Queue(NamedTuple):
    """A queue in a term without Redis."""

    term: int
    scope_id: str
    slug: str


def members_of(record: Record, rules: Rules, now: int) -> list[Member]:
    """Where a message of this record stands."""
    kind = _KIND_OF_STATE.get(State(record.state))
    if kind is None:
        return []
    found = [Member(kind, rules.score(record, now) if kind is Kind.pending else record.due_at)]
    if kind is not Kind.claimed and record.expires_at:
        found.append(Member(Kind.expiry, record.expires_at))
    return found


async def replace(
    conn: AsyncConnection, term: int, scope_id: str, moved: Mapping[str, tuple[str, Sequence[Member]]]
) -> None:
    """Message id → its queue and members, instead of those that it had."""
    if not moved:
        return
    await conn.execute(delete(table).where(table.c.term == term, table.c.message_id.in_(list(moved))))
    made = [
        {"term": term, "message_id": name, "scope_id": scope_id, "queue": slug, **member._asdict()}
        for name, (slug, members) in moved.items()
        for member in members
    ]
    if made:
        await conn.execute(insert(table), made)


def _of(queue: Queue) -> ColumnElement[bool]:
    c = table.c
    return and_(c.term == queue.term, c.scope_id == queue.scope_id, c.queue == queue.slug)


async def following(
    conn: AsyncConnection, queue: Queue, after: tuple[int, str], limit: int
) -> list[tuple[int, str]]:
    """The next pending messages after (score, id), in order, as (score, id)."""
    c = table.c
    score, message_id = after
    beyond = or_(c.score > score, and_(c.score == score, c.message_id > message_id))
    query = select(c.score, c.message_id).where(_of(queue), c.kind == Kind.pending, beyond)
    found = await conn.execute(query.order_by(c.score, c.message_id).limit(limit))
    return [(row[0], row[1]) for row in found]


async def overdue(conn: AsyncConnection, queue: Queue, now: int, limit: int) -> list[tuple[int, str]]:
    """(kind, id) of those whose instant has come: kind by kind, the earliest first."""
    c = table.c
    query = select(c.kind, c.message_id).where(_of(queue), c.kind.in_(TIMED), c.score <= now)
    found = await conn.execute(query.order_by(c.kind, c.score, c.message_id).limit(limit))
    return [(row[0], row[1]) for row in found]


async def overdue_queues(conn: AsyncConnection, term: int, now: int, limit: int) -> list[tuple[str, str]]:
    """(scope id, queue) of those in which something is due."""
    c = table.c
    due = or_(*(and_(c.kind == kind, c.score <= now) for kind in TIMED))
    found = await conn.execute(select(c.scope_id, c.queue).where(c.term == term, due).distinct().limit(limit))
    return [(row[0], row[1]) for row in found]


async def kept(conn: AsyncConnection, term: int, scope_id: str, slugs: Iterable[str]) -> set[str]:
    """Those of the queues whose sets are kept in this term, whole or still being filled."""
    c = fallback_queues.c
    query = select(c.queue).where(c.term == term, c.scope_id == scope_id, c.queue.in_(list(slugs)))
    return set((await conn.execute(query)).scalars())


async def drop_terms(engine: AsyncEngine, last: int) -> None:
    """Delete what the terms up to `last` have left behind, in steps."""
    c = table.c
    found = True
    while found:
        async with engine.begin() as conn:
            query = select(c.term, c.message_id).where(c.term <= last).order_by(c.term, c.message_id)
            keys = (await conn.execute(query.limit(PAGE))).all()
            found = bool(keys)
            for term in {key.term for key in keys}:
                ids = [key.message_id for key in keys if key.term == term]
                await conn.execute(delete(table).where(c.term == term, c.message_id.in_(ids)))
    async with engine.begin() as conn:
        for other in (fallback_queues, fallback_scopes, fallback_claims):
            await conn.execute(delete(other).where(other.c.term <= last))
