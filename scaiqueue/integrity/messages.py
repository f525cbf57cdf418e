"""Looks at messages of one scope, in the index first and then in the rows."""

from __future__ import annotations

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.integrity.judge import judge_index, judge_rows
from scaiqueue.integrity.kinds import Finding, Kind
from scaiqueue.integrity.snapshot import Places, Seen, take
from scaiqueue.keys import ScopeKeys
from scaiqueue.rows.integrity import KnownRow, known_rows

_COUNTERS = (Kind.seq_behind, Kind.token_behind)


async def examine_messages(
    redis: Redis, engine: AsyncEngine, scope: ScopeKeys, places: Places
) -> list[Finding]:
    """What is wrong with these messages now; nothing while the shard is not ready.

    One look can't tell a divergence from what is under way between index and rows: only what a second
    look finds again with the same `mark` is one.
    """
    if not places:
        return []
    snapshot = await take(redis, scope, places)
    position, rows = await known_rows(engine, scope.shard.number, places)
    if snapshot.epoch is None or snapshot.epoch != position.epoch:
        return []
    found: dict[tuple[str, ...], Finding] = {}
    for message_id, seen in snapshot.messages.items():
        row = rows.get(message_id)
        for kind, queue, detail in (
            *judge_index(seen, snapshot),
            *judge_rows(seen, row, position, snapshot.at),
        ):
            subject = "" if kind in _COUNTERS else message_id
            mark = "" if kind in _COUNTERS else _mark(seen, row)
            of = (kind, scope.shard.number, scope.tenant, scope.scope_id, queue, subject)
            one = Finding(*of, detail, mark, snapshot.epoch)
            found[one.key] = one
    return list(found.values())


def _mark(seen: Seen, row: KnownRow | None) -> str:
    """Changes with every transition."""
    if seen.record is not None:
        return str(seen.record.version)
    return str(row.version) if row else ""
