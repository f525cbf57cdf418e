"""What callers are told when a server behind the API fails, and of what others wrote."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from uuid_utils import uuid7

from scaiqueue.keys import RECOVERY_KEY, RECOVERY_PROGRESS_KEY, ScopeKeys, Shard
from scaiqueue.scripts import binding
from scaiqueue.scripts.runner import ScriptRunner
from tests.api.conftest import BASE, FIRST_KEY, Api, ApiServer, created, failed
from tests.eventually import eventually
from tests.scripts.direct import publish_item
from tests.servers import RedisServer


@pytest.fixture
async def own() -> AsyncIterator[Api]:
    """An API and a Redis that a test may break."""
    with (
        RedisServer(appendonly="yes") as redis,
        ApiServer(
            redis_url=redis.url, api_key=FIRST_KEY, shards="2", backlog_limit="5", commit_timeout_s="1"
        ) as server,
    ):
        headers = {"Authorization": f"Bearer {FIRST_KEY}"}
        async with httpx.AsyncClient(base_url=server.url + BASE, headers=headers, timeout=30) as client:
            yield Api(client, server, redis)


async def _ground(api: Api, **fields: Any) -> tuple[dict[str, Any], str]:
    scope = await api.scope()
    queue = await api.queue(scope, **fields)
    return scope, f"/scopes/{scope['id']}/queues/{queue['id']}/messages"


async def test_redis_at_its_memory_limit(own: Api) -> None:
    _, path = await _ground(own)
    created(await own.http.post(path, json={"type": "t", "body": 1}))
    with own.redis.client() as client:
        client.config_set("maxmemory", 1)
        full = await own.http.post(path, json={"type": "t", "body": 1})
        assert failed(full, 429, "SCAIQUEUE_MEMORY_FULL")["retryable"] is True
        assert len((await own.http.post(path + "/claim")).json()["data"]) == 1
        client.config_set("maxmemory", 0)
    created(await own.http.post(path, json={"type": "t", "body": 1}))


async def test_rows_that_do_not_commit(own: Api) -> None:
    _, path = await _ground(own)
    file = own.server.database_url.partition("///")[2]
    with sqlite3.connect(file, isolation_level=None, timeout=30) as writer:
        writer.execute("BEGIN IMMEDIATE")
        late = await own.http.post(path, json={"type": "t", "body": 1, "idempotency_key": "k"})
        assert failed(late, 503, "SCAIQUEUE_UNAVAILABLE")["retry_after"] > 0
        quick = {"type": "t", "body": 1, "durability": "indexed"}
        answers = [await own.http.post(path, json=quick) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [201] * 4 + [503]
        failed(answers[-1], 503, "SCAIQUEUE_BACKLOG_FULL")
        assert len((await own.http.post(path + "/claim")).json()["data"]) == 1
        writer.execute("ROLLBACK")
    again = await own.http.post(path, json={"type": "t", "body": 1, "idempotency_key": "k"})
    assert again.status_code == 200
    assert again.headers["idempotent-replay"] == "true"


async def test_redis_away_and_back(own: Api) -> None:
    scope, path = await _ground(own)
    sent = created(await own.http.post(path, json={"type": "t", "body": 1}))
    own.redis.stop()
    failed(await own.http.post(path, json={"type": "t", "body": 1}), 503, "SCAIQUEUE_UNAVAILABLE")
    failed(await own.http.post(path + "/claim"), 503, "SCAIQUEUE_UNAVAILABLE")
    ready = await own.http.get(own.server.url + "/readyz")
    assert ready.status_code == 503
    assert "scripts" in ready.json()["failures"]
    assert (await own.http.get(f"/scopes/{scope['id']}")).status_code == 200
    own.redis.start()

    async def claimed() -> bool:
        answer = await own.http.post(path + "/claim")
        return answer.status_code == 200 and answer.json()["data"][0]["id"] == sent["id"]

    await eventually(claimed)


async def test_readiness_says_how_far_a_rebuild_is(own: Api) -> None:
    """The rebuild is held up by another process that has its lock."""
    with own.redis.client() as client:
        run_id = client.info("server")["run_id"]
        client.set(f"{RECOVERY_KEY}:{run_id}", "another", ex=60)
        client.delete(Shard(0).epoch)
        client.set(RECOVERY_PROGRESS_KEY, '{"shard":0,"restored":500,"expected":2000}')
        ready = await own.http.get(own.server.url + "/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert ready.json()["recovery"] == {"shard": 0, "restored": 500, "expected": 2000}
        client.delete(f"{RECOVERY_KEY}:{run_id}")

    async def whole() -> bool:
        again = await own.http.get(own.server.url + "/readyz")
        return again.status_code == 200 and again.json()["recovery"] is None

    await eventually(whole)


async def _direct(api: Api, scope: dict[str, Any], path: str, header: bytes, body: bytes) -> str:
    """Publish as another service does: by the script."""
    slug = (await api.http.get(path.removesuffix("/messages"))).json()["data"]["slug"]
    async with Redis.from_url(api.redis.url) as redis:
        keys = ScopeKeys(Shard(scope["shard"]), "default", scope["id"])
        message_id = str(uuid7())
        item = publish_item(message_id, header, body)
        reply = await binding.publish(ScriptRunner(redis), keys, [keys.queue(slug)], [], "service", 0, [item])
        assert reply.items[0][0] == "OK"
    return message_id


@pytest.mark.parametrize("body", [b"no json", b"\xff", b"", b'"\\ud800"', b"[" * 5000 + b"]" * 5000])
async def test_a_bad_direct_publish_breaks_no_answer(api: Api, body: bytes) -> None:
    scope, path = await _ground(api)
    message_id = await _direct(
        api, scope, path, b'{"type": "direct", "labels": {"a": 1}, "source": "x"}', body
    )
    created(await api.http.post(path, json={"type": "t", "body": 2}))
    first, second = (await api.http.post(path + "/claim", json={"batch_size": 2})).json()["data"]
    assert first["message_type"] == "direct"
    assert first["labels"] == {}
    assert first["body_encoding"] == "base64"
    assert base64.b64decode(first["body"]) == body
    assert second["body"] == 2
    done = await api.http.post(f"/scopes/{scope['id']}/messages/{message_id}/complete")
    assert done.status_code == 200
    listed = (await api.http.get(f"/scopes/{scope['id']}/messages")).json()["data"]
    assert {message["id"]: message["state"] for message in listed} == {
        message_id: "completed",
        second["id"]: "claimed",
    }


async def test_a_repeated_verb_is_answered_from_the_row_too(api: Api) -> None:
    scope, path = await _ground(api)
    created(await api.http.post(path, json={"type": "t", "body": 1}))
    (message,) = (await api.http.post(path + "/claim")).json()["data"]
    verbs = f"/scopes/{scope['id']}/messages/{message['id']}"
    token = {"claim_token": message["claim_token"]}
    first = (await api.http.post(verbs + "/complete", json=token)).json()["data"]
    with api.redis.client() as client:
        await eventually(lambda: not list(client.scan_iter(match=f"*{scope['id']}:state")))
    again = await api.http.post(verbs + "/complete", json=token)
    assert again.json()["data"] == first
    failed(await api.http.post(verbs + "/fail", json=token), 409, "SCAIQUEUE_INVALID_STATE")
    other = await api.http.post(verbs + "/complete", json={"claim_token": "1.999999"})
    failed(other, 409, "SCAIQUEUE_CLAIM_LOST")
    shown = (await api.http.get(verbs)).json()["data"]
    assert (shown["state"], shown["body"]) == ("completed", 1)
