"""Erasures as jobs: in steps, each of which may be done twice; another process goes on where one stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec
import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils import uuid7

from scaiqueue.erasure import metrics
from scaiqueue.erasure.index import Erased, Index
from scaiqueue.erasure.places import OF_MESSAGES, OF_STREAMS, OF_SUBJECT, Erase, Target
from scaiqueue.erasure.streams import Streams
from scaiqueue.erasure.subject import Subject
from scaiqueue.keys import ScopeKeys, Shard
from scaiqueue.moments import now_ms
from scaiqueue.rows import copies, erasures, scopes
from scaiqueue.rows.engine import reading
from scaiqueue.rows.erasures import RUNNING, TABLES, ErasureRow
from scaiqueue.rows.scopes import ScopeRow
from scaiqueue.scripts.replies import NotReadyError

STEP = 100
ABANDONED_MS = 60_000
LOOK_EVERY_S = 10.0
RETRY_S = 1.0
SETTLED_S = 1.0

_log = structlog.get_logger("scaiqueue.erasure")


class Cursor(msgspec.Struct, kw_only=True):
    """The scope that is searched, its table (a place in TABLES), and the last id looked at. `under_way`:
    found and perhaps not all erased yet; once their rows are changed no search finds them again."""

    scope_id: str = ""
    table: int = 0
    after: str = ""
    under_way: list[str] = []


Counts = dict[str, int]
"""Of messages found, of those in the index, and of rows by table."""

_subject = msgspec.json.Decoder(Subject)
_cursor = msgspec.json.Decoder(Cursor)
_counts = msgspec.json.Decoder(Counts)


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


class Eraser:
    """Runs the erasures of this process, and takes up those that others left."""

    def __init__(self, engine: AsyncEngine, index: Index, streams: Streams) -> None:
        self._engine = engine
        self._index = index
        self._streams = streams
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def begin(
        self, tenant: str, scope_id: str, actor: str, subject: Subject, *, redact: bool, dry_run: bool
    ) -> ErasureRow:
        """Make the job and start it. What is small is done when this returns."""
        now = now_ms()
        row = ErasureRow(
            id=str(uuid7()),
            tenant_id=tenant,
            scope_id=scope_id,
            mode="redact" if redact else "erase",
            dry_run=dry_run,
            kinds=_text(subject.kinds),
            subject=_text(subject),
            state=RUNNING,
            counts=_text({"found": 0, "index": 0}),
            cursor=_text(Cursor()),
            cancel_requested=False,
            actor=actor,
            created_at=now,
            updated_at=now,
        )
        await erasures.create(self._engine, row)
        await asyncio.wait({self._start(row)}, timeout=SETTLED_S)
        return await erasures.find(self._engine, tenant, row.id) or row

    async def run(self) -> None:
        """Take up abandoned jobs now and then, until cancelled; then stop this process's own."""
        try:
            while True:
                try:
                    for row in await erasures.abandoned(self._engine, ABANDONED_MS):
                        if row.id not in self._tasks:
                            self._start(row)
                except (SQLAlchemyError, OSError) as error:
                    _log.warning("erasures not readable", error=str(error))
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _start(self, row: ErasureRow) -> asyncio.Task[None]:
        task = self._tasks[row.id] = asyncio.create_task(self._carry_on(row))
        task.add_done_callback(lambda _: self._tasks.pop(row.id, None))
        return task

    async def _carry_on(self, row: ErasureRow) -> None:
        current: ErasureRow | None = row
        while current is not None:
            try:
                await _Run(self._engine, self._index, self._streams, current).work()
                return
            except (RedisError, SQLAlchemyError, NotReadyError, OSError) as error:
                _log.warning("erasure waits", erasure=row.id, error=str(error)[:500])
            await asyncio.sleep(RETRY_S)
            current = await self._again(current)

    async def _again(self, row: ErasureRow) -> ErasureRow | None:
        """The job as it is now, with a sign of life; the old one while the rows can't be asked."""
        try:
            found = await erasures.find(self._engine, row.tenant_id, row.id)
            if found is None or found.state != RUNNING:
                return None
            return await erasures.save(self._engine, found)
        except (SQLAlchemyError, OSError):
            return row


class _TakenOver(Exception):
    """Another runner goes on with it."""


class _Run:
    """One attempt at a job, from where it is."""

    def __init__(self, engine: AsyncEngine, index: Index, streams: Streams, row: ErasureRow) -> None:
        self._engine = engine
        self._index = index
        self._streams = streams
        self._row = row
        self._subject = _subject.decode(row.subject)
        self._cursor = _cursor.decode(row.cursor)
        self._counts = _counts.decode(row.counts)

    async def work(self) -> None:
        """Raises what servers raise: another attempt goes on from the last step."""
        try:
            while (scope := await self._next_scope()) is not None:
                keys = ScopeKeys(Shard(scope.shard), scope.tenant_id, scope.id)
                await self._index.settle(keys)
                if not self._cursor.table and not self._cursor.after:
                    await self._erase_streams(keys)
                while self._cursor.table < len(TABLES):
                    if self._row.cancel_requested:
                        await self._end("cancelled")
                        return
                    await self._step(keys)
            self._add(await self._rows(OF_SUBJECT, self._target()))
            await self._end("completed")
        except _TakenOver:
            pass

    async def _next_scope(self) -> ScopeRow | None:
        """The scope under way, or the next one."""
        at, only = self._cursor, self._row.scope_id
        if at.scope_id and at.table < len(TABLES):
            found = await scopes.find(self._engine, self._row.tenant_id, at.scope_id)
            if found is not None:
                return found
        if only:
            left = [] if at.scope_id else [await scopes.find(self._engine, self._row.tenant_id, only)]
        else:
            left = [*await scopes.page(self._engine, self._row.tenant_id, at.scope_id, 1)]
        scope = left[0] if left else None
        if scope is not None:
            self._cursor = Cursor(scope_id=scope.id)
        return scope

    async def _step(self, scope: ScopeKeys) -> None:
        at = self._cursor
        if at.under_way:
            await self._erase(scope)
        found = await erasures.candidates(
            self._engine,
            TABLES[at.table],
            scope.scope_id,
            at.after,
            STEP,
            correlation_id=self._subject.correlation_id,
            source_id=self._subject.source_id,
            bodies=bool(self._subject.body),
        )
        fits = self._subject.fits
        at.under_way = [one.id for one in found if fits(one.header, one.overlay, one.body)]
        if at.under_way:
            await self._save()
            await self._erase(scope)
        if len(found) < STEP:
            at.table, at.after = at.table + 1, ""
        else:
            at.after = found[-1].id
        await self._save()

    async def _erase(self, scope: ScopeKeys) -> None:
        """What is under way, first in the index: its rows are written once more by what follows from that."""
        row = self._row
        for ids in await self._reached(self._cursor.under_way):
            if row.dry_run:
                done = Erased(await self._index.count(scope, ids), {})
            else:
                done = await self._index.erase(scope, ids, row.actor, redact=row.mode == "redact")
                metrics.messages_total.labels(row.mode).inc(len(ids))
            self._add({"found": len(ids), "index": done.found})
            target = msgspec.structs.replace(self._target(scope.scope_id, ids), headers=done.headers)
            self._add(await self._rows(OF_MESSAGES, target))
        self._cursor.under_way = []

    async def _reached(self, ids: list[str]) -> list[list[str]]:
        """In parts, what shares a body never in two; a dry run, which changes nothing, finds copies by
        themselves."""
        if self._row.dry_run:
            return [ids]
        async with reading(self._engine) as conn:
            families = await copies.families(conn, ids)
        parts: list[list[str]] = [[]]
        for family in families:
            if len(parts[-1]) >= STEP:
                parts.append([])
            parts[-1] += family
        return parts

    async def _erase_streams(self, scope: ScopeKeys) -> None:
        """All of the scope's, before its messages: one that is being assembled becomes one of them."""
        before, more = "", True
        while more:
            found, before = await self._streams.fitting(scope, self._subject, before)
            more = bool(before)
            if found:
                if not self._row.dry_run:
                    await self._streams.end(scope, found, self._row.actor)
                target = self._target(scope.scope_id, stream_ids=[row.id for row in found])
                self._add(await self._rows(OF_STREAMS, target))

    async def _rows(self, places: Mapping[str, Erase], target: Target) -> Counts:
        """All places in one transaction; a dry run takes it back."""
        async with self._engine.connect() as conn, conn.begin() as transaction:
            counts = {name: await erase(conn, target) for name, erase in places.items()}
            if self._row.dry_run:
                await transaction.rollback()
        return counts

    def _target(
        self, scope_id: str = "", message_ids: Sequence[str] = (), stream_ids: Sequence[str] = ()
    ) -> Target:
        return Target(
            tenant_id=self._row.tenant_id,
            subject=self._subject,
            redact=self._row.mode == "redact",
            scope_id=scope_id,
            message_ids=message_ids,
            stream_ids=stream_ids,
        )

    def _add(self, counts: Counts) -> None:
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0) + count

    async def _save(self) -> None:
        await self._write(cursor=_text(self._cursor), counts=_text(self._counts))

    async def _end(self, state: str) -> None:
        """With its end the erasure forgets whom it was about."""
        await self._write(state=state, subject="", cursor="", counts=_text(self._counts))
        metrics.erasures_total.labels(self._row.mode, state).inc()

    async def _write(self, **values: str) -> None:
        saved = await erasures.save(self._engine, self._row, **values)
        if saved is None:
            raise _TakenOver
        self._row = saved
