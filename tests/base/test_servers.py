"""The private servers do what the other tests rely on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.eventually import eventually
from tests.servers import MariaDbServer, RedisServer, ValkeyCluster
from tests.webhooks import generated_webhooks, load_webhooks, make_webhooks


@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_killed_redis_comes_back_with_what_was_synced(kind: str) -> None:
    with RedisServer(kind, appendonly="yes", appendfsync="always") as server:
        async with Redis.from_url(server.url) as client:
            await client.set("a", "1")
        old = server.pid
        server.restart(crash=True)
        assert server.pid != old
        async with Redis.from_url(server.tcp_url) as client:
            assert await client.get("a") == b"1"
    assert not server.folder.exists()


async def test_a_paused_redis_does_not_answer_until_resumed() -> None:
    with RedisServer() as server:
        client = Redis.from_url(server.url, socket_timeout=0.2, retry=None)
        async with client:
            server.pause()
            with pytest.raises(RedisError, match="Timeout"):
                await client.ping()
            server.resume()
            await eventually(lambda: _pings(client))


async def _pings(client: Redis) -> bool:
    try:
        return bool(await client.ping())
    except RedisError:
        return False


async def test_each_test_sees_an_empty_redis(redis: Redis) -> None:
    assert await redis.dbsize() == 0


async def test_each_test_has_its_own_database(database_url: str) -> None:
    engine = create_async_engine(database_url)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE fresh (id INTEGER PRIMARY KEY)"))
            await connection.execute(text("INSERT INTO fresh VALUES (1)"))
    finally:
        await engine.dispose()


async def test_a_killed_mariadb_keeps_what_was_committed() -> None:
    with MariaDbServer() as server:
        server.create_database("kept")
        server.run("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (7)", "kept")
        server.restart(crash=True)
        assert server.run("SELECT id FROM t", "kept") == "7\n"


async def test_the_cluster_serves_every_slot(valkey_cluster: ValkeyCluster) -> None:
    async with RedisCluster.from_url(valkey_cluster.url) as client:
        for shard in range(16):
            assert await client.set(f"sq:{{{shard}}}:epoch", shard)
            assert await client.get(f"sq:{{{shard}}}:epoch") == str(shard).encode()


def test_payloads_are_the_file_s_own_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "hooks.jsonl"
    file.write_bytes(b'{"event":"push","payload":{"n": 12345678901234567890, "e":[]}}\n')
    monkeypatch.setenv("SCAIQUEUE_WEBHOOKS", str(file))
    assert load_webhooks() == [("push", b'{"n": 12345678901234567890, "e":[]}')]


def test_there_are_always_enough_varied_payloads() -> None:
    generated = list(generated_webhooks())
    assert len({hook.body for hook in generated}) == len(generated) >= 60
    assert generated == list(generated_webhooks())
    hooks = make_webhooks()
    assert len(hooks) >= 60
    assert all(isinstance(json.loads(hook.body), dict) for hook in hooks)
