"""The persister's hot statements for MariaDB: literals, many rows a statement.

Where all rows of an update should exist, it goes as an insert of which every row meets its duplicate;
else as a join with one JSON document, which never inserts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
from scaiqueue.rows.literals import RowShape, Value, text
from scaiqueue.rows.tables import events, idempotency, messages

_RAW = {"no_parameters": True}
_encode = msgspec.json.Encoder().encode


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES "


_INSERT_MESSAGES = _insert(messages.name, MESSAGE_COLUMNS)
_REWRITE_HEAD = _insert(
    messages.name, (*Change._fields, *(name for name in MESSAGE_COLUMNS if name not in Change._fields))
)
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


# The same as clauses of an insert. `state` is what _MAY reads, so it is assigned late.
_MAY = "NOT (state BETWEEN 5 AND 8 AND state <> VALUES(state))"
_NEWER_MAY = (
    f"{_MAY} AND (VALUES(touched_epoch) > touched_epoch "
    "OR (VALUES(touched_epoch) = touched_epoch AND VALUES(touched_n) > touched_n))"
)
_FITS_MAY = f"history_count + VALUES(history_count) <= {HISTORY_CAP}"
_LATE = ("state", *_LAST)
_REWRITE_TAIL = " ON DUPLICATE KEY UPDATE " + ", ".join(
    [
        f"history = IF({_MAY} AND {_FITS_MAY}, CONCAT(history, VALUES(history)), history)",
        f"history_skipped = history_skipped + IF({_MAY} AND NOT ({_FITS_MAY}), VALUES(history_count), 0)",
        f"history_count = history_count + IF({_MAY} AND {_FITS_MAY}, VALUES(history_count), 0)",
    ]
    + [
        f"{name} = IF({_NEWER_MAY}, VALUES({name}), {name})"
        for name in (
            *(f for f in Change._fields if f not in ("id", "history", "history_count", *_LATE)),
            *_LATE,
        )
    ]
)


_NUMBERS = frozenset(
    {
        "state", "attempts", "seq", "priority_rank", "deadline", "expires_at", "due_at", "max_retries",
        "flags", "updated_at", "history_count", "touched_epoch", "touched_n", "shard", "created_at",
        "history_skipped", "epoch", "n", "at",
    }
)  # fmt: skip


def _kinds(columns: Sequence[str]) -> list[str]:
    kinds = dict.fromkeys(_NUMBERS, "number") | {"response": "hex", "body": "hex"}
    return [kinds.get(name, "text") for name in columns]


_MESSAGE = RowShape(_kinds(MESSAGE_COLUMNS))
_CHANGE = RowShape(_kinds(Change._fields), zeros=len(MESSAGE_COLUMNS) - len(Change._fields))
_EVENT = RowShape(_kinds(EventRow._fields))
_IDEMPOTENCY = RowShape(_kinds(IdempotencyRow._fields))
_RESPONSE = Change._fields.index("response")


def _change_values(change: Change) -> tuple[Value, ...]:
    return (*change[:_RESPONSE], change.response.hex(), *change[_RESPONSE + 1 :])


def _message_values(row: NewMessage) -> tuple[Value, ...]:
    return (*_change_values(row.change), *row.fixed[:-1], row.fixed.body.hex(), 0)


async def _run(conn: AsyncConnection, statements: Iterable[str]) -> int:
    return sum([(await conn.exec_driver_sql(sql, execution_options=_RAW)).rowcount for sql in statements])


class MariaDbBulk:
    """See BulkWriter."""

    async def insert_messages(self, conn: AsyncConnection, rows: Sequence[NewMessage]) -> None:
        await _run(conn, _MESSAGE.statements(_INSERT_MESSAGES, map(_message_values, rows)))

    async def update_messages(self, conn: AsyncConnection, rows: Sequence[Change]) -> int:
        document = _encode(rows).decode()
        if len(document) > CHUNK_BYTES and len(rows) > 1:
            middle = len(rows) // 2
            first = await self.update_messages(conn, rows[:middle])
            return first + await self.update_messages(conn, rows[middle:])
        statement = _UPDATE_HEAD + text(document) + _UPDATE_TAIL
        return (await conn.exec_driver_sql(statement, execution_options=_RAW)).rowcount

    async def update_all(self, conn: AsyncConnection, rows: Sequence[Change]) -> bool:
        written = await _run(
            conn, _CHANGE.statements(_REWRITE_HEAD, map(_change_values, rows), _REWRITE_TAIL)
        )
        # Two for a row that was changed, and one for a row that was inserted, or left as it is.
        return written == 2 * len(rows)

    async def upsert_idempotency(self, conn: AsyncConnection, rows: Sequence[IdempotencyRow]) -> None:
        await _run(conn, _IDEMPOTENCY.statements(_INSERT_IDEMPOTENCY, rows, _ON_DUPLICATE_KEY))

    async def insert_events(self, conn: AsyncConnection, rows: Sequence[EventRow]) -> None:
        await _run(conn, _EVENT.statements(_INSERT_EVENTS, rows))
