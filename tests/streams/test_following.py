"""Listeners: by long poll and by Server-Sent Events, from any chunk on, many, slow, gone, revoked."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from contextlib import AsyncExitStack
from typing import Any

from tests.api.conftest import Api, created, failed
from tests.eventually import eventually
from tests.streams.site import Site, parsed, read


def chunk(event: dict[str, str]) -> tuple[str, str]:
    data = json.loads(event["data"])
    assert event["id"] == str(data["seq"])
    return event["id"], data["data"]


async def test_a_long_poll_is_answered_by_the_next_chunk(api: Api) -> None:
    site = await Site.of(api)
    stream = await site.open()
    waiting = asyncio.create_task(site.get(f"{stream}/chunks", wait_s=20))
    await eventually(lambda: listeners(api, 1))
    await site.send(stream, 1, "b")
    await site.send(stream, 0, "a")
    part = await waiting
    assert [c["data"] for c in part["chunks"]] == ["a", "b"]
    assert (part["after"], part["done"], part["stream"]["state"]) == (1, False, "open")
    await site.send(stream, 3, "d")
    part = await site.get(f"{stream}/chunks", after=0)
    assert ([c["seq"] for c in part["chunks"]], part["after"]) == ([1], 1)
    part = await site.get(f"{stream}/chunks", after=1, wait_s=0)
    assert (part["chunks"], part["after"]) == ([], 1)
    await site.send(stream, 2, "c")
    part = await site.get(f"{stream}/chunks", limit=2)
    assert ([c["seq"] for c in part["chunks"]], part["done"]) == ([0, 1], False)
    waiting = asyncio.create_task(site.get(f"{stream}/chunks", after=3, wait_s=20))
    await eventually(lambda: listeners(api, 1))
    await site.close(stream)
    part = await waiting
    assert (part["chunks"], part["done"]) == ([], True)
    for query in ({"wait_s": 61}, {"after": -2}, {"limit": 0}, {"from": 1}):
        failed(await api.http.get(f"{stream}/chunks", params=query), 422, "VALIDATION_ERROR")


async def listeners(api: Api, count: int) -> bool:
    shown = (await api.http.get(f"{api.server.url}/metrics")).text
    return f"scaiqueue_stream_listeners {count}.0" in shown


async def test_events_come_in_order_and_end(api: Api) -> None:
    site = await Site.of(api)
    stream = await site.open()
    await site.send(stream, 0, "a\nb\r\nä")
    async with site.events(stream) as events:
        assert chunk(await anext(events)) == ("0", "a\nb\r\nä")
        await site.send(stream, 2, "c")
        await site.send(stream, 1, "b")
        assert [chunk(await anext(events)) for _ in range(2)] == [("1", "b"), ("2", "c")]
        await site.close(stream)
        told = await anext(events)
        assert (told["event"], json.loads(told["data"])["state"]) in (
            ("stream", "closed"), ("stream", "assembled"),
        )  # fmt: skip
        assert await anext(events) == {"id": "done", "data": "[DONE]"}
        assert [event async for event in events] == []


async def test_events_go_on_behind_any_chunk(api: Api) -> None:
    site = await Site.of(api)
    stream = await site.open(content_type="application/octet-stream")
    pieces = [b64encode(bytes([seq])).decode() for seq in range(20)]
    body = {"chunks": [{"seq": seq, "data": data} for seq, data in enumerate(pieces)]}
    read(await api.http.post(f"{stream}/chunks", json=body))
    read(await api.http.post(f"{stream}/abort"))
    for last in (0, 7, 18, 19):
        async with site.events(stream, last=str(last), after=3) as events:
            *heard, told, done = [event async for event in events]
        assert [chunk(event)[1] for event in heard] == pieces[last + 1 :]
        assert (json.loads(told["data"])["state"], done["data"]) == ("aborted", "[DONE]")
    async with site.events(stream, after=18) as events:
        assert len([event async for event in events]) == 3
    headers = {"Accept": "text/event-stream", "Last-Event-ID": "done"}
    assert (await api.http.get(f"{stream}/chunks", headers=headers)).status_code == 204
    headers["Last-Event-ID"] = "x"
    failed(await api.http.get(f"{stream}/chunks", headers=headers), 422, "VALIDATION_ERROR")


async def test_many_listeners_share_a_look(api: Api) -> None:
    """What they cost Redis does not grow with their number, waiting or woken."""
    site = await Site.of(api)
    stream = await site.open()
    await site.send(stream, 0, "a")
    redis = api.redis.client()

    def looks() -> int:
        return int(redis.info("commandstats").get("cmdstat_hgetall", {"calls": 0})["calls"])

    async with AsyncExitStack() as stack:
        heard = [await stack.enter_async_context(site.events(stream)) for _ in range(40)]
        for events in heard:
            assert chunk(await anext(events)) == ("0", "a")
        before = looks()
        await site.send(stream, 1, "b")
        for events in heard:
            assert chunk(await anext(events)) == ("1", "b")
        assert looks() - before < 20
    await eventually(lambda: listeners(api, 0))


async def test_a_revoked_key_hears_nothing_more(api: Api) -> None:
    site = await Site.of(api)
    stream = await site.open()
    key = created(await api.http.post("/api-keys", json={"name": "k", "permissions": ["scaiqueue:view"]}))
    async with api.with_key(key["key"]) as http:
        request = http.stream("GET", f"{stream}/chunks", headers={"Accept": "text/event-stream"})
        async with request as answer:
            events = parsed(answer)
            await site.send(stream, 0, "a")
            assert chunk(await anext(events)) == ("0", "a")
            read(await api.http.post(f"/api-keys/{key['id']}/revoke"))
            await site.send(stream, 1, "b")
            told: list[dict[str, Any]] = [event async for event in events]
    assert [event["event"] for event in told] == ["error"]
    assert json.loads(told[0]["data"])["code"] == "AUTH_TOKEN_INVALID"
