"""A shard whose Redis is away: script calls are answered from the rows, settings are written into them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.fallback import rows
from scaiqueue.fallback.runner import FallbackRunner
from scaiqueue.keys import QueueKeys, ScopeKeys
from scaiqueue.records import Flag, Outcome, Record, State, Version, join_envelope
from scaiqueue.rows import positions, tables
from scaiqueue.rows.engine import reading
from scaiqueue.rows.queues import Aging, Backoff, QueueRow, QueueSettings, encode_settings
from scaiqueue.rows.scopes import ScopeRow

TERM = 1
VERBS = ("publish", "claim", "complete", "fail", "release", "extend")
MAX_BODY = 262_144


class Stored(NamedTuple):
    record: Record
    outcome: Outcome
    envelope: bytes
    history: str


class Ground:
    """`run` takes what an EVALSHA takes: the six verbs, `configure`, and `cancel` of what is claimed."""

    def __init__(self, engine: AsyncEngine, shard: int, epoch: int = 1) -> None:
        self.engine = engine
        self.shard = shard
        self.epoch = epoch
        self.max_body = MAX_BODY
        self._fields: dict[tuple[str, str], dict[str, str]] = {}

    async def empty(self) -> None:
        """As an installation without a message."""
        self._fields.clear()
        async with self.engine.begin() as conn:
            for table in tables.metadata.sorted_tables:
                await conn.execute(delete(table))
            await positions.create(conn, self.shard, Version(self.epoch, -1), 0)

    async def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> list[Any]:
        if name in VERBS:
            return await self._runner().run(name, keys, [str(self.epoch), *args[1:]], term=TERM)
        if name == "configure":
            return await self._configure(keys, [_text(part) for part in args])
        assert name == "cancel", name
        return await self._request_cancel([_text(part) for part in args[2::2]])

    async def _configure(self, keys: Sequence[str], args: list[str]) -> list[Any]:
        meta = [key.removesuffix(":meta") for key in keys if key.endswith(":meta")]
        scope = ScopeKeys.parse(meta[0])
        slug = meta[1].rpartition(":")[2] if len(meta) > 1 else ""
        fields = self._fields.setdefault((scope.scope_id, slug), {})
        fields |= dict(zip(args[4::2], args[5::2], strict=True))
        async with self.engine.begin() as conn:
            if slug:
                await conn.execute(
                    delete(tables.queues).where(tables.queues.c.id == f"{scope.scope_id}-{slug}")
                )
                row = msgspec.structs.asdict(queue_row(scope, slug, fields))
                await conn.execute(insert(tables.queues).values(**row))
            else:
                await conn.execute(delete(tables.scopes).where(tables.scopes.c.id == scope.scope_id))
                row = msgspec.structs.asdict(scope_row(scope, fields["state"]))
                await conn.execute(insert(tables.scopes).values(**row))
        return [[b"OK", b""], [b"OK"]]

    async def forget_scope(self, meta_key: str) -> None:
        scope = ScopeKeys.parse(meta_key.removesuffix(":meta"))
        async with self.engine.begin() as conn:
            await conn.execute(delete(tables.scopes).where(tables.scopes.c.id == scope.scope_id))

    async def _request_cancel(self, ids: Sequence[str]) -> list[Any]:
        """Noted while Redis was still there."""
        c = tables.messages.c
        async with self.engine.begin() as conn:
            found = await positions.load(conn, [self.shard])
            before = found[self.shard].version
            version = Version(before.epoch, before.n + 1)
            await positions.advance(conn, self.shard, before, version, found[self.shard].published, 0)
            await conn.execute(
                update(tables.messages)
                .where(c.id.in_(ids), c.state == State.claimed.value)
                .values(flags=c.flags + Flag.cancel_requested.value, touched_n=version.n)
            )
        return [[b"OK", b""], *([b"OK", b"cancel_requested"] for _ in ids)]

    async def settle(self, queue: QueueKeys, now: int, limit: int) -> int:
        """What is overdue in a queue."""
        return await self._runner().settle(queue, limit, term=TERM, epoch=str(self.epoch), now=now)

    def _runner(self) -> FallbackRunner:
        return FallbackRunner(self.engine, max_body=self.max_body, test_clock=True)

    async def stored(self, scope_id: str) -> dict[str, Stored]:
        """What the rows hold of a scope's messages, by id."""
        c = tables.messages.c
        query = select(*rows.RECORD_COLUMNS, c.response, c.header, c.body, c.history)
        async with reading(self.engine) as conn:
            return {
                row.id: Stored(
                    rows.record_of(row),
                    Outcome(bytes(row.response), row.failure_reason),
                    join_envelope(row.header.encode(), bytes(row.body)),
                    row.history,
                )
                for row in await conn.execute(query.where(c.scope_id == scope_id))
            }

    async def members(self, scope_id: str) -> dict[tuple[str, int], dict[str, int]]:
        """(queue, kind) → id → score, of the queues whose sets are kept."""
        c = tables.fallback_members.c
        found: dict[tuple[str, int], dict[str, int]] = {}
        async with reading(self.engine) as conn:
            for row in await conn.execute(select(c).where(c.scope_id == scope_id)):
                found.setdefault((row.queue, row.kind), {})[row.message_id] = row.score
        return found

    async def kept(self, scope_id: str) -> set[str]:
        """The queues whose sets are kept."""
        c = tables.fallback_queues.c
        async with reading(self.engine) as conn:
            return set((await conn.execute(select(c.queue).where(c.scope_id == scope_id))).scalars())


def scope_row(scope: ScopeKeys, state: str) -> ScopeRow:
    return ScopeRow(
        id=scope.scope_id, tenant_id=scope.tenant, slug=f"s{scope.scope_id}", shard=scope.shard.number,
        display_name="", description="", durability="", state=state, version=1, created_at=0, updated_at=0,
    )  # fmt: skip


def queue_row(scope: ScopeKeys, slug: str, fields: dict[str, str]) -> QueueRow:
    """From the fields of `configure` back to what a row holds."""
    given: dict[str, Any] = {}
    if "backoff" in fields:
        strategy, base, factor, most, jitter = fields["backoff"].split()
        given["backoff"] = Backoff(
            strategy,
            int(base) / 1000,
            float(factor),
            int(most) / 1000,
            jitter,  # type: ignore[arg-type]
        )
    if fields.get("aging"):
        after, step, every = map(int, fields["aging"].split())
        given["aging"] = Aging(after // 1000, step, every // 1000)
    numbers = {"max_depth": "max_depth", "max_retries": "max_retries"}
    given |= {name: int(fields[field]) for field, name in numbers.items() if field in fields}
    if "visibility_ms" in fields:
        given["visibility_timeout_s"] = int(fields["visibility_ms"]) // 1000
    words = {"ordering": "ordering", "overflow": "overflow_policy", "access": "access"}
    given |= {name: fields[field] for field, name in words.items() if fields.get(field)}
    given["require_claim_token"] = fields.get("require_token") == "1"
    return QueueRow(
        id=f"{scope.scope_id}-{slug}", tenant_id=scope.tenant, scope_id=scope.scope_id, slug=slug,
        display_name="", description="", state=fields.get("state", "active"),
        settings=encode_settings(QueueSettings(**given)), version=1, created_at=0, updated_at=0,
    )  # fmt: skip


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
