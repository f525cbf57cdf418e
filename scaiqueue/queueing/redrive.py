"""Redrive of the dead letter as a job: it goes on in another process where its runner stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import msgspec
import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils import uuid7

from scaiqueue.moments import now_ms
from scaiqueue.persister.watermarks import Watermarks
from scaiqueue.queueing.directory import Directory, ScopeEntry
from scaiqueue.records import Origin, Version
from scaiqueue.rows import jobs, messages
from scaiqueue.rows.jobs import RUNNING, JobRow
from scaiqueue.rows.messages import Filter
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import RedriveItem
from scaiqueue.scripts.replies import NotReadyError
from scaiqueue.scripts.runner import ScriptRunner

KIND = "dead_letter_redrive"
STEP = 100
HEARTBEAT_S = 5.0
ABANDONED_MS = 30_000
LOOK_EVERY_S = 10.0
RETRY_S = 1.0
SETTLED_S = 1.0
COMMIT_S = 10.0

_log = structlog.get_logger("scaiqueue.redrive")


class RedriveFilter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which messages: all that is given must hold. `queue` and `reason` are those of the origin."""

    type: str | None = None
    correlation_id: str | None = None
    source_id: str | None = None
    queue: str | None = None
    reason: str | None = None
    created_after: int | None = None
    created_before: int | None = None
    labels: dict[str, str] = {}

    def rows(self) -> Filter:
        return Filter(
            type=self.type,
            correlation_id=self.correlation_id,
            source_id=self.source_id,
            created_after=self.created_after,
            created_before=self.created_before,
            labels=self.labels,
        )

    def takes(self, origin: Origin | None) -> bool:
        queue = origin.queue if origin else None
        reason = origin.reason if origin else None
        return self.queue in (None, queue) and self.reason in (None, reason)


class RedriveParameters(msgspec.Struct, frozen=True, kw_only=True):
    """`target` "" is each message's origin; `rate` is messages a second, 0 as fast as can be."""

    filter: RedriveFilter = RedriveFilter()
    target: str = ""
    rate: float = 0.0
    dry_run: bool = False


class RedriveProgress(msgspec.Struct, kw_only=True):
    """`refused`: per reason, messages whose target was closed; they stay. `cursor`: the last id looked at."""

    matched: int = 0
    redriven: int = 0
    skipped: int = 0
    refused: dict[str, int] = {}
    cursor: str = ""


_parameters = msgspec.json.Decoder(RedriveParameters)
_progress = msgspec.json.Decoder(RedriveProgress)


def _text(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()


class Redriver:
    """Runs redrive jobs of this process, and takes up those that others left."""

    def __init__(
        self, runner: ScriptRunner, engine: AsyncEngine, watermarks: Watermarks, directory: Directory
    ) -> None:
        self._runner = runner
        self._engine = engine
        self._watermarks = watermarks
        self._directory = directory
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def begin(self, scope: ScopeEntry, actor: str, parameters: RedriveParameters) -> JobRow:
        """Make the job and start it. What is small is done when this returns."""
        now = now_ms()
        job = JobRow(
            id=str(uuid7()),
            tenant_id=scope.row.tenant_id,
            scope_id=scope.id,
            kind=KIND,
            state=RUNNING,
            parameters=_text(parameters),
            progress=_text(RedriveProgress()),
            cancel_requested=False,
            actor=actor,
            created_at=now,
            updated_at=now,
        )
        await jobs.create(self._engine, job)
        await asyncio.wait({self._start(job)}, timeout=SETTLED_S)
        return await jobs.find(self._engine, scope.id, job.id) or job

    async def run(self) -> None:
        """Take up abandoned jobs now and then, until cancelled; then stop this process's own."""
        try:
            while True:
                try:
                    for job in await jobs.abandoned(self._engine, KIND, ABANDONED_MS):
                        if job.id not in self._tasks:
                            self._start(job)
                except (SQLAlchemyError, OSError) as error:
                    _log.warning("jobs not readable", error=str(error))
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _start(self, job: JobRow) -> asyncio.Task[None]:
        task = self._tasks[job.id] = asyncio.create_task(self._carry_on(job))
        task.add_done_callback(lambda _: self._tasks.pop(job.id, None))
        return task

    async def _carry_on(self, job: JobRow) -> None:
        while True:
            try:
                await self._work(job)
                return
            except (RedisError, SQLAlchemyError, NotReadyError, OSError) as error:
                _log.warning("redrive waits", job=job.id, error=str(error))
            await asyncio.sleep(RETRY_S)
            found = await self._again(job)
            if found is None:
                return
            job = found

    async def _again(self, job: JobRow) -> JobRow | None:
        """The job as it is now; the old one while the rows can't be asked."""
        try:
            found = await jobs.find(self._engine, job.scope_id, job.id)
        except (SQLAlchemyError, OSError):
            return job
        return found if found is not None and found.state == RUNNING else None

    async def _work(self, job: JobRow) -> None:
        parameters, progress = _parameters.decode(job.parameters), _progress.decode(job.progress)
        scope = await self._directory.scope(job.tenant_id, job.scope_id)
        if not await self._watermarks.wait_journal_end(scope.keys.shard.number, COMMIT_S):
            raise TimeoutError("the rows don't yet hold every dead letter")
        step = STEP if not parameters.rate else max(1, min(STEP, int(parameters.rate)))
        pause = step / parameters.rate if parameters.rate else 0.0
        current: JobRow | None = job
        while current is not None:
            if current.cancel_requested:
                await jobs.save(self._engine, current, "cancelled", _text(progress))
                return
            found = await messages.dead_letters(
                self._engine, job.scope_id, parameters.filter.rows(), progress.cursor, step
            )
            ids = [message_id for message_id, origin in found if parameters.filter.takes(origin)]
            progress.matched += len(ids)
            if ids and not parameters.dry_run:
                await self._redrive(scope, job.actor, parameters.target, ids, progress)
            if found:
                progress.cursor = found[-1][0]
            ended = len(found) < step
            current = await jobs.save(
                self._engine, current, "completed" if ended else RUNNING, _text(progress)
            )
            if ended:
                return
            if pause and ids and not parameters.dry_run:
                current = await self._rest(current, pause, progress)

    async def _rest(self, job: JobRow | None, seconds: float, progress: RedriveProgress) -> JobRow | None:
        """Keep to the rate; a heartbeat tells other processes that the job has a runner."""
        until = time.monotonic() + seconds
        while job is not None and not job.cancel_requested and (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, HEARTBEAT_S))
            job = await jobs.save(self._engine, job, RUNNING, _text(progress))
        return job

    async def _redrive(
        self, scope: ScopeEntry, actor: str, target: str, ids: list[str], progress: RedriveProgress
    ) -> None:
        items = [RedriveItem(message_id, actor, target) for message_id in ids]
        reply = await binding.redrive(self._runner, scope.keys, items)
        await self._committed(scope, reply.entry)
        refused: Mapping[str, str] = {
            "PAUSED": "paused",
            "ARCHIVED": "archived",
            "DRAINING": "draining",
            "READONLY": "readonly",
        }
        for item in reply.items:
            word = str(item[0])
            if word == "OK":
                progress.redriven += 1
            elif word in refused or (word == "NOT_FOUND" and item[1] != b"message"):
                why = refused.get(word, "not_found")
                progress.refused = {**progress.refused, why: progress.refused.get(why, 0) + 1}
            else:
                progress.skipped += 1

    async def _committed(self, scope: ScopeEntry, entry: Version | None) -> None:
        if entry is not None:
            await self._watermarks.wait(scope.keys.shard.number, entry, COMMIT_S)
