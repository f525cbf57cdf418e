"""While Redis is away copies are claimed and settled through the rows; what would make copies waits."""

from __future__ import annotations

from tests.api.conftest import created, failed
from tests.eventually import eventually
from tests.fallback.conftest import Api, Ground, bodies, open_api, reaches
from tests.servers import RedisServer


async def test_copies_are_served_and_publishing_waits(own_redis: RedisServer, sqlite_url: str) -> None:
    async with open_api(own_redis, sqlite_url) as api:
        await _served(api)


async def _served(api: Api) -> None:
    scope = await api.scope()
    news = await api.queue(scope, consumer_mode="broadcast")
    path = f"/scopes/{scope['id']}/queues/{news['id']}"
    for name in ("a", "b"):
        created(await api.http.post(f"{path}/subscriptions", json={"name": name}))
    publisher = Ground(api, scope, news)
    (first, *_) = await publisher.publish(1, 2)
    a, b = (Ground(api, scope, {"id": f"{news['slug']}.{name}"}) for name in "ab")
    (done,) = await a.claim()
    await a.done("complete", done)

    async def in_the_rows() -> bool:
        return done["id"] in await a.in_rows("completed")

    await eventually(in_the_rows)
    api.redis.kill()
    await reaches(api, "fallback")
    refused = await api.http.post(publisher.path, json={"type": "t", "body": 3})
    failed(refused, 503, "SCAIQUEUE_UNAVAILABLE")
    claimed = await api.http.post(f"{path}/subscriptions/b/claim", json={"batch_size": 1})
    (copy,) = claimed.json()["data"]
    assert (copy["body"], copy["parent_id"]) == (1, first)
    await b.done("complete", copy)
    (held,) = await a.claim()
    await a.done("fail", held, retryable=False)
    api.redis.start()
    await reaches(api, "redis")
    assert (bodies(await a.claim(10)), bodies(await b.claim(10))) == ([], [2])
    dead = Ground(api, scope, {"id": "_dead_letter"})
    assert bodies(await dead.claim(10)) == [2]
    await publisher.publish(3)
    assert (bodies(await a.claim(10)), bodies(await b.claim(10))) == ([3], [3])
