"""Statements of one unit of work: the shard's lock, messages by id, settings, counters, claim ids."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    LargeBinary,
    cast,
    delete,
    func,
    insert,
    select,
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from scaiqueue.keys import ScopeKeys
from scaiqueue.records import Flag, Outcome, Record, Version
from scaiqueue.rows import copies
from scaiqueue.rows.engine import clock
from scaiqueue.rows.positions import Position
from scaiqueue.rows.queues import QueueRow
from scaiqueue.rows.tables import (
    fallback_claims,
    fallback_scopes,
    idempotency,
    journal_positions,
    message_archive,
    messages,
    queues,
    routing_rules,
    scopes,
)

# Above the numbers that Redis gave out and the rows never heard of.
SEQ_MARGIN = 1_000_000
NEWEST = 1000

_CONTENT = ("header", "body", "history", "response")
# Bytes of the envelope: the header, a line break, and the body.
_SIZE = 1 + func.length(cast(messages.c.header, LargeBinary)) + func.length(messages.c.body)
RECORD_COLUMNS = [*(column for column in messages.c if column.name not in _CONTENT), _SIZE.label("size")]


class Stored(NamedTuple):
    """A message as its row has it, without its content."""

    id: str
    record: Record
    overlay: str
    outcome: Outcome


class Counters(NamedTuple):
    """The last publish number and claim token that a scope gave out in this term."""

    seq: int
    token: int


class GivenClaim(NamedTuple):
    """`ids` of messages, joined; until the last of their leases ends."""

    key_hash: str
    token: str
    ids: str
    expires_at: int


async def lock_shard(conn: AsyncConnection, shard: int) -> tuple[Position, int] | None:
    """The shard's position, held until the transaction ends, and the row store's clock in ms."""
    c = journal_positions.c
    query = select(c.epoch, c.n, c.published, clock(conn)).where(c.shard == shard).with_for_update()
    found = (await conn.execute(query)).first()
    return None if found is None else (Position(Version(found[0], found[1]), found[2]), int(found[3]))


async def scope_state(conn: AsyncConnection, scope: ScopeKeys) -> str:
    """ "" where there is no such scope."""
    query = select(scopes.c.state).where(scopes.c.id == scope.scope_id, scopes.c.tenant_id == scope.tenant)
    return str((await conn.execute(query)).scalar_one_or_none() or "")


async def routes_publishing(conn: AsyncConnection, scope_id: str) -> bool:
    """Rules are to be asked about what is published in the scope: that only the scripts can."""
    query = select(routing_rules.c.id).where(
        routing_rules.c.scope_id == scope_id,
        routing_rules.c.trigger == "message_published",
        routing_rules.c.enabled.is_(True),
    )
    return (await conn.execute(query.limit(1))).first() is not None


async def queue_rows(conn: AsyncConnection, scope_id: str, slugs: Collection[str]) -> list[QueueRow]:
    query = select(queues).where(queues.c.scope_id == scope_id, queues.c.slug.in_(slugs))
    return [QueueRow(**row) for row in (await conn.execute(query)).mappings()]


def record_of(row: Any, shared: str = "") -> Record:
    return Record(
        queue=row.queue,
        state=row.state,
        attempts=row.attempts,
        seq=row.seq,
        rank=row.priority_rank,
        deadline=row.deadline,
        expires_at=row.expires_at,
        size=row.size,
        token=row.token,
        holder=row.holder,
        verb=row.verb,
        touched_epoch=row.touched_epoch,
        touched_n=row.touched_n,
        max_retries=row.max_retries,
        created_at=row.created_at,
        flags=row.flags,
        due_at=row.due_at,
        updated_at=row.updated_at,
        origin=tuple(msgspec.json.decode(row.origin)) if row.origin else (),
        shared=shared,
    )


async def load(conn: AsyncConnection, scope_id: str, ids: Sequence[str]) -> dict[str, Stored]:
    """Messages of the live table by id. What another transaction holds is passed over where rows can be
    locked one by one, so that no call waits for housekeeping."""
    query = (
        select(*RECORD_COLUMNS, messages.c.response)
        .where(messages.c.id.in_(ids), messages.c.scope_id == scope_id)
        .with_for_update(skip_locked=True)
    )
    found = (await conn.execute(query)).all()
    parents = await _parents(conn, found)
    return {
        row.id: Stored(
            row.id,
            record_of(row, parents.get(row.id, "")),
            row.overlay,
            Outcome(bytes(row.response), row.failure_reason),
        )
        for row in found
    }


async def _parents(conn: AsyncConnection, rows: Sequence[Any]) -> dict[str, str]:
    """Of the copies for subscriptions among the rows, whose bodies they have."""
    sharing = [row.id for row in rows if row.flags & Flag.shared_body]
    return await copies.parents(conn, sharing) if sharing else {}


async def contents(conn: AsyncConnection, ids: Sequence[str]) -> dict[str, tuple[bytes, bytes]]:
    """Header and body by id."""
    query = select(messages.c.id, messages.c.header, messages.c.body, messages.c.flags)
    rows = (await conn.execute(query.where(messages.c.id.in_(ids)))).all()
    parents = await _parents(conn, rows)
    bodies = await copies.bodies(conn, set(parents.values())) if parents else {}
    held = {name: bodies.get(parent, b"") for name, parent in parents.items()}
    return {row.id: (row.header.encode(), bytes(row.body) or held.get(row.id, b"")) for row in rows}


async def headers(conn: AsyncConnection, ids: Sequence[str]) -> dict[str, bytes]:
    """By id."""
    if not ids:
        return {}
    query = select(messages.c.id, messages.c.header).where(messages.c.id.in_(ids))
    return {row.id: row.header.encode() for row in await conn.execute(query)}


async def known_ids(conn: AsyncConnection, ids: Sequence[str]) -> set[str]:
    """Which of `ids` the rows have, archived ones too."""
    queries = [select(table.c.id).where(table.c.id.in_(ids)) for table in (messages, message_archive)]
    return set((await conn.execute(union_all(*queries))).scalars())


async def idempotency_owners(
    conn: AsyncConnection, scope_id: str, hashes: Collection[str], now: int
) -> dict[tuple[str, str], tuple[str, str]]:
    """(queue, key hash) → (message id, digest) of keys that are still remembered."""
    c = idempotency.c
    query = select(c.queue, c.key_hash, c.message_id, c.digest).where(
        c.scope_id == scope_id, c.key_hash.in_(hashes), c.expires_at > now
    )
    return {(row[0], row[1]): (row[2], row[3]) for row in await conn.execute(query)}


async def depth(conn: AsyncConnection, scope_id: str, queue: str) -> int:
    """How many are pending or scheduled."""
    c = messages.c
    query = select(func.count()).where(c.scope_id == scope_id, c.queue == queue, c.state.in_((1, 2)))
    return int((await conn.execute(query)).scalar_one())


async def oldest_waiting(conn: AsyncConnection, scope_id: str, queue: str, limit: int) -> list[str]:
    """Ids of what is pending or scheduled, as they were published."""
    c = messages.c
    query = select(c.id).where(c.scope_id == scope_id, c.queue == queue, c.state.in_((1, 2)))
    return list((await conn.execute(query.order_by(c.seq).limit(limit))).scalars())


async def counters(conn: AsyncConnection, scope_id: str, term: int, epoch: int) -> Counters:
    """Made at a term's first need: above all that was given out before."""
    c = fallback_scopes.c
    query = select(c.seq, c.token).where(c.term == term, c.scope_id == scope_id)
    found = (await conn.execute(query)).first()
    if found is not None:
        return Counters(*found)
    seq = await _newest_seq(conn, scope_id) + (SEQ_MARGIN if epoch > 1 else 0)
    made = Counters(seq, 0)
    await conn.execute(insert(fallback_scopes).values(term=term, scope_id=scope_id, **made._asdict()))
    return made


async def set_counters(conn: AsyncConnection, scope_id: str, term: int, to: Counters) -> None:
    c = fallback_scopes.c
    await conn.execute(
        update(fallback_scopes).where(c.term == term, c.scope_id == scope_id).values(**to._asdict())
    )


async def _newest_seq(conn: AsyncConnection, scope_id: str) -> int:
    """Among the newest ids: these rise with time as the numbers do, and the margin is wide."""
    largest = 0
    for table in (messages, message_archive):
        query = select(table.c.seq).where(table.c.scope_id == scope_id).order_by(table.c.id.desc())
        largest = max([largest, *(await conn.execute(query.limit(NEWEST))).scalars()])
    return largest


async def claims_given(
    conn: AsyncConnection, scope_id: str, term: int, hashes: Collection[str], now: int
) -> dict[str, GivenClaim]:
    """What claim ids were given, by the hash of their key."""
    c = fallback_claims.c
    query = select(c.key_hash, c.token, c.ids, c.expires_at).where(
        c.term == term, c.scope_id == scope_id, c.key_hash.in_(hashes), c.expires_at > now
    )
    return {row[0]: GivenClaim(*row) for row in await conn.execute(query)}


async def remember_claims(
    conn: AsyncConnection, scope_id: str, term: int, given: Sequence[GivenClaim]
) -> None:
    c = fallback_claims.c
    hashes = [claim.key_hash for claim in given]
    await conn.execute(
        delete(fallback_claims).where(c.term == term, c.scope_id == scope_id, c.key_hash.in_(hashes))
    )
    await conn.execute(
        insert(fallback_claims),
        [{"term": term, "scope_id": scope_id, **claim._asdict()} for claim in given],
    )
