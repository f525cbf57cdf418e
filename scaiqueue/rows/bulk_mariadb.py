"""The persister's hot statements for MariaDB.

The driver's escaping of arguments is the cost of a bulk insert, so the literals are written here: numbers,
hex, and text escaped for the sql_mode that rows/engine.py sets. Updates go as one joined JSON document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from scaiqueue.rows.bulk import (
    CHUNK_BYTES,
    HISTORY_CAP,
    MESSAGE_COLUMNS,
    Change,
    EventRow,
    IdempotencyRow,
    NewMessage,
)
from scaiqueue.rows.tables import events, idempotency, messages

_RAW = {"no_parameters": True}
_encode = msgspec.json.Encoder().encode


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _bytes(value: bytes) -> str:
    return f"x'{value.hex()}'" if value else "''"


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES "


_INSERT_MESSAGES = _insert(messages.name, MESSAGE_COLUMNS)
_INSERT_EVENTS = _insert(events.name, EventRow._fields)
_INSERT_IDEMPOTENCY = _insert(idempotency.name, IdempotencyRow._fields)
_ON_DUPLICATE_KEY = (
    " ON DUPLICATE KEY UPDATE message_id = VALUES(message_id), digest = VALUES(digest), "
    "expires_at = VALUES(expires_at)"
)

_ASCII = "CHARACTER SET ascii COLLATE ascii_bin"
_JSON_TYPES = {
    "id": f"VARCHAR(36) {_ASCII}",
    "queue": f"VARCHAR(63) {_ASCII}",
    "token": "VARCHAR(40)",
    "holder": "VARCHAR(320)",
    "verb": "VARCHAR(16)",
    **dict.fromkeys(("response", "failure_reason", "origin", "overlay", "history"), "LONGTEXT"),
}
_JSON_COLUMNS = ", ".join(
    f"{name} {_JSON_TYPES.get(name, 'BIGINT')} PATH '$[{place}]' ERROR ON ERROR"
    for place, name in enumerate(Change._fields)
)
_NEWER = (
    "(j.touched_epoch > m.touched_epoch OR (j.touched_epoch = m.touched_epoch AND j.touched_n > m.touched_n))"
)
_FITS = f"m.history_count + j.history_count <= {HISTORY_CAP}"
# MariaDB may assign from left to right: what a condition reads is assigned last, n before the epoch.
_LAST = ("touched_n", "touched_epoch")
_ASSIGNMENTS = [
    f"m.history = IF({_FITS}, CONCAT(m.history, j.history), m.history)",
    f"m.history_skipped = m.history_skipped + IF({_FITS}, 0, j.history_count)",
    f"m.history_count = m.history_count + IF({_FITS}, j.history_count, 0)",
    f"m.response = IF({_NEWER}, FROM_BASE64(j.response), m.response)",
] + [
    f"m.{name} = IF({_NEWER}, j.{name}, m.{name})"
    for name in (
        *(f for f in Change._fields if f not in ("id", "history", "history_count", "response", *_LAST)),
        *_LAST,
    )
]
_UPDATE_HEAD = f"UPDATE {messages.name} m JOIN JSON_TABLE("
_UPDATE_TAIL = (
    f", '$[*]' COLUMNS ({_JSON_COLUMNS})) j ON j.id = m.id SET {', '.join(_ASSIGNMENTS)} "
    "WHERE NOT (m.state BETWEEN 5 AND 8 AND m.state <> j.state)"
)


def _message_literal(row: NewMessage) -> str:
    c, f = row
    return (
        f"({_text(c.id)},{_text(c.queue)},{c.state:d},{c.attempts:d},{c.seq:d},{c.priority_rank:d},"
        f"{c.deadline:d},{c.expires_at:d},{c.due_at:d},{c.max_retries:d},{c.flags:d},{_text(c.token)},"
        f"{_text(c.holder)},{_text(c.verb)},{_bytes(c.response)},{_text(c.failure_reason)},{_text(c.origin)},"
        f"{_text(c.overlay)},{c.updated_at:d},{_text(c.history)},{c.history_count:d},{c.touched_epoch:d},"
        f"{c.touched_n:d},{_text(f.tenant_id)},{_text(f.scope_id)},{f.shard:d},{_text(f.message_type)},"
        f"{_text(f.correlation_id)},{_text(f.source_id)},{f.created_at:d},{_text(f.header)},{_bytes(f.body)},0)"
    )


def _event_literal(row: EventRow) -> str:
    return (
        f"({row.shard:d},{row.epoch:d},{row.n:d},{_text(row.tenant_id)},{_text(row.scope_id)},{_text(row.op)},"
        f"{_text(row.queue)},{_text(row.actor)},{row.at:d},{_text(row.transitions)},{_text(row.detail)})"
    )


def _idempotency_literal(row: IdempotencyRow) -> str:
    return (
        f"({_text(row.scope_id)},{_text(row.queue)},{_text(row.key_hash)},{_text(row.message_id)},"
        f"{_text(row.digest)},{row.expires_at:d})"
    )


def _statements(head: str, literals: Iterable[str], tail: str = "") -> Iterator[str]:
    """Multi-row statements of about CHUNK_BYTES at most, and at least one row each."""
    chunk: list[str] = []
    size = 0
    for literal in literals:
        if chunk and size + len(literal) > CHUNK_BYTES:
            yield head + ",".join(chunk) + tail
            chunk, size = [], 0
        chunk.append(literal)
        size += len(literal)
    if chunk:
        yield head + ",".join(chunk) + tail


class MariaDbBulk:
    """See BulkWriter."""

    async def insert_messages(self, conn: AsyncConnection, rows: Sequence[NewMessage]) -> None:
        for statement in _statements(_INSERT_MESSAGES, map(_message_literal, rows)):
            await conn.exec_driver_sql(statement, execution_options=_RAW)

    async def update_messages(self, conn: AsyncConnection, rows: Sequence[Change]) -> int:
        document = _encode(rows).decode()
        if len(document) > CHUNK_BYTES and len(rows) > 1:
            middle = len(rows) // 2
            first = await self.update_messages(conn, rows[:middle])
            return first + await self.update_messages(conn, rows[middle:])
        statement = _UPDATE_HEAD + _text(document) + _UPDATE_TAIL
        return (await conn.exec_driver_sql(statement, execution_options=_RAW)).rowcount

    async def upsert_idempotency(self, conn: AsyncConnection, rows: Sequence[IdempotencyRow]) -> None:
        for statement in _statements(_INSERT_IDEMPOTENCY, map(_idempotency_literal, rows), _ON_DUPLICATE_KEY):
            await conn.exec_driver_sql(statement, execution_options=_RAW)

    async def insert_events(self, conn: AsyncConnection, rows: Sequence[EventRow]) -> None:
        for statement in _statements(_INSERT_EVENTS, map(_event_literal, rows)):
            await conn.exec_driver_sql(statement, execution_options=_RAW)
