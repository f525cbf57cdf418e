"""Rate limits of keys: off by default, counted for all processes together."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from scaiqueue.access.rates import RateLimiter
from scaiqueue.connection import open_redis
from scaiqueue.errors import Code, QueueError
from scaiqueue.queueing.principals import Rate
from tests.api.conftest import Api, created, failed
from tests.servers import free_port

PREFIX = "x-scaigrid-ratelimit-"


async def _take(limiter: RateLimiter, rate: Rate, key: str = "k") -> dict[str, int]:
    """The three numbers told, by their names."""
    state: dict[str, Any] = {}
    told = await limiter.take(key, rate, state)
    return {name.lower().removeprefix(PREFIX): int(value) for name, value in told.items()}


async def test_over_http(api: Api) -> None:
    permissions = ["scaiqueue:view", "scaiqueue:publish"]
    body = {"name": "k", "permissions": permissions, "rate_limit": 6, "rate_burst": 3}
    key = created(await api.http.post("/api-keys", json=body))
    assert (key["rate_limit"], key["rate_burst"]) == (6, 3)
    scope = await api.scope()
    queue = await api.queue(scope)
    path = f"/scopes/{scope['id']}/queues/{queue['id']}"
    async with api.with_key(key["key"]) as client:
        first = await client.get(path)
        second = await client.post(path + "/messages", json={"type": "t"})
        third = await client.get("/scopes/nothing")
        for answer, status, left in ((first, 200, "2"), (second, 201, "1"), (third, 404, "0")):
            assert answer.status_code == status
            assert answer.headers[PREFIX + "limit"] == "3"
            assert answer.headers[PREFIX + "remaining"] == left
        for refused in (await client.get(path), await client.post(path + "/messages", json={"type": "t"})):
            error = failed(refused, 429, "RATE_LIMITED")
            assert error["retryable"] is True
            assert 0 < error["retry_after"] <= 10
            assert refused.headers["retry-after"] == "10"
            assert refused.headers[PREFIX + "remaining"] == "0"
            assert 20 < int(refused.headers[PREFIX + "reset"]) <= 30
    free = await api.http.get(path)
    assert not [name for name in free.headers if name.startswith(PREFIX)]
    metrics = (await api.http.get(api.server.url + "/metrics")).text
    assert 'scaiqueue_rates_checked_total{result="limited"}' in metrics


@pytest.mark.parametrize("field", ["rate_limit", "rate_burst"])
async def test_a_rate_that_makes_no_sense(api: Api, field: str) -> None:
    body = {"name": "k", "permissions": ["scaiqueue:view"], field: -1}
    failed(await api.http.post("/api-keys", json=body), 422, "VALIDATION_ERROR")


async def test_no_more_than_the_rate_over_time(redis: Redis) -> None:
    limiter, rate = RateLimiter(redis), Rate(per_minute=6000, burst=20)
    began, passed, waits = time.monotonic(), 0, list[QueueError]()
    while passed < 60:
        try:
            await _take(limiter, rate)
            passed += 1
        except QueueError as refused:
            waits.append(refused)
            await asyncio.sleep(refused.retry_after or 0)
    # Twenty at once, then one every ten milliseconds; who waits as told gets in.
    assert time.monotonic() - began > 0.39
    assert {refused.code for refused in waits} == {Code.RATE_LIMITED}


async def test_many_processes_share_a_limit(redis: Redis) -> None:
    limiters = [RateLimiter(redis) for _ in range(4)]
    rate = Rate(per_minute=1, burst=10)
    calls = [_take(limiter, rate) for limiter in limiters for _ in range(5)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(not isinstance(result, BaseException) for result in results) == 10
    assert await _take(limiters[0], rate, "another") == {"limit": 10, "remaining": 9, "reset": 60}
    assert 0 < await redis.pttl("sq:rate:{another}") <= 60_000


async def test_without_redis_every_call_passes() -> None:
    async with open_redis(f"redis://127.0.0.1:{free_port()}/0", within_s=1) as nowhere:
        assert await _take(RateLimiter(nowhere), Rate(1, 1)) == {}
