"""The persister's hot statements for SQLite: executemany is a loop in C there, so it is fast enough."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from scaiqueue.rows import positions, rates
from scaiqueue.rows.bulk import (
    HISTORY_CAP,
    MESSAGE_COLUMNS,
    Change,
    ChangedMessage,
    CopyRow,
    EventRow,
    IdempotencyRow,
    NewMessage,
    RowSet,
    Written,
)
from scaiqueue.rows.tables import copies, events, idempotency, message_archive, messages


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


_INSERT_MESSAGES = _insert(messages.name, MESSAGE_COLUMNS)
_INSERT_EVENTS = _insert(events.name, EventRow._fields)
_INSERT_COPIES = _insert(copies.name, CopyRow._fields) + " ON CONFLICT DO NOTHING"
_UPSERT_IDEMPOTENCY = (
    _insert(idempotency.name, IdempotencyRow._fields)
    + " ON CONFLICT (scope_id, queue, key_hash) DO UPDATE SET message_id = excluded.message_id, "
    "digest = excluded.digest, expires_at = excluded.expires_at"
)
_PLACE = {name: place for place, name in enumerate(("id", *Change._fields), 1)}
_NEWER = (
    f"(?{_PLACE['touched_epoch']} > touched_epoch "
    f"OR (?{_PLACE['touched_epoch']} = touched_epoch AND ?{_PLACE['touched_n']} > touched_n))"
)
_FITS = f"history_count + ?{_PLACE['history_count']} <= {HISTORY_CAP}"
_ASSIGNMENTS = [
    f"{name} = CASE WHEN {_NEWER} THEN ?{place} ELSE {name} END"
    for name, place in _PLACE.items()
    if name not in ("id", "history", "history_count")
] + [
    f"history = CASE WHEN {_FITS} THEN history || ?{_PLACE['history']} ELSE history END",
    f"history_count = CASE WHEN {_FITS} THEN history_count + ?{_PLACE['history_count']} "
    "ELSE history_count END",
    f"history_skipped = CASE WHEN {_FITS} THEN history_skipped "
    f"ELSE history_skipped + ?{_PLACE['history_count']} END",
]
_UPDATE_MESSAGES = (
    f"UPDATE {messages.name} SET {', '.join(_ASSIGNMENTS)} WHERE id = ?1 "
    f"AND NOT (state BETWEEN 5 AND 8 AND state <> ?{_PLACE['state']})"
)


class SqliteBulk:
    """See BulkWriter."""

    async def write(self, conn: AsyncConnection, rows: RowSet) -> Written:
        if not await positions.advance(conn, *rows.step):
            return Written.moved
        if rows.inserts:
            # Ids rise with time, so a new one is above all that is archived.
            archived = select(message_archive.c.id).where(message_archive.c.id >= rows.inserts[0].id)
            if (await conn.execute(archived.limit(1))).first() is not None:
                return Written.unsure
            await self.insert_messages(conn, rows.inserts)
        if rows.updates and await self.update_messages(conn, rows.updates) != len(rows.updates):
            return Written.unsure
        if rows.idempotency:
            await self.upsert_idempotency(conn, rows.idempotency)
        if rows.events:
            await self.insert_events(conn, rows.events)
        if rows.copies:
            await self.insert_copies(conn, rows.copies)
        await rates.add(conn, rows.counts)
        return Written.all

    async def insert_messages(self, conn: AsyncConnection, rows: Sequence[NewMessage]) -> None:
        await conn.exec_driver_sql(
            _INSERT_MESSAGES, [(*row[:4], 0, *row.change, *row.heading) for row in rows]
        )

    async def update_messages(self, conn: AsyncConnection, rows: Sequence[ChangedMessage]) -> int:
        values = [(row.id, *row.change) for row in rows]
        return (await conn.exec_driver_sql(_UPDATE_MESSAGES, values)).rowcount

    async def upsert_idempotency(self, conn: AsyncConnection, rows: Sequence[IdempotencyRow]) -> None:
        await conn.exec_driver_sql(_UPSERT_IDEMPOTENCY, [tuple(row) for row in rows])

    async def insert_events(self, conn: AsyncConnection, rows: Sequence[EventRow]) -> None:
        await conn.exec_driver_sql(_INSERT_EVENTS, [tuple(row) for row in rows])

    async def insert_copies(self, conn: AsyncConnection, rows: Sequence[CopyRow]) -> None:
        await conn.exec_driver_sql(_INSERT_COPIES, [tuple(row) for row in rows])
