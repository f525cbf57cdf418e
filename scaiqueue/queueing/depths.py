"""Depths, age and state of queues and ranks in them, read from the index: depths are cardinalities, so
they can't drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from scaiqueue.keys import QueueKeys
from scaiqueue.records import decode_record

MAX_HOPS = 200
SAMPLE = 100
RANK_SPAN = 2**40
TOP_RANK = 5000
NO_DEADLINE = 2**53 - 2**42


@dataclass(frozen=True, slots=True)
class Depths:
    """`state` and `scope_state` are those that the scripts obey, "" if the index doesn't know the queue."""

    scope_state: str
    state: str
    pending: int
    claimed: int
    scheduled: int
    awaiting_review: int
    oldest_age_s: float | None

    @property
    def effective_state(self) -> str:
        """The scope's state where that is the stricter one."""
        if self.scope_state in ("paused", "archived") and self.state != "archived":
            return self.scope_state
        return self.state


async def effective_ranks(redis: Redis, places: Sequence[tuple[QueueKeys, str]]) -> list[int | None]:
    """Of messages given by priority queue and id, in one round trip; None for what is not pending there."""
    if not places:
        return []
    pipe = redis.pipeline(transaction=False)
    for keys, message_id in places:
        pipe.zscore(keys.key("pending"), message_id)
    scores = await pipe.execute()
    return [None if score is None else TOP_RANK - int(score) // RANK_SPAN for score in scores]


def _number(value: Any) -> int:
    return int(value or 0)


def _word(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else (value or "")


async def read_depths(redis: Redis, queues: Sequence[tuple[QueueKeys, str]]) -> list[Depths]:
    """Of queues given with their ordering, in one round trip and a few more for priority queues."""
    if not queues:
        return []
    pipe = redis.pipeline(transaction=False)
    pipe.time()
    for keys, _ in queues:
        pipe.hget(keys.scope.key("meta"), "state")
        pipe.hget(keys.key("meta"), "state")
        for name in ("pending", "claimed", "scheduled", "review"):
            pipe.zcard(keys.key(name))
    now, *answers = await pipe.execute()
    now_ms = now[0] * 1000 + now[1] // 1000
    rows = [answers[at : at + 6] for at in range(0, len(answers), 6)]
    busy = [queue for queue, row in zip(queues, rows, strict=True) if row[2]]
    oldest = await _oldest(redis, busy)
    return [
        Depths(
            _word(row[0]),
            _word(row[1]),
            _number(row[2]),
            _number(row[3]),
            _number(row[4]),
            _number(row[5]),
            oldest_age_s=max(0.0, (now_ms - oldest[keys.root]) / 1000) if keys.root in oldest else None,
        )
        for (keys, _), row in zip(queues, rows, strict=True)
    ]


async def _oldest(redis: Redis, queues: Sequence[tuple[QueueKeys, str]]) -> dict[str, int]:
    """Queue root -> creation, ms, of its oldest pending message.

    Within one rank the first member is the oldest, so priority queues are hopped through rank by rank, at
    most MAX_HOPS times. A deadline queue is sampled: its first SAMPLE members and the first without one.
    """
    heads: dict[str, list[bytes]] = {keys.root: [] for keys, _ in queues}
    pipe = redis.pipeline(transaction=False)
    for keys, ordering in queues:
        count = SAMPLE if ordering == "deadline" else 1
        pipe.zrange(keys.key("pending"), 0, count - 1, withscores=ordering == "priority")
        if ordering == "deadline":
            pipe.zrangebyscore(keys.key("pending"), NO_DEADLINE, "+inf", start=0, num=1)
    answers = iter(await pipe.execute())
    hopping: list[tuple[QueueKeys, float]] = []
    for keys, ordering in queues:
        found = next(answers)
        if ordering == "priority":
            hopping += [(keys, score) for _, score in found]
            heads[keys.root] += [member for member, _ in found]
        else:
            heads[keys.root] += found
        if ordering == "deadline":
            heads[keys.root] += next(answers)
    for _ in range(MAX_HOPS):
        if not hopping:
            break
        pipe = redis.pipeline(transaction=False)
        for keys, score in hopping:
            beyond = (int(score) // RANK_SPAN + 1) * RANK_SPAN
            pipe.zrangebyscore(keys.key("pending"), beyond, "+inf", start=0, num=1, withscores=True)
        found = await pipe.execute()
        ahead = [(keys, answer[0]) for (keys, _), answer in zip(hopping, found, strict=True) if answer]
        for keys, (member, _) in ahead:
            heads[keys.root].append(member)
        hopping = [(keys, score) for keys, (_, score) in ahead]
    return await _creations(redis, queues, heads)


async def _creations(
    redis: Redis, queues: Sequence[tuple[QueueKeys, str]], heads: dict[str, list[bytes]]
) -> dict[str, int]:
    asked = [(keys, heads[keys.root]) for keys, _ in queues if heads[keys.root]]
    pipe = redis.pipeline(transaction=False)
    for keys, members in asked:
        pipe.hmget(keys.scope.key("state"), members)
    found: dict[str, int] = {}
    for (keys, _), records in zip(asked, await pipe.execute() if asked else [], strict=True):
        created = [decode_record(record).created_at for record in records if record]
        if created:
            found[keys.root] = min(created)
    return found
