"""Looks at the due index, and at idempotency keys."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.integrity.instant import Command, read_together
from scaiqueue.integrity.kinds import Finding, Kind
from scaiqueue.keys import QueueKeys, ScopeKeys
from scaiqueue.rows.integrity import known_rows

OVERDUE_MS = 60_000
"""The sweep of every second ends an entry in whose queue nothing is due."""
_TIMED = ("scheduled", "claimed", "expiry", "review")


async def examine_due(redis: Redis, queues: Sequence[QueueKeys]) -> list[Finding]:
    """Queues of one shard: whether the due index names the first instant of each, or an earlier one."""
    if not queues:
        return []
    shard = queues[0].scope.shard
    commands: list[Command] = [("GET", shard.epoch), ("TIME",)]
    commands.append(("ZMSCORE", shard.due, *(queue.root for queue in queues)))
    commands += [("ZRANGE", queue.key(name), 0, 0, "WITHSCORES") for queue in queues for name in _TIMED]
    epoch, (seconds, _micros), scores, *heads = await read_together(redis, shard, commands)
    dues = [None if score is None else float(score) for score in scores]
    if epoch is None:
        return []
    found = []
    for place, (queue, due) in enumerate(zip(queues, dues, strict=True)):
        firsts = [float(head[1]) for head in heads[place * len(_TIMED) : (place + 1) * len(_TIMED)] if head]
        soonest = min(firsts, default=None)
        if soonest is not None and (due is None or due > soonest):
            found.append(_due(Kind.due_missing, queue, int(epoch), due, soonest))
        elif (
            due is not None and due < int(seconds) * 1000 - OVERDUE_MS and (soonest is None or soonest > due)
        ):
            found.append(_due(Kind.due_stale, queue, int(epoch), due, soonest))
    return found


def _due(kind: Kind, queue: QueueKeys, epoch: int, due: float | None, soonest: float | None) -> Finding:
    detail = f"{_ms(due)} in the due index, {_ms(soonest)} in the queue"
    scope = queue.scope
    of = (kind, scope.shard.number, scope.tenant, scope.scope_id, queue.slug, "")
    return Finding(*of, detail, _ms(soonest), epoch)


def _ms(at: float | None) -> str:
    return "nothing" if at is None else f"{at:.0f}"


async def examine_keys(redis: Redis, engine: AsyncEngine, names: Collection[str]) -> list[Finding]:
    """Idempotency keys of any scopes: whether the message that each answers for exists."""
    owners = await _owners(redis, names)
    by_scope: dict[str, list[tuple[str, str]]] = {}
    for name, value in owners.items():
        by_scope.setdefault(":".join(name.split(":")[:4]), []).append((name, value))
    found = []
    for root, pairs in by_scope.items():
        scope = ScopeKeys.parse(root)
        ids = [value.partition(" ")[0] for _, value in pairs]
        records: Any = await redis.hmget(scope.key("state"), ids)
        missing = {message_id for message_id, raw in zip(ids, records, strict=True) if raw is None}
        epoch = await redis.get(scope.shard.epoch)
        position, rows = await known_rows(engine, scope.shard.number, missing)
        if epoch is None or int(epoch) != position.epoch:
            continue
        for (name, value), message_id in zip(pairs, ids, strict=True):
            if message_id in missing and message_id not in rows:
                slug = name.split(":")[5]
                detail = f"it answers {message_id}"
                of = (scope.shard.number, scope.tenant, scope.scope_id, slug)
                found.append(Finding(Kind.key_orphan, *of, name, detail, value, position.epoch))
    return found


async def _owners(redis: Redis, names: Collection[str]) -> dict[str, str]:
    async with redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.get(name)
        values = await pipe.execute()
    return {name: value.decode() for name, value in zip(names, values, strict=True) if value is not None}
