"""The rank that aging gives, shown beside the published one."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from scaiqueue.keys import ScopeKeys, Shard
from scaiqueue.scripts import binding
from scaiqueue.scripts.runner import ScriptRunner
from tests.api.conftest import Api, created
from tests.eventually import eventually


async def _published(api: Api, queue: dict[str, Any], **fields: Any) -> dict[str, Any]:
    path = f"/scopes/{queue['scope_id']}/queues/{queue['id']}/messages"
    return created(await api.http.post(path, json={"type": "t", **fields}))


async def _listed(api: Api, scope: dict[str, Any]) -> dict[str, int | None]:
    listed = (await api.http.get(f"/scopes/{scope['id']}/messages")).json()["data"]
    return {message["id"]: message["effective_rank"] for message in listed}


async def test_only_what_waits_in_a_priority_queue_has_a_rank(api: Api) -> None:
    scope = await api.scope()
    queue, fifo = await api.queue(scope, ordering="priority"), await api.queue(scope)
    sent = await _published(api, queue, priority={"tier": "low", "score": 7})
    plain = await _published(api, fifo)
    late = await _published(api, queue, delay_s=60)
    assert [message["effective_rank"] for message in (sent, plain, late)] == [1007, None, None]
    assert await _listed(api, scope) == {sent["id"]: 1007, plain["id"]: None, late["id"]: None}
    claimed = await api.http.post(f"/scopes/{scope['id']}/queues/{queue['id']}/messages/claim")
    assert [message["effective_rank"] for message in claimed.json()["data"]] == [None]
    assert (await _listed(api, scope))[sent["id"]] is None


async def test_aging_raises_the_rank_and_leaves_the_published_priority(api: Api) -> None:
    scope = await api.scope()
    aging = {"after_s": 1, "step": 100, "every_s": 1}
    queue = await api.queue(scope, ordering="priority", aging=aging)
    sent = await _published(api, queue, priority={"tier": "low", "score": 7})
    keys = ScopeKeys(Shard(scope["shard"]), "default", scope["id"])
    redis = Redis.from_url(api.redis.url)
    runner = ScriptRunner(redis)

    async def raised() -> dict[str, Any] | None:
        await binding.age(runner, keys, keys.queue(queue["slug"]), 100, "")
        read = (await api.http.get(f"/scopes/{scope['id']}/messages/{sent['id']}")).json()["data"]
        return read if read["effective_rank"] > 1007 else None

    read = await eventually(raised)
    assert (read["effective_rank"] - 1007) % 100 == 0
    assert (read["priority_tier"], read["priority_score"]) == ("low", 7)
    assert (await _listed(api, scope))[sent["id"]] >= read["effective_rank"]
    await redis.aclose()
