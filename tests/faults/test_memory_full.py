"""Redis at its memory limit: publishes are refused, everything that frees memory goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.eventually import eventually
from tests.faults.conftest import ApiProcess, Queue, WorkerProcess, code_of, open_queue
from tests.servers import RedisServer

BODY = "x" * 20_000


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    return {"database_url": f"sqlite+aiosqlite:///{tmp_path / 'rows.db'}", "max_body_bytes": "65536"}


@pytest.fixture
def small_redis() -> AsyncIterator[RedisServer]:
    with RedisServer(appendonly="yes", maxmemory="8mb") as server:
        yield server


async def _fill(queue: Queue) -> int:
    """Publish until it is refused; answers how many were taken."""
    for taken in range(2000):
        answer = await queue.publish(BODY, durability="indexed")
        if answer.status_code != 201:
            assert answer.status_code == 429
            assert code_of(answer) == "SCAIQUEUE_MEMORY_FULL"
            assert answer.json()["error"]["retry_after"] > 0
            return taken
    raise AssertionError("Redis took everything")


async def _drain(queue: Queue, count: int) -> None:
    done = 0
    while done < count:
        for message in await queue.claim(50):
            assert (await queue.complete(message)).status_code == 200
            done += 1


async def test_what_frees_memory_goes_on_and_publishes_come_back(
    small_redis: RedisServer, settings: dict[str, str]
) -> None:
    settings |= {"redis_url": small_redis.url}
    with ApiProcess(**settings) as api, WorkerProcess(**settings):
        async with open_queue(api.url) as queue:
            await queue.make(visibility_timeout_s=1)
            taken = await _fill(queue)

            async def alarmed() -> bool:
                ready = await queue.http.get("/readyz")
                assert ready.status_code == 200, "claims can be served"
                return "of maxmemory" in ready.json()["alarms"].get("redis_memory", "")

            await eventually(alarmed, timeout=60)
            assert await queue.metric("scaiqueue_redis_memory_ratio") >= 0.9

            # A lease that is lost comes back by the agents, though SAQ can take no job.
            (lost,) = await queue.claim()
            taken += await _fill(queue)  # whatever was freed meanwhile is used up again

            async def back() -> bool:
                return await queue.state(lost["id"]) == "pending"

            await eventually(back, timeout=60)
            (failing,) = await queue.claim()
            path = f"{queue.scope}/messages/{failing['id']}/fail"
            answer = await queue.http.post(path, json={"claim_token": failing["claim_token"], "reason": "no"})
            assert answer.status_code == 200
            await _drain(queue, taken)

            async def published() -> bool:
                return (await queue.publish(BODY)).status_code == 201

            await eventually(published, timeout=60)


async def test_a_process_that_starts_at_the_limit_takes_over(
    small_redis: RedisServer, settings: dict[str, str]
) -> None:
    """Both restart while Redis is full: recovery, ownership of the shards and commits need to write, too."""
    settings |= {"redis_url": small_redis.url}
    with ApiProcess(**settings) as api:
        async with open_queue(api.url) as queue:
            await queue.make()
            taken = await _fill(queue)
        api.kill()
        small_redis.restart(crash=True)
        with small_redis.client() as client:
            # A server that has loaded its file may have a little room again.
            client.config_set("maxmemory", client.info("memory")["used_memory"])
        api.start()
        async with open_queue(api.url) as queue:
            await _drain(queue, taken)

            async def committed() -> bool:
                lists = await queue.http.get(f"{queue.scope}/messages", params={"state": "completed"})
                return bool(lists.json()["data"]) and await _forgotten(small_redis)

            await eventually(committed, timeout=60)
            with small_redis.client() as client:
                client.config_set("maxmemory", 0)
            assert (await queue.publish(BODY)).status_code == 201


async def _forgotten(redis: RedisServer) -> bool:
    with redis.client() as client:
        return not any(client.hlen(key) for key in client.keys("sq:{*:state"))


async def test_the_client_is_told_when_to_try_again(
    small_redis: RedisServer, settings: dict[str, str]
) -> None:
    with ApiProcess(redis_url=small_redis.url, **settings) as api:
        async with open_queue(api.url) as queue:
            await queue.make()
            with small_redis.client() as client:
                client.config_set("maxmemory", 1)
            answer: httpx.Response = await queue.publish()
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) >= 1
