"""The scripts write an instant as the façade does."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from importlib.resources import files

from redis.asyncio import Redis

from scaiqueue import moments

DAYS = [datetime(year, month, day, tzinfo=UTC)
        for year in (1970, 1972, 1999, 2000, 2024, 2026, 2096, 2100)
        for month, day in ((1, 1), (2, 28), (3, 1), (12, 31))]  # fmt: skip


async def test_an_instant_in_lua_is_the_same_text(redis: Redis) -> None:
    chosen = random.Random(7)
    instants = [moments.milliseconds(day + timedelta(days=n)) for day in DAYS for n in (0, 1)]
    instants += [at + 86_399_999 for at in instants]
    instants += [chosen.randrange(moments.LATEST_MS) for _ in range(2000)]
    source = (files("scaiqueue_lua") / "include" / "decided_at.lua").read_text()
    each = "local out = {} for i, ms in ipairs(ARGV) do out[i] = decided_at(tonumber(ms)) end return out"
    found = await redis.eval(source + each, 0, *instants)
    assert [text.decode() for text in found] == [moments.text(at) for at in instants]
