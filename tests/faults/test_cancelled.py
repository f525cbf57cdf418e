"""Callers who leave at any moment: whoever stays gets its own reply, and no connection is lost."""

from __future__ import annotations

import asyncio
import random

import pytest

from scaiqueue.connection import CONNECTIONS, open_redis
from scaiqueue.connection_pipeline import ConnectionPipeline
from tests.eventually import eventually
from tests.faults.conftest import ApiProcess, open_queue
from tests.servers import RedisServer

CALLS = 10_000


@pytest.mark.parametrize("through", ["pool", "pipeline"])
async def test_replies_belong_to_their_requests_through_a_storm_of_cancellations(
    redis_server: RedisServer, through: str
) -> None:
    chance = random.Random(9)
    redis = open_redis(redis_server.url)
    pipeline = ConnectionPipeline(redis)
    answered = cancelled = 0

    async def call(nonce: str) -> str:
        if through == "pipeline":
            return str((await pipeline.execute("EVAL", "return ARGV[1]", 0, nonce)).decode())
        async with redis.pipeline(transaction=False) as pipe:
            pipe.eval("return ARGV[1]", 0, nonce)
            pipe.echo(nonce)
            first, second = await pipe.execute()
        assert first == second
        return str(first.decode())

    async def leave(task: asyncio.Task[str], turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()

    try:
        for start in range(0, CALLS, 200):
            calls = {str(n): asyncio.create_task(call(str(n))) for n in range(start, start + 200)}
            # Each after its own number of turns of the loop, so at any point between asking and reading.
            leaving = [leave(task, chance.randrange(6)) for task in chance.sample(list(calls.values()), 150)]
            await asyncio.gather(*leaving)
            for nonce, task in calls.items():
                try:
                    assert await task == nonce
                    answered += 1
                except asyncio.CancelledError:
                    cancelled += 1
        assert answered + cancelled == CALLS
        assert min(answered, cancelled) > CALLS // 10
        everyone = await asyncio.gather(*(call(f"after {n}") for n in range(4 * CONNECTIONS)))
        assert everyone == [f"after {n}" for n in range(4 * CONNECTIONS)]
    finally:
        await pipeline.aclose()
        await redis.aclose()


async def test_clients_who_hang_up_leave_no_lease_and_no_stuck_process(
    redis_url: str, redis_server: RedisServer, sqlite_url: str
) -> None:
    chance = random.Random(10)
    with ApiProcess(redis_url=redis_url, database_url=sqlite_url) as api:
        async with open_queue(api.url) as queue:
            await queue.make(visibility_timeout_s=600)
            sent: set[str] = set()

            async def publish(n: int) -> None:
                answer = await queue.publish(n)
                assert answer.json()["data"]["body"] == n
                sent.add(answer.json()["data"]["id"])

            async def wait() -> None:
                answer = await queue.http.post(queue.path + "/claim", json={"batch_size": 1, "wait_s": 20})
                assert not answer.json()["data"]

            # Claims that wait are gone before there is anything: what is published then is leased by nobody.
            waiting = [asyncio.create_task(wait()) for _ in range(50)]
            for task in waiting:
                for _ in range(chance.randrange(50)):
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

            async def nobody_waits() -> bool:
                return await queue.metric("scaiqueue_claims_waiting") == 0

            await eventually(nobody_waits)
            publishing = [asyncio.create_task(publish(n)) for n in range(400)]
            for task in chance.sample(publishing, 200):
                for _ in range(chance.randrange(6)):
                    await asyncio.sleep(0)
                task.cancel()
            ended = await asyncio.gather(*publishing, return_exceptions=True)
            assert not [one for one in ended if isinstance(one, Exception)]
            taken: set[str] = set()
            while found := await queue.claim(100):
                taken |= {message["id"] for message in found}
            assert sent <= taken


async def test_a_request_that_breaks_off_is_not_one_without_a_body(
    redis_url: str, redis_server: RedisServer, sqlite_url: str
) -> None:
    with ApiProcess(redis_url=redis_url, database_url=sqlite_url) as api:
        async with open_queue(api.url) as queue:
            await queue.make(visibility_timeout_s=600)
            sent = (await queue.publish("here")).json()["data"]["id"]
            address = queue.http.base_url
            _, writer = await asyncio.open_connection(address.host, address.port)
            head = [
                f"POST {queue.path}/claim HTTP/1.1",
                f"Host: {address.host}",
                f"Authorization: {queue.http.headers['authorization']}",
                "Content-Length: 20",
            ]
            writer.write("\r\n".join([*head, "", "{"]).encode())
            await writer.drain()
            writer.close()

            async def given_up() -> bool:
                return 'status_code="499"' in (await queue.http.get("/metrics")).text

            await eventually(given_up)
            assert [message["id"] for message in await queue.claim(1)] == [sent]
