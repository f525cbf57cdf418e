"""The persister's hot statements for SQLite: executemany is a loop in C there, so it is fast enough."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from scaiqueue.rows.bulk import HISTORY_CAP, MESSAGE_COLUMNS, Change, EventRow, IdempotencyRow, NewMessage
from scaiqueue.rows.tables import events, idempotency, messages


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


_INSERT_MESSAGES = _insert(messages.name, MESSAGE_COLUMNS)
_INSERT_EVENTS = _insert(events.name, EventRow._fields)
_UPSERT_IDEMPOTENCY = (
    _insert(idempotency.name, IdempotencyRow._fields)
    + " ON CONFLICT (scope_id, queue, key_hash) DO UPDATE SET message_id = excluded.message_id, "
    "digest = excluded.digest, expires_at = excluded.expires_at"
)
_PLACE = {name: place for place, name in enumerate(Change._fields, 1)}
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

    async def insert_messages(self, conn: AsyncConnection, rows: Sequence[NewMessage]) -> None:
        await conn.exec_driver_sql(_INSERT_MESSAGES, [(*row.change, *row.fixed, 0) for row in rows])

    async def update_messages(self, conn: AsyncConnection, rows: Sequence[Change]) -> int:
        return (await conn.exec_driver_sql(_UPDATE_MESSAGES, [tuple(row) for row in rows])).rowcount

    async def update_all(self, conn: AsyncConnection, rows: Sequence[Change]) -> bool:
        return await self.update_messages(conn, rows) == len(rows)

    async def upsert_idempotency(self, conn: AsyncConnection, rows: Sequence[IdempotencyRow]) -> None:
        await conn.exec_driver_sql(_UPSERT_IDEMPOTENCY, [tuple(row) for row in rows])

    async def insert_events(self, conn: AsyncConnection, rows: Sequence[EventRow]) -> None:
        await conn.exec_driver_sql(_INSERT_EVENTS, [tuple(row) for row in rows])
