"""The way through everything that there is to look at, in small steps: it can be left and taken up again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.integrity.instant import Command, read_together
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
# Messages with the queues in which they were met, and where the phase goes on, None at its end.
Found = tuple[dict[str, list[str]], str | None]


class Cursor(msgspec.Struct, frozen=True):
    """Where a walk goes on. `place`: a shard's number or a scope's id, the first that is there or beyond."""

    stage: str = "shards"
    place: str = "0"
    phase: str = ""
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
        """From `start` to the end. Every step comes further, whether it has something to look at or not."""
        if start.stage == "shards":
            async for step in self._shard_steps(start):
                yield step
            start = Cursor("scopes", "")
        if start.stage == "scopes":
            async for step in self._scope_steps(start):
                yield step
            start = Cursor("keys", "")
        async for step in self._key_steps(start.token):
            yield step

    async def _shard_steps(self, start: Cursor) -> AsyncIterator[Step]:
        for shard in self._shards[int(start.place) :]:
            here, beyond = str(shard.number), Cursor("shards", str(shard.number + 1))
            cursor = int(start.token or 0) if here == start.place else 0
            if here != start.place or start.phase != "due":
                look = partial(examine_journal, self._redis, self._engine, shard)
                yield Step(look, lambda _found, look=look: look, 0, Cursor("shards", here, "due"))  # type: ignore[misc]
            known = await self._queues_of(shard)
            while True:
                cursor, entries = await _scan(self._redis.zscan(shard.due, cursor, count=QUEUES))
                strangers = [name.decode() for name, _ in entries if name.decode() not in known]
                keys = [QueueKeys.parse(root) for root in strangers]
                yield self._due_step(keys, Cursor("shards", here, "due", str(cursor)) if cursor else beyond)
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
            query = select(scopes.c.id, scopes.c.tenant_id, scopes.c.shard).where(scopes.c.id >= start.place)
            async with reading(self._engine) as conn:
                row = (await conn.execute(query.order_by(scopes.c.id).limit(1))).first()
                slugs = select(queues.c.slug).where(queues.c.scope_id == (row.id if row else ""))
                names = sorted((await conn.execute(slugs)).scalars())
            if row is None:
                return
            here = start if row.id == start.place else Cursor("scopes", row.id)
            beyond = start = Cursor("scopes", row.id + "~")
            async for step in self._in_scope(
                ScopeKeys(Shard(row.shard), row.tenant_id, row.id), names, here, beyond
            ):
                yield step

    async def _in_scope(
        self, scope: ScopeKeys, slugs: list[str], start: Cursor, beyond: Cursor
    ) -> AsyncIterator[Step]:
        phases: dict[str, Callable[[str], AsyncIterator[Found]]] = {
            "records": partial(self._in_hash, scope, "state"),
            "members": partial(self._strays, scope, slugs),
            "bodies": partial(self._in_hash, scope, "body"),
            "overlays": partial(self._in_hash, scope, "overlay"),
            "outcomes": partial(self._in_hash, scope, "outcome"),
            "rows": partial(self._not_indexed, scope, slugs),
        }
        names = [*phases, "due"]
        begin = names.index(start.phase) if start.phase in names else 0
        for name, following in zip(names[begin:-1], names[begin + 1 :], strict=True):
            async for places, token in phases[name](start.token if name == start.phase else ""):
                step = Cursor(
                    "scopes", scope.scope_id, *((following, "") if token is None else (name, token))
                )
                yield self._message_step(scope, places, step)
        for at in range(int(start.token or 0) if start.phase == "due" else 0, max(len(slugs), 1), QUEUES):
            keys = [scope.queue(slug) for slug in slugs[at : at + QUEUES]]
            further = Cursor("scopes", scope.scope_id, "due", str(at + QUEUES))
            yield self._due_step(keys, further if at + QUEUES < len(slugs) else beyond)

    async def _in_hash(self, scope: ScopeKeys, name: str, token: str) -> AsyncIterator[Found]:
        """All ids of the records, or those in a hash beside them that have none."""
        if name == "body" and not await self._more_bodies(scope):
            yield {}, None
            return
        cursor = int(token or 0)
        while True:
            cursor, fields = await _scan(self._redis.hscan(scope.key(name), cursor, count=MESSAGES))
            ids = [_text(field) for field in fields]
            if name != "state":
                found = await records_of(self._redis, scope, ids)
                ids = [message_id for message_id, record in found.items() if record is None]
            yield {message_id: [] for message_id in ids}, str(cursor) if cursor else None
            if not cursor:
                return

    async def _more_bodies(self, scope: ScopeKeys) -> bool:
        """Bodies are large: they are gone through only where there are more of them than records."""
        lengths: list[Command] = [("HLEN", scope.key("state")), ("HLEN", scope.key("body"))]
        records, bodies = await read_together(self._redis, scope.shard, lengths)
        return bool(bodies > records)

    async def _strays(self, scope: ScopeKeys, slugs: list[str], token: str) -> AsyncIterator[Found]:
        """Members of the queues' sets whose records say something else."""
        sets = [f"{slug}:{name}" for slug in slugs for name in SETS]
        begin, _, at = token.rpartition(":")
        cursor = int(at or 0)
        left = sets[sets.index(begin) if begin in sets else 0 :]
        for one, following in zip(left, [*left[1:], ""], strict=True):
            slug, _, name = one.partition(":")
            while True:
                key = scope.queue(slug).key(name)
                cursor, members = await _scan(self._redis.zscan(key, cursor, count=MESSAGES))
                records = await records_of(self._redis, scope, [_text(member) for member, _ in members])
                strays = {of: [slug] for of, record in records.items() if not _belongs(record, slug, name)}
                if cursor:
                    yield strays, f"{one}:{cursor}"
                else:
                    yield strays, f"{following}:0" if following else None
                    break

    async def _not_indexed(self, scope: ScopeKeys, slugs: list[str], token: str) -> AsyncIterator[Found]:
        """Live rows without a record."""
        places = [f"{slug}:{state}" for slug in slugs for state in LIVE_STATES]
        begin, _, last = token.rpartition(":")
        left = places[places.index(begin) if begin in places else 0 :]
        for place, following in zip(left, [*left[1:], ""], strict=True):
            slug, _, state = place.partition(":")
            while ids := await live_ids(self._engine, scope.scope_id, slug, int(state), last):
                last = ids[-1]
                records = await records_of(self._redis, scope, ids)
                yield {of: [] for of, record in records.items() if record is None}, f"{place}:{last}"
            last = ""
            yield {}, f"{following}:" if following else None

    async def _key_steps(self, token: str) -> AsyncIterator[Step]:
        cursor = int(token or 0)
        while True:
            cursor, names = await _scan(self._redis.scan(cursor, match=IDEMPOTENCY_KEYS, count=KEYS))
            # Tenants and queues may be called idem, too.
            keys = [name.decode() for name in names if name.split(b":")[4:5] == [b"idem"]]
            yield self._key_step(keys, Cursor("keys", "", "", str(cursor)) if cursor else Cursor())
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
    return name.decode(errors="replace")


async def _scan(asked: Awaitable[Any]) -> tuple[int, Any]:
    cursor, found = await asked
    return int(cursor), found
