"""The way through everything that there is to look at, in small steps: it can be left and taken up again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.integrity.journal import examine_journal
from scaiqueue.integrity.judge import HOME
from scaiqueue.integrity.kinds import Finding
from scaiqueue.integrity.messages import examine_messages
from scaiqueue.integrity.queues import examine_due, examine_keys
from scaiqueue.integrity.snapshot import SETS, records_of
from scaiqueue.keys import QueueKeys, ScopeKeys, Shard
from scaiqueue.records import Record, State
from scaiqueue.rows.engine import reading
from scaiqueue.rows.integrity import live_ids
from scaiqueue.rows.restorable import LIVE_STATES
from scaiqueue.rows.tables import queues, scopes

MESSAGES = 200
QUEUES = 100
KEYS = 500
IDEMPOTENCY_KEYS = "sq:{*:idem:*"

Look = Callable[[], Awaitable[list[Finding]]]


class Cursor(msgspec.Struct, frozen=True):
    """Where a walk goes on. `scope` is an id; the first scope that is there or behind it is meant."""

    stage: str = "shards"
    scope: str = ""
    phase: str = "records"
    token: str = ""


class Step(NamedTuple):
    """Something to look at, as often as wanted; `again` looks at the subjects of these findings alone."""

    look: Look
    again: Callable[[Sequence[Finding]], Look]
    messages: int
    after: Cursor


class Walk:
    def __init__(self, redis: Redis, engine: AsyncEngine, shards: int) -> None:
        self._redis = redis
        self._engine = engine
        self._shards = [Shard(number) for number in range(shards)]

    async def steps(self, start: Cursor) -> AsyncIterator[Step]:
        """From `start` to the end. A step without anything to look at only says how far it is."""
        if start.stage == "shards":
            async for step in self._shard_steps():
                yield step
            start = Cursor("scopes")
        if start.stage == "scopes":
            async for step in self._scope_steps(start):
                yield step
            start = Cursor("keys", token="0")
        async for step in self._key_steps(start.token):
            yield step

    async def _shard_steps(self) -> AsyncIterator[Step]:
        here = Cursor()
        for shard in self._shards:
            look = partial(examine_journal, self._redis, self._engine, shard)
            yield Step(look, lambda _found, look=look: look, 0, here)  # type: ignore[misc]
            known = await self._queues_of(shard)
            cursor = 0
            while True:
                cursor, entries = await _scan(self._redis.zscan(shard.due, cursor, count=QUEUES))
                strangers = [name.decode() for name, _ in entries if name.decode() not in known]
                yield self._due_step([QueueKeys.parse(root) for root in strangers], here)
                if not cursor:
                    break

    async def _queues_of(self, shard: Shard) -> set[str]:
        query = (
            select(scopes.c.tenant_id, scopes.c.id, queues.c.slug)
            .join(queues, queues.c.scope_id == scopes.c.id)
            .where(scopes.c.shard == shard.number)
        )
        async with reading(self._engine) as conn:
            rows = (await conn.execute(query)).all()
        return {ScopeKeys(shard, tenant, scope_id).queue(slug).root for tenant, scope_id, slug in rows}

    async def _scope_steps(self, start: Cursor) -> AsyncIterator[Step]:
        while True:
            query = select(scopes.c.id, scopes.c.tenant_id, scopes.c.shard).where(scopes.c.id >= start.scope)
            async with reading(self._engine) as conn:
                row = (await conn.execute(query.order_by(scopes.c.id).limit(1))).first()
                slugs = select(queues.c.slug).where(queues.c.scope_id == (row.id if row else ""))
                names = sorted((await conn.execute(slugs)).scalars())
            if row is None:
                return
            if row.id != start.scope:
                start = Cursor("scopes", row.id)
            keys = ScopeKeys(Shard(row.shard), row.tenant_id, row.id)
            async for step in self._in_scope(keys, names, start):
                yield step
            start = Cursor("scopes", row.id + "~")

    async def _in_scope(self, scope: ScopeKeys, slugs: list[str], start: Cursor) -> AsyncIterator[Step]:
        phases: dict[str, Callable[[str], AsyncIterator[tuple[dict[str, list[str]], str]]]] = {
            "records": partial(self._in_hash, scope, "state", known_only=True),
            "members": partial(self._strays, scope, slugs),
            "bodies": partial(self._in_hash, scope, "body"),
            "overlays": partial(self._in_hash, scope, "overlay"),
            "outcomes": partial(self._in_hash, scope, "outcome"),
            "rows": partial(self._not_indexed, scope, slugs),
        }
        names = list(phases)
        cursor = Cursor("scopes", scope.scope_id)
        for name in names[names.index(start.phase) :]:
            async for places, token in phases[name](start.token if name == start.phase else ""):
                cursor = Cursor("scopes", scope.scope_id, name, token)
                yield self._message_step(scope, places, cursor)
        for at in range(0, len(slugs), QUEUES):
            keys = [scope.queue(slug) for slug in slugs[at : at + QUEUES]]
            yield self._due_step(keys, cursor)

    async def _in_hash(
        self, scope: ScopeKeys, name: str, token: str, *, known_only: bool = False
    ) -> AsyncIterator[tuple[dict[str, list[str]], str]]:
        """All ids of the records, or those in a hash beside them that have none."""
        if name == "body":
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hlen(scope.key("state"))
                pipe.hlen(scope.key("body"))
                records, bodies = await pipe.execute()
            if bodies <= records:
                return
        cursor = int(token or 0)
        while True:
            cursor, fields = await _scan(self._redis.hscan(scope.key(name), cursor, count=MESSAGES))
            ids = [_text(field) for field in fields]
            if not known_only:
                found = await records_of(self._redis, scope, ids)
                ids = [message_id for message_id, record in found.items() if record is None]
            # A small hash comes whole, whatever was asked for.
            for at in range(0, len(ids), MESSAGES):
                last = at + MESSAGES >= len(ids)
                page: dict[str, list[str]] = {message_id: [] for message_id in ids[at : at + MESSAGES]}
                yield page, str(cursor) if last else token
            if not cursor:
                return
            token = str(cursor)

    async def _strays(
        self, scope: ScopeKeys, slugs: list[str], token: str
    ) -> AsyncIterator[tuple[dict[str, list[str]], str]]:
        """Members of the queues' sets whose records say something else."""
        places = [(slug, name) for slug in slugs for name in SETS]
        slug, _, rest = token.partition(":")
        name, _, at = rest.partition(":")
        begin = places.index((slug, name)) if (slug, name) in places else 0
        for slug, name in places[begin:]:
            cursor = int(at) if at and (slug, name) == places[begin] else 0
            while True:
                key = scope.queue(slug).key(name)
                cursor, members = await _scan(self._redis.zscan(key, cursor, count=MESSAGES))
                ids = [_text(member) for member, _ in members]
                for start in range(0, len(ids), MESSAGES):
                    records = await records_of(self._redis, scope, ids[start : start + MESSAGES])
                    strays = {one: [slug] for one, of in records.items() if not _belongs(of, slug, name)}
                    if strays:
                        yield strays, f"{slug}:{name}:{cursor}"
                if not cursor:
                    break
            yield {}, f"{slug}:{name}:0"

    async def _not_indexed(
        self, scope: ScopeKeys, slugs: list[str], token: str
    ) -> AsyncIterator[tuple[dict[str, list[str]], str]]:
        """Live rows without a record."""
        places = [(slug, state) for slug in slugs for state in LIVE_STATES]
        slug, _, rest = token.partition(":")
        state, _, last = rest.partition(":")
        begin = places.index((slug, int(state))) if state and (slug, int(state)) in places else 0
        for place in places[begin:]:
            last = last if place == places[begin] else ""
            while ids := await live_ids(self._engine, scope.scope_id, *place, last):
                last = ids[-1]
                records = await records_of(self._redis, scope, ids)
                missing: dict[str, list[str]] = {one: [] for one, record in records.items() if record is None}
                yield missing, f"{place[0]}:{place[1]}:{last}"

    async def _key_steps(self, token: str) -> AsyncIterator[Step]:
        cursor = int(token or 0)
        while True:
            cursor, names = await _scan(self._redis.scan(cursor, match=IDEMPOTENCY_KEYS, count=KEYS))
            # Tenants and queues may be called idem, too.
            keys = [name.decode() for name in names if name.split(b":")[4:5] == [b"idem"]]
            yield self._key_step(keys, Cursor("keys", token=str(cursor)))
            if not cursor:
                return

    def _message_step(self, scope: ScopeKeys, places: dict[str, list[str]], after: Cursor) -> Step:
        def look(of: dict[str, list[str]]) -> Look:
            return partial(examine_messages, self._redis, self._engine, scope, of)

        def again(found: Sequence[Finding]) -> Look:
            # A counter's finding names no message: then all are looked at again.
            subjects = {one.subject for one in found}
            return look(places if "" in subjects else {name: places[name] for name in subjects})

        return Step(look(places), again, len(places), after)

    def _due_step(self, keys: list[QueueKeys], after: Cursor) -> Step:
        look = partial(examine_due, self._redis, keys)
        return Step(look, lambda _found: look, 0, after)

    def _key_step(self, names: Collection[str], after: Cursor) -> Step:
        def again(found: Sequence[Finding]) -> Look:
            return partial(examine_keys, self._redis, self._engine, [one.subject for one in found])

        return Step(partial(examine_keys, self._redis, self._engine, names), again, 0, after)


def _belongs(record: Record | None, slug: str, name: str) -> bool:
    if record is None or record.queue != slug:
        return False
    home = HOME.get(State(record.state))
    return home == name or (name == "expiry" and home is not None)


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")


async def _scan(asked: Awaitable[Any]) -> tuple[int, Any]:
    cursor, found = await asked
    return int(cursor), found
