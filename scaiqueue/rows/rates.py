"""Transitions per queue and minute, for the last hour: a ring of minutes, so nothing has to be pruned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import case, select
from sqlalchemy.dialects.mysql import insert as mysql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scaiqueue.rows.engine import is_sqlite, reading
from scaiqueue.rows.tables import rates

MINUTE_MS = 60_000
SLOTS = 64


class Spot(NamedTuple):
    """What is counted. `minute` is ms since 1970 / 60,000."""

    scope_id: str
    queue: str
    event: str
    minute: int


async def add(conn: AsyncConnection, counts: Mapping[Spot, int]) -> None:
    """Add to the counts, in the caller's transaction; a slot of an earlier hour begins anew."""
    if not counts:
        return
    rows = [
        {**spot._asdict(), "slot": spot.minute % SLOTS, "events": count}
        for spot, count in sorted(counts.items())
    ]
    # MariaDB assigns in the order written: `events` first, while `minute` is still the stored one.
    if is_sqlite(conn):
        lite = sqlite_insert(rates)
        await conn.execute(
            lite.on_conflict_do_update(
                index_elements=list(rates.primary_key), set_=_assignments(lite.excluded)
            ),
            rows,
        )
    else:
        maria = mysql_insert(rates)
        await conn.execute(maria.on_duplicate_key_update(list(_assignments(maria.inserted).items())), rows)


def _assignments(new: Any) -> dict[str, Any]:
    same = rates.c.minute == new.minute
    return {"events": case((same, rates.c.events + new.events), else_=new.events), "minute": new.minute}


async def per_minute(
    engine: AsyncEngine, scope_id: str, queue: str, now_ms: int
) -> dict[str, dict[int, int]]:
    """Event -> minute -> count, of the 60 minutes that end with the present one."""
    newest = now_ms // MINUTE_MS
    query = select(rates.c.event, rates.c.minute, rates.c.events).where(
        rates.c.scope_id == scope_id, rates.c.queue == queue, rates.c.minute > newest - 60
    )
    found: dict[str, dict[int, int]] = {}
    async with reading(engine) as connection:
        for event, minute, count in await connection.execute(query):
            found.setdefault(event, {})[minute] = count
    return found
