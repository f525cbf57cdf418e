"""One transaction per batch: position, messages, idempotency, events; refused rows go into quarantine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import structlog
from redis.asyncio import Redis
from sqlalchemy import insert
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.keys import Shard
from scaiqueue.persister import metrics
from scaiqueue.persister.batch import Batch, Refused, Rows, ScopeBatch, rate_counts
from scaiqueue.persister.collect import refusal
from scaiqueue.persister.message_rows import heading_of, split
from scaiqueue.persister.rule_counts import RuleCounts
from scaiqueue.records import Version, decode_record
from scaiqueue.rows import positions, rates, streams
from scaiqueue.rows.bulk import (
    BulkWriter,
    ChangedMessage,
    CopyRow,
    NewMessage,
    RowSet,
    Written,
    existing_ids,
)
from scaiqueue.rows.bulk_mariadb import MariaDbBulk
from scaiqueue.rows.bulk_sqlite import SqliteBulk
from scaiqueue.rows.engine import is_sqlite
from scaiqueue.rows.positions import Step
from scaiqueue.rows.tables import quarantine

log = structlog.get_logger("scaiqueue.persister")
# MariaDB calls these operational, though only the row is at fault: row too large, signal, constraint.
ROW_FAULTS = {1118, 1644, 4025}
IN_ONE_QUERY = 500
IN_FLIGHT = 2
T = TypeVar("T")
# Moves the position of a shard by compare-and-set, in the batch's transaction.
Advance = Callable[[AsyncConnection, int, Version, Version, int, int], Awaitable[bool]]


class PositionMoved(Exception):
    """Another owner has moved the shard's position: what this one read is void."""


class Writer:
    """Writes batches of one row store. `redis` serves bodies of rows that turn out to be missing."""

    def __init__(self, engine: AsyncEngine, redis: Redis, advance: Advance = positions.advance) -> None:
        self.engine = engine
        self.redis = redis
        # One commits while the other's batch is made ready; more would only make batches smaller.
        self.slots = asyncio.Semaphore(IN_FLIGHT)
        self.rule_counts = RuleCounts(engine)
        self._idle: list[AsyncConnection] = []
        self._advance = advance
        self.bulk: BulkWriter = SqliteBulk() if is_sqlite(engine) else MariaDbBulk()

    async def commit(self, batch: Batch, rows: Rows, old: Version) -> None:
        """Write all of it or nothing. Raises PositionMoved, or a database error that is worth a retry."""
        step = Step(batch.shard, old, batch.end, batch.published, int(time.time() * 1000))
        if rows.refused or not await self._quick(step, batch, rows):
            await self._carefully(step, batch, rows)

    async def _quick(self, step: Step, batch: Batch, rows: Rows) -> bool:
        """False where rows must be looked at one by one: nothing is written then."""
        counts = rate_counts(batch)
        whole = RowSet(step, rows.inserts, rows.updates, rows.idempotency, rows.events, counts, rows.copies)
        try:
            async with self._connected() as conn, conn.begin() as transaction:
                written = await self.bulk.write(conn, whole)
                if written is not Written.all:
                    await transaction.rollback()
                elif rows.streams:
                    await streams.write(conn, rows.streams, rows.chunks)
        except Exception as error:
            if not _is_refusal(error):
                raise
            return False
        if written is Written.moved:
            raise PositionMoved
        return written is Written.all

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        """A connection that is kept for the next batch: to take one from the pool and give it back costs as
        many round trips as the batch itself. After a failure it is not kept."""
        conn = self._idle.pop() if self._idle else await self.engine.connect()
        try:
            yield conn
        except BaseException:
            await conn.close()
            raise
        self._idle.append(conn)

    async def close(self) -> None:
        """Give back the connections that are kept."""
        while self._idle:
            await self._idle.pop().close()

    async def _tell(self, conn: AsyncConnection, rows: Rows) -> None:
        """The rows of events are in their place: nothing more is needed for readers to find them."""

    async def _carefully(self, step: Step, batch: Batch, rows: Rows) -> None:
        async with self.engine.begin() as conn:
            if not await self._advance(conn, *step):
                raise PositionMoved
            refused = rows.refused + await _CarefulWrite(self, conn, batch).write(rows)
            await self._tell(conn, rows)
            if refused:
                await _write_quarantine(conn, refused, step.at)
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


class _CarefulWrite:
    """Sorts rows into inserts and updates by what the tables hold, and finds refused ones by bisection."""

    def __init__(self, writer: Writer, conn: AsyncConnection, batch: Batch) -> None:
        self.writer = writer
        self.conn = conn
        self.batch = batch
        self.stored: dict[str, tuple[ScopeBatch, bytes]] = {
            message_id: (scope, raw)
            for scope in batch.scopes.values()
            for message_id, raw in zip(scope.messages, scope.records, strict=True)
            if raw is not None
        }
        self.refused: list[Refused] = []
        self.copies: list[CopyRow] = []

    async def write(self, rows: Rows) -> list[Refused]:
        changed = [ChangedMessage(row.id, row.change) for row in rows.inserts] + rows.updates
        live, archived = await self._existing(sorted(row.id for row in changed))
        inserts = [r for r in rows.inserts if r.id not in live and r.id not in archived]
        missing = [r for r in rows.updates if r.id not in live and r.id not in archived]
        inserts += await self._with_bodies(missing)
        inserts.sort(key=lambda row: row.id)
        updates = sorted((row for row in changed if row.id in live), key=lambda row: row.id)
        bulk = self.writer.bulk
        await self._bisect(inserts, bulk.insert_messages, lambda row, e: self._refuse(row.id, e))
        await self._bisect(updates, bulk.update_messages, lambda row, e: self._refuse(row.id, e))
        await self._bisect(rows.idempotency, bulk.upsert_idempotency, _drop)
        await self._bisect(rows.events, bulk.insert_events, _drop)
        await self._bisect(rows.streams, lambda conn, some: streams.write(conn, some, ()), _drop)
        await self._bisect(rows.chunks, lambda conn, some: streams.write(conn, (), some), _drop)
        await self._bisect(rows.copies + self.copies, bulk.insert_copies, _drop)
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

    async def _with_bodies(self, changed: list[ChangedMessage]) -> list[NewMessage]:
        """Rows that an update did not find, whole: the envelope is read now."""
        made = []
        for message_id, change in changed:
            scope, raw = self.stored[message_id]
            record = decode_record(raw)
            place = ("shared", record.shared) if record.shared else ("body", message_id)
            envelope: Any = await self.writer.redis.hget(scope.keys.key(place[0]), place[1])
            if envelope is None:
                await self._check_kept()
            scope.envelopes[message_id] = envelope
            try:
                head, body = split(envelope or b"")
                if parent := record.parent(message_id):
                    body = b""
                    self.copies.append(CopyRow(message_id, parent))
                heading, _ = heading_of(scope.keys, head)
                made.append(NewMessage(message_id, record.seq, record.created_at, body, change, heading))
            except ValueError as error:
                self.refused.append(refusal(scope, message_id, raw, error))
        return made

    async def _check_kept(self) -> None:
        """Raises PositionMoved where Redis lost the batch meanwhile: then its rows must be restored, not
        refused."""
        end = str(self.batch.end)
        if not await self.writer.redis.xrange(Shard(self.batch.shard).journal, min=end, max=end, count=1):
            raise PositionMoved(f"shard {self.batch.shard}: entry {end} is gone from the journal")

    def _refuse(self, message_id: str, error: Exception) -> None:
        scope, raw = self.stored[message_id]
        reason = error.orig if isinstance(error, DBAPIError) else error
        self.refused.append(refusal(scope, message_id, raw, Exception(str(reason))))

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
