"""The persister's hot statements for MariaDB: literals, many rows a statement, many statements a round trip.

Messages that share a change are brought up to date by one statement, which costs a third of any that names
values row by row; changes of few messages each go together, as a join with a list of values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, get_type_hints

from sqlalchemy.ext.asyncio import AsyncConnection

from scaiqueue.rows import packets
from scaiqueue.rows.bulk import (
    CHUNK_BYTES,
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
from scaiqueue.rows.literals import joined, literal, text
from scaiqueue.rows.positions import Step
from scaiqueue.rows.rates import SLOTS, Spot
from scaiqueue.rows.tables import (
    copies,
    events,
    idempotency,
    journal_positions,
    message_archive,
    messages,
    rates,
)

# From so many messages on a change has a statement of its own.
OWN_STATEMENT = 5
ROWS_PER_STATEMENT = 1000


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({','.join(columns)}) VALUES "


_INSERT_MESSAGES = _insert(messages.name, MESSAGE_COLUMNS)
_INSERT_EVENTS = _insert(events.name, EventRow._fields)
_INSERT_COPIES = _insert(copies.name, CopyRow._fields)
_STAYS_COPY = " ON DUPLICATE KEY UPDATE parent_id=parent_id"
_INSERT_IDEMPOTENCY = _insert(idempotency.name, IdempotencyRow._fields)
_NEW_OWNER = (
    " ON DUPLICATE KEY UPDATE message_id=VALUES(message_id),digest=VALUES(digest),"
    "expires_at=VALUES(expires_at)"
)
_INSERT_RATES = _insert(rates.name, (*Spot._fields, "slot", "events"))
# Assigned in the order written: `events` first, while `minute` is still the stored one.
_ADD = (
    " ON DUPLICATE KEY UPDATE events=IF(minute=VALUES(minute),events,0)+VALUES(events),minute=VALUES(minute)"
)

# `history_count` is read by the two before it. What the WHERE reads may be assigned in any order.
_HISTORY = (
    f"m.history=IF(m.history_count+{{count}}<={HISTORY_CAP},CONCAT(m.history,{{history}}),m.history),"
    f"m.history_skipped=m.history_skipped+IF(m.history_count+{{count}}<={HISTORY_CAP},0,{{count}}),"
    f"m.history_count=m.history_count+IF(m.history_count+{{count}}<={HISTORY_CAP},{{count}},0)"
)
_STAYS = "m.state BETWEEN 5 AND 8 AND m.state<>{state}"
_PLAIN = [name for name in Change._fields if name not in ("history", "history_count")]
_UPDATE = f"UPDATE {messages.name} m"


class _Rule(NamedTuple):
    """Of which rows the history grows, and whether the rest is brought up to date too."""

    condition: str
    plain: bool


_NEWER = "m.touched_epoch>{epoch} OR (m.touched_epoch={epoch} AND m.touched_n>{n})"
_SINCE = "m.touched_epoch>{epoch} OR (m.touched_epoch={epoch} AND m.touched_n>={n})"
# The same version is the same record: to write it again costs less than to tell the two apart.
_UNLESS_NEWER = _Rule(f"NOT ({_NEWER})", True)
_HISTORY_ONLY = _Rule(f"({_SINCE})", False)
_OLDER = _Rule(f"NOT ({_SINCE})", True)

_OF_JOIN = {
    "count": "j.history_count", "history": "j.history", "state": "j.state",
    "epoch": "j.touched_epoch", "n": "j.touched_n",
}  # fmt: skip
_NAMES = ("id", *Change._fields)
_ZERO = {"id": "''"} | {
    name: {int: "0", str: "''", bytes: "x''"}[kind] for name, kind in get_type_hints(Change).items()
}
_JOIN_HEAD = (
    f"{_UPDATE} JOIN (SELECT {','.join(f'{_ZERO[name]} {name}' for name in _NAMES)} UNION ALL VALUES "
)


def _join_tail(rule: _Rule) -> str:
    assigned = _HISTORY + ("".join(f",m.{name}=j.{name}" for name in _PLAIN) if rule.plain else "")
    # The key's own collation, or no row is found by it.
    found = ") j ON m.id=CONVERT(j.id USING ascii) COLLATE ascii_bin"
    return f"{found} SET {assigned} WHERE NOT ({_STAYS}) AND {rule.condition}".format(**_OF_JOIN)


_JOIN_TAILS = {rule: _join_tail(rule) for rule in (_UNLESS_NEWER, _HISTORY_ONLY, _OLDER)}


class MariaDbBulk:
    """See BulkWriter."""

    async def write(self, conn: AsyncConnection, rows: RowSet) -> Written:
        # First of all the position: its row lock makes a second owner wait, and then fail.
        statements, expected = [_step(rows.step)], [1]
        if rows.inserts:
            # Ids rise with time, so a new one is above all that is archived.
            archived = f"SELECT 1 FROM {message_archive.name} WHERE id>={text(rows.inserts[0].id)} LIMIT 1"
            statements.append(archived)
            expected.append(0)
        for statement, count in _updates(rows.updates, _UNLESS_NEWER):
            statements.append(statement)
            expected.append(count)
        statements += _inserts(rows.inserts)
        statements += _tuples(_INSERT_IDEMPOTENCY, rows.idempotency, _NEW_OWNER)
        statements += _tuples(_INSERT_EVENTS, rows.events)
        statements += _tuples(_INSERT_COPIES, rows.copies, _STAYS_COPY)
        spots = [(*spot, spot.minute % SLOTS, count) for spot, count in sorted(rows.counts.items())]
        statements += _tuples(_INSERT_RATES, spots, _ADD)
        found = await packets.run(conn, statements)
        if found[0] != 1:
            return Written.moved
        return Written.all if found[: len(expected)] == expected else Written.unsure

    async def insert_messages(self, conn: AsyncConnection, rows: Sequence[NewMessage]) -> None:
        await packets.run(conn, _inserts(rows))

    async def update_messages(self, conn: AsyncConnection, rows: Sequence[ChangedMessage]) -> int:
        # First those that have the version already: afterwards they could not be told from the others.
        statements = [sql for rule in (_HISTORY_ONLY, _OLDER) for sql, _ in _updates(rows, rule)]
        return sum(await packets.run(conn, statements))

    async def upsert_idempotency(self, conn: AsyncConnection, rows: Sequence[IdempotencyRow]) -> None:
        await packets.run(conn, _tuples(_INSERT_IDEMPOTENCY, rows, _NEW_OWNER))

    async def insert_events(self, conn: AsyncConnection, rows: Sequence[EventRow]) -> None:
        await packets.run(conn, _tuples(_INSERT_EVENTS, rows))

    async def insert_copies(self, conn: AsyncConnection, rows: Sequence[CopyRow]) -> None:
        await packets.run(conn, _tuples(_INSERT_COPIES, rows, _STAYS_COPY))


def _step(step: Step) -> str:
    epoch, n = step.new
    return (
        f"UPDATE {journal_positions.name} SET epoch={epoch},n={n},published={step.published},"
        f"updated_at={step.at} WHERE shard={step.shard} AND epoch={step.old.epoch} AND n={step.old.n}"
    )


def _inserts(rows: Sequence[NewMessage]) -> Iterator[str]:
    return (statement for statement, _ in _chunks(_INSERT_MESSAGES, _new_literals(rows)))


def _new_literals(rows: Sequence[NewMessage]) -> Iterator[str]:
    shared: dict[int, str] = {}
    for message_id, seq, created_at, body, change, heading in rows:
        of_change = shared.get(id(change))
        if of_change is None:
            of_change = shared[id(change)] = joined(change)
        of_heading = shared.get(id(heading))
        if of_heading is None:
            of_heading = shared[id(heading)] = joined(heading)
        yield f"({text(message_id)},{seq},{created_at},x'{body.hex()}',0,{of_change},{of_heading})"


def _updates(rows: Sequence[ChangedMessage], rule: _Rule) -> Iterator[tuple[str, int]]:
    """Statements, and how many rows each is for."""
    groups: dict[int, list[ChangedMessage]] = {}
    for row in rows:
        groups.setdefault(id(row[1]), []).append(row)
    few: list[ChangedMessage] = []
    for group in groups.values():
        if len(group) < OWN_STATEMENT:
            few += group
            continue
        for at in range(0, len(group), ROWS_PER_STATEMENT):
            ids = [message_id for message_id, _ in group[at : at + ROWS_PER_STATEMENT]]
            yield _of_group(group[0].change, ids, rule), len(ids)
    few.sort(key=lambda row: row.id)
    values = [f"({text(message_id)},{joined(change)})" for message_id, change in few]
    yield from _chunks(_JOIN_HEAD, values, _JOIN_TAILS[rule])


def _of_group(change: Change, ids: Sequence[str], rule: _Rule) -> str:
    of_change = {
        "count": change.history_count, "history": text(change.history), "state": change.state,
        "epoch": change.touched_epoch, "n": change.touched_n,
    }  # fmt: skip
    assigned = _HISTORY.format(**of_change)
    if rule.plain:
        assigned += "".join(f",m.{name}={literal(getattr(change, name))}" for name in _PLAIN)
    condition = f"NOT ({_STAYS}) AND {rule.condition}".format(**of_change)
    return f"{_UPDATE} SET {assigned} WHERE m.id IN ({','.join(map(text, ids))}) AND {condition}"


def _tuples(head: str, rows: Iterable[Sequence[str | int]], tail: str = "") -> Iterator[str]:
    return (statement for statement, _ in _chunks(head, (f"({joined(row)})" for row in rows), tail))


def _chunks(head: str, rows: Iterable[str], tail: str = "") -> Iterator[tuple[str, int]]:
    """Statements of about CHUNK_BYTES at most, and their numbers of rows: at least one each."""
    chunk: list[str] = []
    size = 0
    for row in rows:
        if chunk and (size + len(row) > CHUNK_BYTES or len(chunk) == ROWS_PER_STATEMENT):
            yield head + ",".join(chunk) + tail, len(chunk)
            chunk, size = [], 0
        chunk.append(row)
        size += len(row)
    if chunk:
        yield head + ",".join(chunk) + tail, len(chunk)
