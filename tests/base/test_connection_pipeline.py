"""The pipelined connection against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from scaiqueue.connection import open_redis
from scaiqueue.connection_pipeline import ConnectionPipeline
from tests.eventually import eventually
from tests.servers import RedisServer


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[Redis]:
    client = open_redis(server.url)
    yield client
    await client.aclose()


@pytest.fixture
async def pipeline(redis: Redis) -> AsyncIterator[ConnectionPipeline]:
    made = ConnectionPipeline(redis)
    yield made
    await made.aclose()


async def test_each_caller_gets_its_own_reply(pipeline: ConnectionPipeline) -> None:
    words = [str(n) * (n * 100) for n in range(200)]
    assert await asyncio.gather(*(pipeline.execute("ECHO", word) for word in words)) == [
        word.encode() for word in words
    ]


async def test_all_callers_share_one_connection(pipeline: ConnectionPipeline) -> None:
    ids = await asyncio.gather(*(pipeline.execute("CLIENT", "ID") for _ in range(10)))
    assert len(set(ids)) == 1


async def test_errors_are_those_of_redis_py(pipeline: ConnectionPipeline) -> None:
    with pytest.raises(NoScriptError):
        await pipeline.execute("EVALSHA", "0" * 40, 0)
    with pytest.raises(ResponseError, match="unknown command"):
        await pipeline.execute("NONSENSE")
    assert await pipeline.execute("ECHO", "on") == b"on"


async def test_a_caller_who_is_gone_leaves_its_place(pipeline: ConnectionPipeline) -> None:
    await pipeline.execute("PING")
    gone = asyncio.ensure_future(pipeline.execute("ECHO", "gone"))
    staying = asyncio.ensure_future(pipeline.execute("ECHO", "staying"))
    await asyncio.sleep(0)
    gone.cancel()
    assert await staying == b"staying"
    assert gone.cancelled()


async def test_a_lost_connection_fails_what_is_under_way_and_is_made_anew(
    pipeline: ConnectionPipeline, redis: Redis
) -> None:
    number = await pipeline.execute("CLIENT", "ID")
    waiting = asyncio.ensure_future(pipeline.execute("BLPOP", "nothing", 0))

    async def blocked() -> bool:
        return bool((await redis.info("clients"))["blocked_clients"])

    await eventually(blocked)
    await redis.execute_command("CLIENT", "KILL", "ID", number)
    with pytest.raises(RedisConnectionError):
        await waiting
    assert await pipeline.execute("CLIENT", "ID") != number


async def test_a_silent_server_is_given_up(redis: Redis) -> None:
    pipeline = ConnectionPipeline(redis, silence_s=0.05)
    number = await pipeline.execute("CLIENT", "ID")
    with pytest.raises(RedisConnectionError):
        await pipeline.execute("BLPOP", "nothing", 0)
    assert await pipeline.execute("CLIENT", "ID") != number
    await pipeline.aclose()


async def test_no_server() -> None:
    client = open_redis("unix:///nowhere/redis.sock")
    pipeline = ConnectionPipeline(client)
    with pytest.raises((RedisConnectionError, OSError)):
        await pipeline.execute("PING")
    await client.aclose()


async def test_closing_fails_what_is_under_way(pipeline: ConnectionPipeline) -> None:
    await pipeline.execute("PING")
    waiting = asyncio.ensure_future(pipeline.execute("BLPOP", "nothing", 0))
    await asyncio.sleep(0)
    await pipeline.aclose()
    with pytest.raises(RedisConnectionError):
        await waiting
