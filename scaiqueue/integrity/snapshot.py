"""What the index holds of some messages of a scope, all of it read at one instant."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from redis.asyncio import Redis

from scaiqueue.integrity.instant import Command, read_together
from scaiqueue.keys import ScopeKeys
from scaiqueue.records import Record, decode_record

SETS = ("pending", "scheduled", "claimed", "expiry", "review")
# Of a message, the slugs of queues in whose sets it may stand besides its own.
Places = Mapping[str, Collection[str]]


@dataclass(slots=True)
class Seen:
    """One message. `scores` by queue slug and set; `record` is None: none, or not readable."""

    record: Record | None = None
    unreadable: bool = False
    body: bool = False
    overlay: bool = False
    outcome: bool = False
    scores: dict[tuple[str, str], float] = field(default_factory=dict)


@dataclass(slots=True)
class Snapshot:
    """`epoch` is None while the index is not whole, `at` in ms, `orderings` those of the queues it knows."""

    epoch: int | None
    at: int
    seq: int
    token: int
    orderings: dict[str, str]
    messages: dict[str, Seen]


def read_record(raw: bytes | None) -> tuple[Record | None, bool]:
    """The record, and True where there is one that can't be read."""
    if raw is None:
        return None, False
    try:
        return decode_record(raw), False
    except (ValueError, IndexError):
        return None, True


async def records_of(redis: Redis, scope: ScopeKeys, ids: Collection[str]) -> dict[str, Record | None]:
    """Records by id, None for those that there are not or that can't be read."""
    if not ids:
        return {}
    raws = cast(list[bytes | None], await redis.hmget(scope.key("state"), list(ids)))
    return {message_id: read_record(raw)[0] for message_id, raw in zip(ids, raws, strict=True)}


async def take(redis: Redis, scope: ScopeKeys, places: Places) -> Snapshot:
    """A message that has gone to a queue not looked at in the meantime is left out."""
    ids = list(places)
    before = await records_of(redis, scope, ids)
    slugs: dict[str, list[str]] = {}
    for message_id in ids:
        record = before[message_id]
        for slug in {*places[message_id], *([record.queue] if record else [])}:
            slugs.setdefault(slug, []).append(message_id)
    answers = await read_together(redis, scope.shard, _commands(scope, before, slugs))
    return _read(ids, slugs, answers)


def _commands(
    scope: ScopeKeys, records: Mapping[str, Record | None], slugs: Mapping[str, list[str]]
) -> list[Command]:
    ids = list(records)
    commands: list[Command] = [
        ("GET", scope.shard.epoch),
        ("TIME",),
        ("HMGET", scope.key("meta"), "seq", "token"),
    ]
    commands += [("HMGET", scope.key(name), *ids) for name in ("state", "overlay", "outcome")]
    for message_id, record in records.items():
        shared = record.shared if record else ""
        commands.append(("HEXISTS", scope.key("shared" if shared else "body"), shared or message_id))
    for slug, members in slugs.items():
        queue = scope.queue(slug)
        commands.append(("HMGET", queue.key("meta"), "state", "ordering"))
        commands += [("ZMSCORE", queue.key(name), *members) for name in SETS]
    return commands


def _read(ids: list[str], slugs: Mapping[str, list[str]], answers: list[Any]) -> Snapshot:
    epoch, (seconds, _micros), (seq, token), states, overlays, outcomes, *rest = answers
    messages: dict[str, Seen] = {}
    for place, message_id in enumerate(ids):
        record, unreadable = read_record(states[place])
        messages[message_id] = Seen(
            record, unreadable, bool(rest[place]), overlays[place] is not None, outcomes[place] is not None
        )
    at = len(ids)
    orderings = {}
    for slug, members in slugs.items():
        state, ordering = rest[at]
        if state is not None:
            orderings[slug] = (ordering or b"fifo").decode()
        for name, scores in zip(SETS, rest[at + 1 : at + 1 + len(SETS)], strict=True):
            for message_id, score in zip(members, scores, strict=True):
                if score is not None:
                    messages[message_id].scores[slug, name] = float(score)
        at += 1 + len(SETS)
    looked = {(slug, message_id) for slug, members in slugs.items() for message_id in members}
    stayed = {
        message_id: seen
        for message_id, seen in messages.items()
        if seen.record is None or (seen.record.queue, message_id) in looked
    }
    return Snapshot(
        int(epoch) if epoch else None, int(seconds) * 1000, int(seq or 0), int(token or 0), orderings, stayed
    )
