"""What one API process consists of: connections, caches, and the tasks that keep them fresh."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec
import structlog
from redis.exceptions import RedisError
from sqlalchemy import literal, select
from uuid_utils import uuid7

from scaiqueue.access.gate import AccessGate
from scaiqueue.access.rates import RateLimiter
from scaiqueue.api.permissions import ALL_PERMISSIONS
from scaiqueue.api.preparation import prepare
from scaiqueue.audit.trail import Trail
from scaiqueue.connection import open_redis
from scaiqueue.connection_pipeline import ConnectionPipeline
from scaiqueue.erasure.index import Index
from scaiqueue.erasure.job import Eraser
from scaiqueue.erasure.streams import Streams
from scaiqueue.errors import Code
from scaiqueue.events.feed import Feed
from scaiqueue.events.pulse import Pulse
from scaiqueue.events.reader import EventReader
from scaiqueue.events.waits import Waits
from scaiqueue.fallback.belief import Belief, Path
from scaiqueue.fallback.depths import row_depths
from scaiqueue.fallback.gate import Gate
from scaiqueue.fallback.runner import FallbackRunner
from scaiqueue.fallback.sweep import Sweep
from scaiqueue.fallback.watch import Watch
from scaiqueue.keys import QueueKeys, ScopeKeys, Shard
from scaiqueue.moments import now_ms
from scaiqueue.persister.service import Persister
from scaiqueue.queueing.administration import Administration
from scaiqueue.queueing.backfill import Backfiller
from scaiqueue.queueing.claim import Claimer
from scaiqueue.queueing.configure import Configurator, Repairer
from scaiqueue.queueing.depths import Depths, read_depths
from scaiqueue.queueing.directory import Directory
from scaiqueue.queueing.documents import DocumentShelf
from scaiqueue.queueing.key_ring import KeyRing, secret_hash
from scaiqueue.queueing.memory import MemoryWatch
from scaiqueue.queueing.publish import Publisher
from scaiqueue.queueing.reading import MessageReader
from scaiqueue.queueing.redrive import Redriver
from scaiqueue.queueing.removal import Purger, Removal
from scaiqueue.queueing.reviews import Reviews
from scaiqueue.queueing.rulebook import Rulebooks, RuleKeeper
from scaiqueue.queueing.settle import Settlement
from scaiqueue.queueing.signals import Signals
from scaiqueue.queueing.subscriptions import Subscriptions
from scaiqueue.queueing.waiting import WaitingRoom
from scaiqueue.recovery import progress
from scaiqueue.recovery.service import Limits, Recovery
from scaiqueue.rows import api_keys, documents, positions
from scaiqueue.rows.api_keys import KeyRow
from scaiqueue.rows.engine import open_engine, reading
from scaiqueue.rows.migrate import upgrade
from scaiqueue.schemas.checks import SchemaChecks
from scaiqueue.scripts.binding import CompleteItem, complete_call
from scaiqueue.scripts.replies import parse_reply
from scaiqueue.scripts.runner import ScriptRunner
from scaiqueue.settings import Settings
from scaiqueue.streams.assembly import Assembler
from scaiqueue.streams.audience import Audience
from scaiqueue.streams.reading import StreamReader
from scaiqueue.streams.writing import StreamWriter
from scaiqueue.transfers.relay import Relay
from scaiqueue.webhooks.sender import Sender
from scaiqueue_agents.jobs import enqueue_run, open_queue

FIRST_TENANT = "default"
READY_WITHIN_S = 2

_log = structlog.get_logger("scaiqueue.services")


class Readiness(msgspec.Struct):
    """Whether calls can be served, and what is in the way. `mode`: calls go through Redis, through the rows
    while Redis is away (`fallback`), or wait while one takes over from the other. An alarm is for an
    operator, no obstacle yet. `recovery`: how many messages of which shard are back in the index."""

    ready: bool
    mode: Literal["redis", "leaving", "fallback", "returning"]
    failures: dict[str, str]
    alarms: dict[str, str]
    recovery: dict[str, int] | None = None


class Services:
    """Composition of an API process, or of one that only writes rows."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        within_s = settings.redis_timeout_ms / 1000
        self.redis = open_redis(settings.redis_url, within_s=within_s)
        self.engine = open_engine(settings.database_url, within_s=settings.database_timeout_s)
        self.pipeline = ConnectionPipeline(self.redis, within_s)
        self.runner = ScriptRunner(self.redis, execute=self.pipeline.execute)
        limits = Limits.of(settings)
        self.recovery = Recovery(
            self.redis,
            self.runner,
            self.engine,
            shards=settings.shards,
            limits=limits,
        )
        self.runner.may_reload = self.recovery.may_reload
        self.audit = Trail(self.engine, settings.audit_buffer_bytes)
        self.key_ring = KeyRing(self.engine, settings.rate_limit)
        self.access = AccessGate(self.engine, self._access_changed)
        self.rates = RateLimiter(self.redis)
        self.directory = Directory(self.engine)
        self.schemas = DocumentShelf(self.engine, documents.schemas, Code.SCAIQUEUE_SCHEMA_NOT_FOUND)
        self.patterns = DocumentShelf(self.engine, documents.patterns, Code.SCAIQUEUE_PATTERN_NOT_FOUND)
        self.schema_checks = SchemaChecks(self.schemas)
        self.room = WaitingRoom(self.redis)
        self.audience = Audience()
        self.memory = MemoryWatch(self.redis)
        self.signals = Signals(
            self.redis,
            settings.shards,
            on_wake=self._woken,
            on_changed=self._changed,
            on_gap=self._missed,
        )
        # The mode is read, and Redis listened to, on connections that no load can hold up.
        self._mode_engine = open_engine(settings.database_url, pool_size=1)
        self.belief = Belief(self._mode_engine)
        self.fallback = FallbackRunner(
            self.engine,
            max_body=settings.max_body_bytes,
            committed=lambda shard, version: self.persister.watermarks.advance(shard, version),
            wake=self.room.wake,
        )
        self.watch = Watch(
            open_redis(settings.redis_url, connections=1, within_s=within_s),
            self.redis,
            self.belief,
            settings.redis_silence_ms / 1000,
            self.recovery.prepare,
        )
        self.sweep = Sweep(self.belief, self.fallback, self.room.wake_all)
        self.gate = Gate(self.redis, self.belief, self.fallback, self.pipeline.execute)
        self.gate.may_reload = self.recovery.may_reload
        self.configurator = Configurator(self.gate)
        self.rulebooks = Rulebooks(self.engine, self.gate, limits.max_hops, limits.max_matches)
        self.administration = Administration(
            self.engine, settings, self.configurator, lambda scope_id: self.changed("scope", scope_id)
        )
        self.rules = RuleKeeper(
            self.engine,
            self.rulebooks,
            lambda scope_id: self.changed("scope", scope_id),
            self.administration.ensure_outbound,
        )
        self.persister = Persister(
            self.redis,
            self.runner,
            self.engine,
            shards=settings.shards,
            recover=self.recovery.prepare,
            carries=settings.persist,
        )
        watermarks = self.persister.watermarks
        repairer = Repairer(self.engine, self.configurator, self.rulebooks)
        self.reader = MessageReader(self.redis, self.engine, self.directory, self._rows_lead)
        watermarks.rows_lead = self._rows_lead
        self.publisher = Publisher(self.gate, watermarks, repairer, settings.commit_timeout_s)
        self.claimer = Claimer(self.gate, self.room, repairer)
        self.settlement = Settlement(self.gate, watermarks, self.reader.facts, settings.commit_timeout_s)
        self.relay = Relay(
            self.engine, self.directory, self.claimer, self.publisher, self.settlement, self.room
        )
        self.reviews = Reviews(
            self.gate, watermarks, self.reader, settings.commit_timeout_s, settings.max_body_bytes
        )
        self.purger = Purger(self.gate, watermarks, settings.commit_timeout_s)
        self.removal = Removal(
            self.redis,
            self.gate,
            self.engine,
            self.administration,
            self.configurator,
            self.purger,
            lambda scope_id: self.changed("scope", scope_id),
        )
        self.stream_reader = StreamReader(self.redis, self.engine, self.audience, self._rows_lead)
        self.stream_writer = StreamWriter(self.gate, watermarks, repairer, settings.commit_timeout_s)
        self.assembler = Assembler(
            self.redis,
            self.gate,
            self.stream_reader,
            self.directory,
            self.publisher,
            lambda queue, asked: prepare(self, queue, asked),
            settings,
            self._rows_lead,
        )
        self.backfiller = Backfiller(self.gate, self.engine, watermarks, self.directory, self.configurator)
        self.subscriptions = Subscriptions(
            self.redis,
            self.engine,
            self.configurator,
            self.removal,
            self.backfiller,
            lambda scope_id: self.changed("scope", scope_id),
        )
        self.redriver = Redriver(self.gate, self.engine, watermarks, self.directory)
        # What listeners read never waits for the queue's connections, nor keeps them from it.
        self._event_engine = open_engine(
            settings.database_url, pool_size=2, within_s=settings.database_timeout_s
        )
        self.pulse = Pulse()
        watermarks.on_advance = self.pulse.beat
        event_reader = EventReader(self._event_engine)
        self.feed = Feed(event_reader, self.pulse)
        self.waits = Waits(event_reader, self.pulse)
        self.webhook_sender = Sender(settings)
        index = Index(self.redis, self.gate, self.engine, watermarks)
        self.eraser = Eraser(self.engine, index, Streams(self.engine, self.gate, index))
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Bring everything up, in the order of what needs what."""
        await upgrade(self.settings.database_url)
        await self._prepare()
        await self._create_first_key()
        await self.belief.refresh()
        self.watch.start()
        await self.recovery.start()
        await self.persister.start()
        self._spawn("signals", self.signals.run())
        self._spawn("waiting room", self.room.run())
        self._spawn("redrive", self.redriver.run())
        self._spawn("erasure", self.eraser.run())
        self._spawn("assembler", self.assembler.run())
        self._spawn("backfill", self.backfiller.run())
        self._spawn("relay", self.relay.run())
        self._spawn("fallback sweep", self.sweep.run())
        self._spawn("keys", self.key_ring.run())
        self._spawn("audit", self.audit.run())
        self._spawn("access", self.access.run())
        self._spawn("memory", self.memory.run())

    def let_go(self) -> None:
        """Answer whoever waits for something, and let none wait any more."""
        self.room.close()
        self.audience.close()
        self.pulse.close()

    async def stop(self) -> None:
        for task in reversed(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.waits.stop()
        await self.webhook_sender.close()
        await self.persister.stop()
        await self.recovery.stop()
        await self.watch.stop()
        await self.key_ring.write_last_uses()
        await self.audit.close()
        await self.pipeline.aclose()
        await self.redis.aclose()
        await self.engine.dispose()
        await self._mode_engine.dispose()
        await self._event_engine.dispose()

    def _rows_lead(self) -> bool:
        return self.belief.path is Path.rows

    async def _prepare(self) -> None:
        """An installation that has been in use starts without Redis, too: the rows take over."""
        try:
            await self.recovery.prepare()
        except (RedisError, OSError) as error:
            async with reading(self.engine) as connection:
                if await positions.number_of_shards(connection) < self.settings.shards:
                    raise
            _log.error("started without Redis", error=str(error))

    async def depths(self, queues: Sequence[tuple[QueueKeys, str]]) -> list[Depths]:
        """Of queues given with their ordering."""
        if self._rows_lead():
            return await row_depths(self.engine, [keys for keys, _ in queues])
        return await read_depths(self.redis, queues)

    async def run_agent(self, name: str) -> bool:
        """Ask a worker for a run of a system agent; False if one waits already. Raises LookupError."""
        queue = open_queue(self.settings)
        try:
            return bool(await enqueue_run(queue, name))
        finally:
            await queue.disconnect()

    async def readiness(self) -> Readiness:
        """Ask what every call needs, each within a bound."""
        checks = {"rows": self._ask_rows()}
        if self.belief.path is not Path.rows:
            checks["scripts"] = self._ask_scripts()
        answers = await asyncio.gather(
            *(asyncio.wait_for(check, READY_WITHIN_S) for check in checks.values()), return_exceptions=True
        )
        failures = {
            name: f"{type(answer).__name__}: {answer}".removesuffix(": ")
            for name, answer in zip(checks, answers, strict=True)
            if isinstance(answer, BaseException)
        }
        alarms = {}
        if memory := self.memory.now.alarm:
            alarms["redis_memory"] = memory
        if "scripts" in checks and "scripts" not in failures and (left := await self._ask_owners()):
            alarms["persister"] = f"no process writes the rows of shards {left}"
        recovering = await self._ask_recovery() if "scripts" in failures else None
        return Readiness(not failures, self.belief.row.mode.value, failures, alarms, recovering)

    async def _ask_owners(self) -> list[int]:
        """Shards that no process carries into the rows."""
        pipe = self.redis.pipeline(transaction=False)
        for number in range(self.settings.shards):
            pipe.exists(Shard(number).owner)
        try:
            owned = await asyncio.wait_for(pipe.execute(), READY_WITHIN_S)
        except (RedisError, OSError):
            return []
        return [number for number, there in enumerate(owned) if not there]

    async def _ask_recovery(self) -> dict[str, int] | None:
        try:
            return await asyncio.wait_for(progress.read(self.redis), READY_WITHIN_S)
        except (RedisError, OSError):
            return None

    async def _ask_scripts(self) -> None:
        """Run a script by its SHA-1 on every shard, on a scope that isn't there."""
        item = CompleteItem(str(UUID(int=0)), "0.0", "readyz")
        calls = [
            complete_call(ScopeKeys(Shard(number), "_", "_"), [item])
            for number in range(self.settings.shards)
        ]
        for answer in await self.gate.run_many(calls):
            if isinstance(answer, Exception):
                raise answer
            parse_reply(answer)

    async def _ask_rows(self) -> None:
        async with reading(self.engine) as connection:
            await connection.execute(select(literal(1)))

    async def changed(self, kind: str, name: str) -> None:
        """A scope or key has changed, or there is a version of access: here at once, elsewhere as soon as the
        word arrives."""
        self._changed(kind, name)
        await self.signals.announce(kind, name)

    def _changed(self, kind: str, name: str) -> None:
        if kind == "key":
            self.key_ring.forget(name)
            self.access.changed()
        elif kind == "access":
            self.access.heard(int(name))
        elif kind == "scope":
            self.directory.forget(name)
            self.schemas.forget(name)
            self.patterns.forget(name)
            self.relay.look_again()
            self.pulse.beat_all()

    def _access_changed(self) -> None:
        """Keys, grants or ACLs: who waits is asked again whether it may."""
        self.key_ring.outdate()
        self.room.wake_all()
        self.audience.wake_all()
        self.pulse.beat_all()

    def _woken(self, root: str) -> None:
        """Something is in a queue, or has happened to a stream."""
        self.room.wake(root)
        self.audience.wake(root)

    def _missed(self) -> None:
        self.key_ring.clear()
        self.directory.clear()
        self.schemas.clear()
        self.patterns.clear()
        self.room.wake_all()
        self.audience.wake_all()

    async def _create_first_key(self) -> None:
        secret = self.settings.api_key
        if not secret:
            return
        await api_keys.create_first(
            self.engine,
            KeyRow(
                id=str(uuid7()),
                tenant_id=FIRST_TENANT,
                name="first key",
                key_hash=secret_hash(secret),
                prefix=secret[:8],
                permissions=msgspec.json.encode(ALL_PERMISSIONS).decode(),
                scopes="[]",
                queues="[]",
                created_at=now_ms(),
                expires_at=0,
                revoked_at=0,
                last_used_at=0,
            ),
        )

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_report)
        self._tasks.append(task)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("a task of the process ended", task=task.get_name(), exc_info=error)
