"""Reads message rows, live and archived. Only the persister and the archiver write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Table, case, false, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.keys import DEAD_LETTER
from scaiqueue.records import Flag, Origin, Record, State
from scaiqueue.rows import copies
from scaiqueue.rows.engine import LOOK_UP_WITHIN_S, is_sqlite, reading
from scaiqueue.rows.tables import message_archive, messages

MAX_PAGE_BYTES = 8 * 2**20


_LARGE = ("body", "response")
_LIVE = tuple(state.value for state in State if state < State.completed)


def _heads_of(table: Table) -> list[ColumnElement[Any]]:
    """Everything of a row but what may be large, which is empty."""
    empty = [literal(b"").label(name) for name in _LARGE]
    return [*(column for column in table.c if column.name not in _LARGE), *empty]


class MessageRow(msgspec.Struct, frozen=True):
    """A row as it is read. `record` is what the index held; `history` one JSON array per transition."""

    id: str
    scope_id: str
    record: Record
    header: bytes
    body: bytes
    response: bytes
    failure_reason: str
    history: str
    history_skipped: int
    overlay: bytes = b""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What a list shows; None is no condition. Times in ms."""

    correlation_id: str | None = None
    state: int | None = None
    queue: str | None = None
    queues: Sequence[str] | None = None
    type: str | None = None
    source_id: str | None = None
    created_after: int | None = None
    created_before: int | None = None
    labels: dict[str, str] = {}


def _row(found: Any) -> MessageRow:
    origin = msgspec.json.decode(found.origin) if found.origin else []
    record = Record(
        queue=found.queue,
        state=found.state,
        attempts=found.attempts,
        seq=found.seq,
        rank=found.priority_rank,
        deadline=found.deadline,
        expires_at=found.expires_at,
        size=len(found.body),
        token=found.token,
        holder=found.holder,
        verb=found.verb,
        touched_epoch=found.touched_epoch,
        touched_n=found.touched_n,
        max_retries=found.max_retries,
        created_at=found.created_at,
        flags=found.flags,
        due_at=found.due_at,
        updated_at=found.updated_at,
        origin=tuple(origin),
    )
    return MessageRow(
        found.id,
        found.scope_id,
        record,
        found.header.encode(),
        bytes(found.body),
        bytes(found.response),
        found.failure_reason,
        found.history,
        found.history_skipped,
        found.overlay.encode(),
    )


async def _whole(
    connection: AsyncConnection, rows: list[MessageRow], *, with_bodies: bool = True
) -> list[MessageRow]:
    """The rows; copies for subscriptions have the bodies of the messages that they were made of."""
    sharing = [row.id for row in rows if row.record.flags & Flag.shared_body]
    of = await copies.parents(connection, sharing) if sharing else {}
    held = await copies.bodies(connection, set(of.values())) if of and with_bodies else {}
    return [_copy(row, of[row.id], held) if row.id in of else row for row in rows]


def _copy(row: MessageRow, parent: str, held: dict[str, bytes]) -> MessageRow:
    body = row.body or held.get(parent, b"")
    record = msgspec.structs.replace(row.record, shared=parent, size=len(body))
    return msgspec.structs.replace(row, record=record, body=body)


async def find(engine: AsyncEngine, scope_id: str, message_id: str) -> MessageRow | None:
    """In the live rows, then in the archive: in that order a row that moves meanwhile is not missed."""
    async with reading(engine, LOOK_UP_WITHIN_S) as connection:
        for table in (messages, message_archive):
            query = select(table).where(table.c.scope_id == scope_id, table.c.id == message_id)
            if (found := (await connection.execute(query)).first()) is not None:
                (row,) = await _whole(connection, [_row(found)])
                return row
    return None


async def by_ids(engine: AsyncEngine, scope_id: str, ids: Sequence[str]) -> list[MessageRow]:
    """Those of the messages that the rows hold, archived ones too, in the order of their ids."""
    rows: dict[str, MessageRow] = {}
    async with reading(engine) as connection:
        for table in (messages, message_archive):
            query = select(table).where(table.c.scope_id == scope_id, table.c.id.in_(ids))
            rows.update((row.id, _row(row)) for row in await connection.execute(query))
        return await _whole(connection, [rows[name] for name in sorted(rows)])


def _conditions(table: Table, scope_id: str, by: Filter, sqlite: bool) -> list[ColumnElement[bool]]:
    chosen = [table.c.scope_id == scope_id]
    equal = {
        "correlation_id": by.correlation_id,
        "state": by.state,
        "queue": by.queue,
        "source_id": by.source_id,
    }
    chosen += [table.c[name] == value for name, value in equal.items() if value is not None]
    if by.queues is not None:
        chosen.append(table.c.queue.in_(by.queues))
    if by.created_after is not None:
        chosen.append(table.c.created_at > by.created_after)
    if by.created_before is not None:
        chosen.append(table.c.created_at < by.created_before)
    extract = func.json_extract if sqlite else func.json_value
    # What rules changed of a header goes before it.
    if by.type is not None:
        retyped = case((table.c.overlay != "", extract(table.c.overlay, "$.type")))
        chosen.append(func.coalesce(retyped, table.c.message_type) == by.type)
    for name, value in by.labels.items():
        place = f'$.labels."{name}"'
        found = case((func.json_valid(table.c.header) == 1, extract(table.c.header, place)))
        changed = extract(table.c.overlay, place)
        has: ColumnElement[bool] = (
            func.json_type(table.c.overlay, "$.labels").is_not(None)
            if sqlite
            else func.json_exists(table.c.overlay, "$.labels") == 1
        )
        relabelled = case((table.c.overlay != "", has), else_=false())
        chosen.append(case((relabelled, changed), else_=found) == value)
    return chosen


async def _heads(
    connection: AsyncConnection, table: Table, scope_id: str, by: Filter, before: str, limit: int
) -> list[tuple[str, int]]:
    conditions = _conditions(table, scope_id, by, is_sqlite(connection))
    if before:
        conditions.append(table.c.id < before)
    query = select(table.c.id, func.length(table.c.body), table.c.flags).where(*conditions)
    found = (await connection.execute(query.order_by(table.c.id.desc()).limit(limit))).all()
    sharing = [row[0] for row in found if row[2] & Flag.shared_body]
    shared = await copies.lengths(connection, sharing) if sharing else {}
    return [(row[0], shared.get(row[0], row[1])) for row in found]


async def page(
    engine: AsyncEngine, scope_id: str, by: Filter, before: str, limit: int
) -> tuple[list[MessageRow], bool]:
    """At most `limit` rows and MAX_PAGE_BYTES of bodies, newest first, and whether there are more."""
    async with reading(engine) as connection:
        live = await _heads(connection, messages, scope_id, by, before, limit + 1)
        archived = await _heads(connection, message_archive, scope_id, by, before, limit + 1)
        heads = sorted({**dict(archived), **dict(live)}.items(), reverse=True)
        chosen: list[str] = []
        size = 0
        for message_id, length in heads[:limit]:
            size += length
            if chosen and size > MAX_PAGE_BYTES:
                break
            chosen.append(message_id)
        rows: dict[str, MessageRow] = {}
        for table in (messages, message_archive):
            left = [message_id for message_id in chosen if message_id not in rows]
            if left:
                found = await connection.execute(select(table).where(table.c.id.in_(left)))
                rows.update((row.id, _row(row)) for row in found)
        shown = await _whole(connection, [rows[name] for name in chosen if name in rows])
    return shown, len(heads) > len(chosen)


async def dead_letters(
    engine: AsyncEngine, scope_id: str, by: Filter, after: str, limit: int
) -> list[tuple[str, Origin | None]]:
    """Ids of waiting messages in the dead letter and where they came from, oldest first after `after`."""
    query = (
        select(messages.c.id, messages.c.origin)
        .where(
            messages.c.queue == DEAD_LETTER, messages.c.state == State.pending.value, messages.c.id > after
        )
        .order_by(messages.c.id)
        .limit(limit)
    )
    async with reading(engine) as connection:
        conditions = _conditions(messages, scope_id, by, is_sqlite(connection))
        found = (await connection.execute(query.where(*conditions))).all()
    return [(row.id, msgspec.json.decode(row.origin, type=Origin) if row.origin else None) for row in found]


async def in_review(
    engine: AsyncEngine, scope_id: str, by: Filter, after: str, limit: int
) -> list[MessageRow]:
    """At most `limit` messages that await a decision, without bodies, oldest first after the id `after`.

    With `by.queue` or `by.queues` the index of states finds the few among the many."""
    query = (
        select(*_heads_of(messages))
        .where(messages.c.state == State.awaiting_review.value, messages.c.id > after)
        .order_by(messages.c.id)
        .limit(limit)
    )
    async with reading(engine) as connection:
        conditions = _conditions(messages, scope_id, by, is_sqlite(connection))
        found = [_row(row) for row in await connection.execute(query.where(*conditions))]
        return await _whole(connection, found, with_bodies=False)


async def live(engine: AsyncEngine, scope_id: str, queues: Sequence[str], limit: int) -> list[MessageRow]:
    """The oldest `limit` messages of the queues that have not ended, within MAX_PAGE_BYTES of bodies."""
    c = messages.c
    waiting = (c.scope_id == scope_id, c.queue.in_(queues), c.state.in_(_LIVE))
    async with reading(engine) as connection:
        # The index of states holds all that is asked of the many; only the few are read whole.
        chosen = select(c.id).where(*waiting).order_by(c.id).limit(limit)
        ids = list((await connection.execute(chosen)).scalars())
        sizes = await connection.execute(
            select(c.id, func.length(c.body)).where(c.id.in_(ids)).order_by(c.id)
        )
        kept: list[str] = []
        size = 0
        for message_id, length in sizes:
            size += length
            if kept and size > MAX_PAGE_BYTES:
                break
            kept.append(message_id)
        found = await connection.execute(select(messages).where(c.id.in_(kept)))
        rows = [_row(row) for row in found]
    return sorted(rows, key=lambda row: row.record.seq)


async def completed(engine: AsyncEngine, scope_id: str, queues: Sequence[str]) -> int:
    """How many completed messages of the queues the rows still hold, archived ones too."""
    counts = [
        select(func.count())
        .where(
            table.c.scope_id == scope_id,
            table.c.queue.in_(queues),
            table.c.state == State.completed.value,
        )
        .scalar_subquery()
        for table in (messages, message_archive)
    ]
    async with reading(engine) as connection:
        return int((await connection.execute(select(counts[0] + counts[1]))).scalar_one())


async def of_correlation(
    engine: AsyncEngine, scope_id: str, correlation_id: str, limit: int
) -> list[MessageRow]:
    """The oldest `limit` messages of a correlation id, without their bodies, in the order of their ids."""
    rows: dict[str, MessageRow] = {}
    async with reading(engine) as connection:
        for table in (messages, message_archive):
            found = await connection.execute(
                select(*_heads_of(table))
                .where(table.c.scope_id == scope_id, table.c.correlation_id == correlation_id)
                .order_by(table.c.id)
                .limit(limit)
            )
            for row in found:
                rows.setdefault(row.id, _row(row))
    return [rows[name] for name in sorted(rows)[:limit]]
