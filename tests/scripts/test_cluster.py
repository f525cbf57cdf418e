"""The core of the scripts on three Valkey nodes: scopes on several shards, one slot a call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import RedisCluster

from scaiqueue.keys import ScopeKeys, Shard
from scaiqueue.scripts import binding
from scaiqueue.scripts.runner import ScriptRunner
from tests.scripts.bench import new_id
from tests.scripts.direct import handed_out, publish_item
from tests.servers import ValkeyCluster

SHARDS = range(6)


@pytest.fixture
async def runner(valkey_cluster: ValkeyCluster) -> AsyncIterator[ScriptRunner]:
    """Scripts on every node, and on each shard a scope with the queues `jobs` and `_dead_letter`."""
    async with RedisCluster.from_url(valkey_cluster.url) as client:
        for node in valkey_cluster.nodes:
            with node.client() as direct:
                direct.flushall()
        runner = ScriptRunner(client)
        await runner.load()
        for shard in SHARDS:
            scope = _scope(shard)
            await client.set(scope.shard.epoch, 1)
            await _open(runner, scope)
        yield runner


def _scope(shard: int) -> ScopeKeys:
    return ScopeKeys(Shard(shard), "acme", str(shard))


async def _open(runner: ScriptRunner, scope: ScopeKeys) -> None:
    await binding.configure(runner, scope, [], 1, [binding.ConfigureItem("state", "active")])
    settings = {"state": "active", "max_retries": "1", "visibility_ms": "600000"}
    items = [binding.ConfigureItem(name, value) for name, value in settings.items()]
    for slug in ("jobs", "_dead_letter"):
        await binding.configure(runner, scope, [scope.queue(slug)], 1, items)


def _item() -> binding.PublishItem:
    return publish_item(new_id(), body=b"\0\xff")


async def _publish(runner: ScriptRunner, scope: ScopeKeys, number: int) -> list[str]:
    items = [_item() for _ in range(number)]
    reply = await binding.publish(runner, scope, [scope.queue("jobs")], [], "pat", 0, items)
    assert [item[0] for item in reply.items] == ["OK"] * number
    return [str(item.id) for item in items]


async def _claim(
    runner: ScriptRunner, scope: ScopeKeys, slug: str, want: int, visibility_ms: int = 600000
) -> dict[str, str]:
    queues = [scope.queue(slug)]
    items = [binding.ClaimItem("anna", want)]
    reply = await binding.claim(runner, scope, queues, [], "ordered", items)
    return {message.id.decode(): message.token.decode() for message in handed_out(reply.items[0])}


async def test_a_life_on_every_shard(runner: ScriptRunner) -> None:
    for scope in map(_scope, SHARDS):
        ids = await _publish(runner, scope, 6)
        held = await _claim(runner, scope, "jobs", 5)
        assert list(held) == ids[:5]
        done, failed, released, extended, cancelled = [(id, token, "anna") for id, token in held.items()]
        replies = [
            await binding.complete(runner, scope, [binding.CompleteItem(*done)]),
            await binding.fail(runner, scope, [binding.FailItem(*failed)]),
            await binding.release(runner, scope, [binding.ReleaseItem(*released)]),
            await binding.extend(runner, scope, [binding.ExtendItem(*extended)]),
            await binding.cancel(runner, scope, [binding.CancelItem(cancelled[0], "op")]),
            await binding.redrive(runner, scope, [binding.RedriveItem(failed[0], "op")]),
        ]
        assert [reply.items[0][0] for reply in replies] == ["OK"] * 6
        assert list(await _claim(runner, scope, "jobs", 9)) == [failed[0], released[0], ids[5]]
        version = str(replies[0].entry)
        forgotten = await binding.forget(runner, scope, 6, [binding.ForgetItem(done[0], version)])
        assert forgotten.items == [["OK"]]


async def test_a_lost_lease_is_swept_into_the_dead_letter(runner: ScriptRunner) -> None:
    for scope in map(_scope, SHARDS):
        await runner.redis.hset(scope.shard.limits, "test_clock", 1)
        ids = await _publish(runner, scope, 1)
        await _claim(runner, scope, "jobs", 1)
        reply = await binding.sweep(runner, scope.shard, 100, now=4_000_000_000_000)
        assert [reply.items[0][0], *reply.items[0][2:]] == ["OK", 1, 0, 0, 0, 1]
        assert list(await _claim(runner, scope, "_dead_letter", 9)) == ids


async def test_a_shard_is_restored(runner: ScriptRunner) -> None:
    for scope in map(_scope, SHARDS):
        ids = await _publish(runner, scope, 2)
        await _claim(runner, scope, "jobs", 1)
        records = await runner.redis.hgetall(scope.key("state"))
        rows = [binding.RestoreItem(id, records[id.encode()], b"{}\n") for id in ids]
        await runner.redis.delete(*[scope.key(name) for name in ("state", "body", "meta")], scope.shard.epoch)
        await runner.redis.delete(*[scope.queue("jobs").key(name) for name in ("pending", "claimed")])
        await _open(runner, scope)
        restored = await binding.restore(runner, scope, 10, 10, rows, epoch=2)
        assert [item[0] for item in restored.items] == ["OK", "OK"]
        await runner.redis.set(scope.shard.epoch, 2)
        assert await _claim(runner, scope, "jobs", 9) == dict.fromkeys(ids, "2.11")


async def test_streams_of_every_shard(runner: ScriptRunner) -> None:
    chunks = [binding.StreamItem(1, b"b"), binding.StreamItem(0, b"a")]
    for scope in map(_scope, SHARDS):
        keys = scope.stream(new_id())
        said = ("jobs", "{}", "", "", "")
        await binding.stream(runner, scope, keys, "open", "pat", *said, chunks)
        reply = await binding.stream(runner, scope, keys, "close", "pat", "", "", "", "", "", [])
        assert reply.items[-1][:3] == ["OK", b"closed", 2]
        ended = await binding.end_stream(runner, scope, keys, "assembled", "pat", new_id())
        forgotten = await binding.end_stream(runner, scope, keys, "forget", "pat", str(ended.entry))
        assert forgotten.items == [["OK", b"assembled"]]


async def test_calls_of_many_shards_share_a_pipeline_and_heal(
    runner: ScriptRunner, valkey_cluster: ValkeyCluster
) -> None:
    with valkey_cluster.nodes[1].client() as direct:
        direct.script_flush()
    items = {shard: _item() for shard in SHARDS}
    calls = [
        binding.publish_call(_scope(shard), [_scope(shard).queue("jobs")], [], "pat", 0, [item])
        for shard, item in items.items()
    ]
    answers = await runner.run_many(calls)
    assert [answer[1] for answer in answers] == [b"OK pending"] * len(items)
    for node in valkey_cluster.nodes:
        with node.client() as direct:
            direct.script_flush()
    found = await asyncio.gather(*(_claim(runner, _scope(shard), "jobs", 5) for shard in SHARDS))
    assert [list(held) for held in found] == [[item.id] for item in items.values()]
