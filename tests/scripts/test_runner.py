"""NOSCRIPT is healed, in single calls and in pipelines, where the server may be loaded again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from scaiqueue.keys import SCRIPTS_KEY, ScopeKeys, Shard
from scaiqueue.scripts import binding
from scaiqueue.scripts.bundle import load_bundle
from scaiqueue.scripts.replies import NotReadyError, parse_reply
from scaiqueue.scripts.runner import Call, ScriptRunner
from tests.scripts.bench import new_id
from tests.scripts.direct import publish_item
from tests.servers import RedisServer

SCOPE = ScopeKeys(Shard(1), "acme", "0")


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(server.url) as client:
        await client.flushall()
        yield client


@pytest.fixture
async def runner(redis: Redis) -> ScriptRunner:
    runner = ScriptRunner(redis)
    await runner.load()
    await redis.set(SCOPE.shard.epoch, 1)
    active = [binding.ConfigureItem("state", "active")]
    await binding.configure(runner, SCOPE, [], 1, active)
    await binding.configure(runner, SCOPE, [SCOPE.queue("jobs")], 1, active)
    return runner


def _publish() -> Call:
    return binding.publish_call(SCOPE, [SCOPE.queue("jobs")], [], "pat", 0, [publish_item(new_id())])


def _words(answers: list[list[Any]]) -> list[str]:
    """The word of each call's first item."""
    return [parse_reply(answer).items[0][0] for answer in answers]


async def test_direct_callers_find_every_script_by_name(runner: ScriptRunner, redis: Redis) -> None:
    listed = await redis.hgetall(SCRIPTS_KEY)
    assert {name.decode(): sha1.decode() for name, sha1 in listed.items()} == {
        name: script.sha1 for name, script in load_bundle().items()
    }


async def test_a_single_call_is_healed(runner: ScriptRunner, redis: Redis) -> None:
    await redis.script_flush()
    assert _words([await runner.run(*_publish())]) == ["OK"]


async def test_a_pipeline_is_healed_and_each_call_runs_once(runner: ScriptRunner, redis: Redis) -> None:
    await redis.script_flush()
    await redis.script_load(load_bundle()["sweep"].source)
    calls = [_publish(), binding.sweep_call(SCOPE.shard, 1), _publish()]
    assert _words(await runner.run_many(calls)) == ["OK", "EMPTY", "OK"]
    assert await redis.zcard(SCOPE.queue("jobs").key("pending")) == 2


async def test_flushes_under_load_are_not_noticed(runner: ScriptRunner, redis: Redis) -> None:
    done: asyncio.Queue[str] = asyncio.Queue()

    async def flush() -> None:
        for _ in range(5):
            await redis.script_flush()
            for _ in range(12):
                await done.get()

    async def publish() -> None:
        for _ in range(10):
            answers = [await runner.run(*_publish()), *await runner.run_many([_publish() for _ in range(2)])]
            for word in _words(answers):
                done.put_nowait(word)
                assert word == "OK"

    await asyncio.gather(*(publish() for _ in range(4)), flush())
    assert await redis.zcard(SCOPE.queue("jobs").key("pending")) == 120


async def test_where_the_server_restarted_recovery_comes_first(runner: ScriptRunner, redis: Redis) -> None:
    async def restarted() -> bool:
        return False

    fenced = ScriptRunner(redis, restarted)
    await redis.script_flush()
    with pytest.raises(NotReadyError):
        await fenced.run(*_publish())
    with pytest.raises(NotReadyError):
        await fenced.run_many([_publish()])
    assert await redis.script_exists(*[script.sha1 for script in load_bundle().values()]) == [False] * len(
        load_bundle()
    )


async def test_an_error_in_a_pipeline_stands_in_its_place(runner: ScriptRunner) -> None:
    name, keys, args = _publish()
    answers = await runner.run_many([_publish(), (name, keys[:-1], args), _publish()])
    assert isinstance(answers[1], ResponseError)
    assert _words([answers[0], answers[2]]) == ["OK", "OK"]
