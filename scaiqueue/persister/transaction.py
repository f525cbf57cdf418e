"""One transaction per batch: position, messages, idempotency, events; refused rows go into quarantine."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import structlog
from redis.asyncio import Redis
from sqlalchemy import insert
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.persister import metrics
from scaiqueue.persister.batch import Batch, Refused, Rows, Touched, rate_counts
from scaiqueue.persister.collect import refusal
from scaiqueue.persister.message_rows import new_message
from scaiqueue.records import Version
from scaiqueue.rows import positions, rates
from scaiqueue.rows.bulk import BulkWriter, Change, NewMessage, existing_ids, newest_archived
from scaiqueue.rows.bulk_mariadb import MariaDbBulk
from scaiqueue.rows.bulk_sqlite import SqliteBulk
from scaiqueue.rows.engine import is_sqlite
from scaiqueue.rows.tables import quarantine

log = structlog.get_logger("scaiqueue.persister")
# MariaDB calls these operational, though only the row is at fault: row too large, signal, constraint.
ROW_FAULTS = {1118, 1644, 4025}
IN_ONE_QUERY = 500
T = TypeVar("T")


class PositionMoved(Exception):
    """Another owner has moved the shard's position: what this one read is void."""


class _Careful(Exception):
    """The quick way met a row that exists, is missing, or is refused: do it again row by row."""


class Writer:
    """Writes batches of one row store. `redis` serves bodies of rows that turn out to be missing."""

    def __init__(self, engine: AsyncEngine, redis: Redis) -> None:
        self.engine = engine
        self.redis = redis
        self.bulk: BulkWriter = SqliteBulk() if is_sqlite(engine) else MariaDbBulk()

    async def commit(self, batch: Batch, rows: Rows, old: Version) -> None:
        """Write all of it or nothing. Raises PositionMoved, or a database error that is worth a retry."""
        try:
            await self._commit(batch, rows, old, careful=False)
        except Exception as error:
            if not (isinstance(error, _Careful) or _is_refusal(error)):
                raise
            await self._commit(batch, rows, old, careful=True)

    async def _commit(self, batch: Batch, rows: Rows, old: Version, *, careful: bool) -> None:
        now_ms = int(time.time() * 1000)
        async with self.engine.begin() as conn:
            # First of all: its row lock makes a second owner wait, and then fail.
            moved = await positions.advance(conn, batch.shard, old, batch.end, batch.published, now_ms)
            if not moved:
                raise PositionMoved
            refused = list(rows.refused)
            if careful:
                refused += await _CarefulWrite(self, conn, batch).write(rows)
            else:
                await self._quick(conn, rows)
            if refused:
                await _write_quarantine(conn, refused, now_ms)
            await rates.add(conn, rate_counts(batch))
        for message in refused:
            metrics.quarantined.inc()
            log.error(
                "message_quarantined",
                scope_id=message.scope_id,
                message_id=message.message_id,
                version=str(message.version),
                error=message.error,
            )

    async def _quick(self, conn: AsyncConnection, rows: Rows) -> None:
        if rows.inserts:
            # Ids rise with time, so a new one is above all that is archived; else look closely.
            if rows.inserts[0].change.id <= await newest_archived(conn):
                raise _Careful
            await self.bulk.insert_messages(conn, rows.inserts)
        if rows.updates and not await self.bulk.update_all(conn, rows.updates):
            raise _Careful
        if rows.idempotency:
            await self.bulk.upsert_idempotency(conn, rows.idempotency)
        if rows.events:
            await self.bulk.insert_events(conn, rows.events)


class _CarefulWrite:
    """Sorts rows into inserts and updates by what the tables hold, and finds refused ones by bisection."""

    def __init__(self, writer: Writer, conn: AsyncConnection, batch: Batch) -> None:
        self.writer = writer
        self.conn = conn
        self.stored: dict[str, tuple[str, Touched]] = {
            message_id: (scope.keys.scope_id, touched)
            for scope in batch.scopes.values()
            for message_id, touched in scope.messages.items()
        }
        self.scopes = {scope.keys.scope_id: scope.keys for scope in batch.scopes.values()}
        self.refused: list[Refused] = []

    async def write(self, rows: Rows) -> list[Refused]:
        changes = {row.change.id: row.change for row in rows.inserts} | {row.id: row for row in rows.updates}
        live, archived = await self._existing(sorted(changes))
        inserts = [r for r in rows.inserts if r.change.id not in live and r.change.id not in archived]
        missing = [r for r in rows.updates if r.id not in live and r.id not in archived]
        inserts += await self._with_bodies(missing)
        inserts.sort(key=lambda row: row.change.id)
        updates = [change for message_id, change in sorted(changes.items()) if message_id in live]
        bulk = self.writer.bulk
        await self._bisect(inserts, bulk.insert_messages, lambda row, e: self._refuse(row.change.id, e))
        await self._bisect(updates, bulk.update_messages, lambda row, e: self._refuse(row.id, e))
        await self._bisect(rows.idempotency, bulk.upsert_idempotency, _drop)
        await self._bisect(rows.events, bulk.insert_events, _drop)
        for message_id in sorted(archived):
            log.warning("message_already_archived", message_id=message_id)
        return self.refused

    async def _existing(self, ids: list[str]) -> tuple[set[str], set[str]]:
        live: set[str] = set()
        archived: set[str] = set()
        for start in range(0, len(ids), IN_ONE_QUERY):
            found = await existing_ids(self.conn, ids[start : start + IN_ONE_QUERY])
            live |= found[0]
            archived |= found[1]
        return live, archived

    async def _with_bodies(self, changes: list[Change]) -> list[NewMessage]:
        """Rows that an update did not find, whole: the envelope is read now."""
        made = []
        for change in changes:
            scope_id, touched = self.stored[change.id]
            scope, record = self.scopes[scope_id], touched.record
            if record is None:
                continue
            envelope: Any = await self.writer.redis.hget(scope.key("body"), change.id)
            touched.envelope = envelope or b""
            try:
                made.append(new_message(change.id, touched, record, scope)[0])
            except ValueError as error:
                self.refused.append(refusal(scope_id, change.id, touched, error))
        return made

    def _refuse(self, message_id: str, error: Exception) -> None:
        scope_id, touched = self.stored[message_id]
        reason = error.orig if isinstance(error, DBAPIError) else error
        self.refused.append(refusal(scope_id, message_id, touched, Exception(str(reason))))

    async def _bisect(
        self,
        rows: Sequence[T],
        write: Callable[[AsyncConnection, Sequence[T]], Awaitable[object]],
        refuse: Callable[[T, Exception], None],
    ) -> None:
        if not rows:
            return
        try:
            async with self.conn.begin_nested():
                await write(self.conn, rows)
        except Exception as error:
            if not _is_refusal(error):
                raise
            if len(rows) == 1:
                refuse(rows[0], error)
                return
            middle = len(rows) // 2
            await self._bisect(rows[:middle], write, refuse)
            await self._bisect(rows[middle:], write, refuse)


def _is_refusal(error: Exception) -> bool:
    """True where the row is at fault, so that trying it again can't help."""
    if isinstance(error, DataError | IntegrityError | UnicodeError | OverflowError):
        return True
    code = error.orig.args[:1] if isinstance(error, OperationalError) and error.orig else ()
    return bool(code) and code[0] in ROW_FAULTS


def _drop(row: object, error: Exception) -> None:
    """A refused event or idempotency row: the message itself is safe."""
    log.error("row_refused", row=repr(row)[:500], error=str(error)[:500])


async def _write_quarantine(conn: AsyncConnection, refused: list[Refused], now_ms: int) -> None:
    await conn.execute(
        insert(quarantine),
        [
            {
                "scope_id": message.scope_id,
                "message_id": message.message_id,
                "epoch": message.version.epoch,
                "n": message.version.n,
                "record": message.record,
                "envelope": message.envelope,
                "error": message.error,
                "at": now_ms,
            }
            for message in refused
        ],
    )
