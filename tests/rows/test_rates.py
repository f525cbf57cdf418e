"""The ring of minutes."""

from __future__ import annotations

from scaiqueue.rows import rates
from scaiqueue.rows.engine import open_engine
from scaiqueue.rows.migrate import upgrade
from scaiqueue.rows.rates import MINUTE_MS, SLOTS, Spot


async def test_counts_add_up_and_an_old_hour_begins_anew(database_url: str) -> None:
    await upgrade(database_url)
    engine = open_engine(database_url)
    first = Spot("s", "q", "claimed", 1000)
    later = first._replace(minute=1000 + SLOTS)
    for counts in ({first: 2, first._replace(minute=1001): 1}, {first: 3}):
        async with engine.begin() as conn:
            await rates.add(conn, counts)
    now = 1001 * MINUTE_MS
    assert await rates.per_minute(engine, "s", "q", now) == {"claimed": {1000: 5, 1001: 1}}
    async with engine.begin() as conn:
        await rates.add(conn, {later: 7})
    found = await rates.per_minute(engine, "s", "q", later.minute * MINUTE_MS)
    assert found == {"claimed": {later.minute: 7}}
    assert await rates.per_minute(engine, "s", "other", now) == {}
    await engine.dispose()
