"""What recovery reads back from the rows: messages of a shard, counters of a scope, idempotency keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Select, Table, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.records import Flag, Record, Version, encode_record
from scaiqueue.rows import copies
from scaiqueue.rows.bulk import IdempotencyRow
from scaiqueue.rows.engine import reading
from scaiqueue.rows.tables import events, idempotency, message_archive, messages

PAGE = 1000
EVENTS = 100
LOOKED_AT = 5000
NEWEST = 1000
ID_LENGTH = 36
LIVE_STATES = (1, 2, 3, 4, 9)
# Each message's own, and then what many have in common.
_OWN = ("id", "seq", "created_at", "tenant_id", "scope_id", "header", "body", "overlay", "response")
_COMMON = (
    "failure_reason", "queue", "state", "attempts", "priority_rank", "deadline", "expires_at", "due_at",
    "max_retries", "flags", "token", "holder", "verb", "origin", "updated_at", "touched_epoch", "touched_n",
)  # fmt: skip
_decode_groups = msgspec.json.Decoder(list[tuple[str, str, int, str, str, str]]).decode
_pack = msgspec.msgpack.Encoder().encode


class Restorable(NamedTuple):
    """One message as the `restore` script takes it; a terminal one goes without its content, as does one that
    shares its envelope with another of the same page."""

    tenant: str
    scope_id: str
    id: str
    record: bytes
    envelope: bytes
    overlay: bytes
    outcome: bytes


class Lane(NamedTuple):
    """Messages of one state in one queue."""

    scope_id: str
    queue: str
    state: int
    messages: int


def _select(table: Table) -> Select[Any]:
    return select(*(table.c[name] for name in _OWN + _COMMON))


class _Template(NamedTuple):
    """The record of all messages with the same common columns, without the four parts that differ."""

    head: bytes
    rank: bytes
    retries: bytes
    tail: bytes
    live: bool
    with_outcome: bool


def _template(row: Any, shared: str = "") -> _Template:
    record = encode_record(
        Record(
            queue=row.queue,
            state=row.state,
            attempts=row.attempts,
            seq=0,
            rank=row.priority_rank,
            deadline=row.deadline,
            expires_at=row.expires_at,
            size=0,
            token=row.token,
            holder=row.holder,
            verb=row.verb,
            touched_epoch=row.touched_epoch,
            touched_n=row.touched_n,
            max_retries=row.max_retries,
            created_at=0,
            flags=row.flags,
            due_at=row.due_at,
            updated_at=row.updated_at,
            origin=tuple(msgspec.json.decode(row.origin)) if row.origin else (),
            shared=shared,
        )
    )
    live = row.state in LIVE_STATES
    with_outcome = live and bool(row.flags & Flag.outcome)
    return _Template(record[:35], record[41:43], record[47:48], record[54:], live, with_outcome)


async def _read(engine: AsyncEngine, query: Select[Any]) -> list[Restorable]:
    """Of a query of `_select`."""
    async with reading(engine) as conn:
        rows = (await conn.execute(query)).all()
        sharing = [row.id for row in rows if row.flags & Flag.shared_body]
        parents = await copies.parents(conn, sharing) if sharing else {}
        bodies = await copies.bodies(conn, set(parents.values())) if parents else {}
    templates: dict[Any, _Template] = {}
    given: set[str] = set()
    found = []
    for row in rows:
        message_id, seq, created_at, tenant, scope_id, header, body, overlay, response, *_ = row
        common = row[len(_OWN) :]
        parent = parents.get(message_id)
        template = templates.get((common, parent))
        if template is None:
            template = templates[common, parent] = _template(row, parent or "")
        envelope = header.encode() + b"\n" + (body or bodies.get(parent or "", b""))
        record = (
            template.head + seq.to_bytes(6) + template.rank + len(envelope).to_bytes(4) + template.retries
            + created_at.to_bytes(6) + template.tail
        )  # fmt: skip
        if parent:
            envelope = b"" if parent in given else envelope
            given.add(parent)
        outcome = _outcome(response, row.failure_reason) if template.with_outcome else b""
        found.append(
            Restorable(tenant, scope_id, message_id, record, envelope, overlay.encode(), outcome)
            if template.live
            else Restorable(tenant, scope_id, message_id, record, b"", b"", b"")
        )
    return found


def _outcome(response: bytes, reason: str) -> bytes:
    """As the scripts pack it, text; a response that is none goes as binary."""
    try:
        return _pack((response.decode(), reason))
    except UnicodeDecodeError:
        return _pack((response, reason))


async def by_ids(engine: AsyncEngine, ids: Collection[str]) -> dict[str, Restorable]:
    """Those of the messages that are live."""
    wanted = (messages.c.id.in_(ids), messages.c.state.in_(LIVE_STATES))
    return {found.id: found for found in await _read(engine, _select(messages).where(*wanted))}


async def live_lanes(engine: AsyncEngine, scope_id: str) -> list[Lane]:
    """Where the scope has messages that are not terminal, and how many."""
    c = messages.c
    # Jumps from one queue and state to the next in the index, however many rows each has.
    groups = select(c.queue, c.state).where(c.scope_id == scope_id).distinct()
    found = []
    async with reading(engine) as conn:
        for queue, state in (await conn.execute(groups)).all():
            if state in LIVE_STATES:
                of_lane = (c.scope_id == scope_id, c.queue == queue, c.state == state)
                count = (await conn.execute(select(func.count()).where(*of_lane))).scalar_one()
                found.append(Lane(scope_id, queue, state, count))
    return found


async def live_messages(engine: AsyncEngine, lane: Lane) -> AsyncIterator[list[Restorable]]:
    """Every message of a lane, in pages by id."""
    c = messages.c
    after = ""
    while True:
        of_lane = (c.scope_id == lane.scope_id, c.queue == lane.queue, c.state == lane.state, c.id > after)
        page = await _read(engine, _select(messages).where(*of_lane).order_by(c.id).limit(PAGE))
        if not page:
            return
        yield page
        after = page[-1].id


async def touched_between(
    engine: AsyncEngine, shard: int, after: Version, end: Version
) -> AsyncIterator[list[Restorable]]:
    """Every message of the shard with a transition after `after`, archived ones too, in pages.

    The events up to `end` name them; where one is missing, every row is looked at.
    """
    if end <= after:
        return
    pages = _ids_of_events if await _events_are_whole(engine, shard, after, end) else _ids_of_rows
    async for ids in pages(engine, shard, after):
        for table in (messages, message_archive):
            if page := await _read(engine, _select(table).where(table.c.id.in_(ids))):
                yield page


async def touched_later(engine: AsyncEngine, shard: int, epoch: int) -> AsyncIterator[list[Restorable]]:
    """Every message of the shard with a transition in an epoch after `epoch`, archived ones too, in pages.

    For epochs in which the rows went on without Redis: every transition has its event then.
    """
    c = events.c
    at, n = epoch + 1, -1
    while True:
        later = or_(c.epoch > at, and_(c.epoch == at, c.n > n))
        query = select(c.epoch, c.n, c.transitions).where(c.shard == shard, later)
        async with reading(engine) as conn:
            rows = (await conn.execute(query.order_by(c.epoch, c.n).limit(EVENTS))).all()
        if not rows:
            return
        for ids in _id_pages(row.transitions for row in rows):
            for table in (messages, message_archive):
                if page := await _read(engine, _select(table).where(table.c.id.in_(ids))):
                    yield page
        at, n = rows[-1].epoch, rows[-1].n


def _id_pages(transitions: Iterable[str]) -> Iterator[list[str]]:
    joined = "".join(group[-1] for text in transitions for group in _decode_groups(text))
    ids = sorted({joined[at : at + ID_LENGTH] for at in range(0, len(joined), ID_LENGTH)})
    for start in range(0, len(ids), PAGE):
        yield ids[start : start + PAGE]


async def _events_are_whole(engine: AsyncEngine, shard: int, after: Version, end: Version) -> bool:
    c = events.c
    between = (c.shard == shard, c.epoch == after.epoch, c.n > after.n, c.n <= end.n)
    async with reading(engine) as conn:
        count: int = (await conn.execute(select(func.count()).where(*between))).scalar_one()
    return after.epoch == end.epoch and count == end.n - after.n


async def _ids_of_events(engine: AsyncEngine, shard: int, after: Version) -> AsyncIterator[list[str]]:
    c = events.c
    n = after.n
    while True:
        query = select(c.n, c.transitions).where(c.shard == shard, c.epoch == after.epoch, c.n > n)
        async with reading(engine) as conn:
            rows = (await conn.execute(query.order_by(c.n).limit(EVENTS))).all()
        if not rows:
            return
        for ids in _id_pages(row.transitions for row in rows):
            yield ids
        n = rows[-1].n


async def _ids_of_rows(engine: AsyncEngine, shard: int, after: Version) -> AsyncIterator[list[str]]:
    """In steps that are bounded in what they look at, not in what they find."""
    for table in (messages, message_archive):
        c = table.c
        last = ""
        while True:
            query = select(c.id, c.shard, c.touched_epoch, c.touched_n).where(c.id > last)
            async with reading(engine) as conn:
                rows = (await conn.execute(query.order_by(c.id).limit(LOOKED_AT))).all()
            if not rows:
                break
            last = rows[-1].id
            yield [
                row.id for row in rows if row.shard == shard and (row.touched_epoch, row.touched_n) > after
            ]


async def newest_seq(conn: AsyncConnection, scope_id: str) -> int:
    """The largest publish number among the newest rows of a scope: ids rise with time as the numbers do.
    What is live and older has been restored, with its number, before this is asked."""
    largest = 0
    for table in (messages, message_archive):
        query = select(table.c.seq).where(table.c.scope_id == scope_id).order_by(table.c.id.desc())
        largest = max([largest, *(await conn.execute(query.limit(NEWEST))).scalars()])
    return largest


async def idempotency_pages(
    engine: AsyncEngine, scope_id: str, now_ms: int
) -> AsyncIterator[list[IdempotencyRow]]:
    """Keys of a scope that are still within their window, in pages."""
    columns = idempotency.c
    queue, key_hash = "", ""
    while True:
        beyond = or_(columns.queue > queue, and_(columns.queue == queue, columns.key_hash > key_hash))
        query = (
            select(idempotency)
            .where(columns.scope_id == scope_id, columns.expires_at > now_ms, beyond)
            .order_by(columns.queue, columns.key_hash)
            .limit(1000)
        )
        async with reading(engine) as conn:
            rows = [IdempotencyRow(*row) for row in (await conn.execute(query)).all()]
        if not rows:
            return
        yield rows
        queue, key_hash = rows[-1].queue, rows[-1].key_hash
