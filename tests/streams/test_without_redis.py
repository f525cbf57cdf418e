"""Streams while Redis is away, and after it is back."""

from __future__ import annotations

from base64 import b64decode

from tests.api.conftest import failed
from tests.fallback.conftest import open_api, reaches
from tests.servers import RedisServer
from tests.streams.site import Site


async def test_streams_are_read_meanwhile_and_go_on_afterwards(
    own_redis: RedisServer, sqlite_url: str
) -> None:
    async with open_api(own_redis, sqlite_url) as api:
        site = await Site.of(api)
        stream = await site.open()
        await site.send(stream, 0, "a")
        await site.send(stream, 2, "c")
        own_redis.kill()
        await reaches(api, "fallback")
        part = await site.get(f"{stream}/chunks")
        assert ([c["data"] for c in part["chunks"]], part["done"]) == (["a"], False)
        assert (await site.get(stream))["missing"] == [{"first": 1, "last": 1}]
        await site.refused(stream, {"seq": 1, "data": "b"}, 503, "SCAIQUEUE_UNAVAILABLE")
        failed(await api.http.post(f"{stream}/close"), 503, "SCAIQUEUE_UNAVAILABLE")
        async with site.events(stream) as events:
            assert (await anext(events))["id"] == "0"
        own_redis.start()
        await reaches(api, "redis")
        await site.send(stream, 1, "b")
        closed = await site.close(stream)
        message = await site.get(f"{site.scope}/messages/{closed['message_id']}")
        assert b64decode(message["body"]) == b"abc"
