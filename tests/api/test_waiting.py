"""Long polls, shared calls, and callers who go away."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from tests.api.conftest import Api, created
from tests.eventually import eventually


def _paths(scope: Any, queue: Any) -> tuple[str, str]:
    path = f"/scopes/{scope['id']}/queues/{queue['id']}/messages"
    return path, path + "/claim"


async def _connections(api: Api) -> int:
    with api.redis.client() as client:
        return len(client.client_list())


async def _waiting_claims(api: Api, wanted: int) -> None:
    async with httpx.AsyncClient() as plain:

        async def seen() -> bool:
            text = (await plain.get(api.server.url + "/metrics")).text
            return f"scaiqueue_claims_waiting {float(wanted)}" in text

        await eventually(seen)


async def test_a_waiting_claim_is_answered_by_a_publish(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    publish, claim = _paths(scope, queue)
    waiting = asyncio.create_task(api.http.post(claim, json={"wait_s": 20}))
    await _waiting_claims(api, 1)
    created(await api.http.post(publish, json={"type": "t", "body": 1}))
    assert len((await waiting).json()["data"]) == 1


async def test_a_waiting_claim_hears_of_what_falls_due(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    publish, claim = _paths(scope, queue)
    waiting = asyncio.create_task(api.http.post(claim, json={"wait_s": 20}))
    await _waiting_claims(api, 1)
    sent = created(await api.http.post(publish, json={"type": "t", "body": 1, "delay_s": 0.3}))
    assert sent["state"] == "scheduled"
    assert [message["id"] for message in (await waiting).json()["data"]] == [sent["id"]]


async def test_waiters_cost_no_connection_each_and_all_are_served(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    publish, claim = _paths(scope, queue)
    before = await _connections(api)
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(
        base_url=api.http.base_url, headers=api.http.headers, limits=limits, timeout=60
    ) as many:
        waiting = [asyncio.create_task(many.post(claim, json={"wait_s": 20})) for _ in range(100)]
        await _waiting_claims(api, 100)
        assert await _connections(api) <= before + 16
        items = {"messages": [{"type": "t", "body": n} for n in range(100)]}
        await api.http.post(publish + "/batch", json=items)
        answers = [answer.json()["data"] for answer in await asyncio.gather(*waiting)]
    assert sorted(message["body"] for messages in answers for message in messages) == list(range(100))


async def test_no_message_is_leased_to_a_caller_who_left(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    publish, claim = _paths(scope, queue)
    async with api.with_key(api.http.headers["authorization"].removeprefix("Bearer ")) as leaver:
        waiting = asyncio.create_task(leaver.post(claim, json={"wait_s": 20}))
        await _waiting_claims(api, 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await _waiting_claims(api, 0)
    created(await api.http.post(publish, json={"type": "t", "body": 1}))
    assert len((await api.http.post(claim)).json()["data"]) == 1


async def test_a_storm_of_cancelled_requests_leaves_every_reply_with_its_request(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope, durability="indexed")
    publish, claim = _paths(scope, queue)

    async def one(client: httpx.AsyncClient, number: int) -> None:
        answer = await client.post(publish, json={"type": f"t{number}", "body": number})
        assert answer.json()["data"]["body"] == number

    async def leave(client: httpx.AsyncClient, number: int) -> None:
        task = asyncio.create_task(client.post(publish, json={"type": "left", "body": number}))
        await asyncio.sleep(0.001 * (number % 7))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async with api.with_key(api.http.headers["authorization"].removeprefix("Bearer ")) as leaver:
        await asyncio.gather(*(one(api.http, n) for n in range(200)), *(leave(leaver, n) for n in range(60)))
    seen: list[int] = []
    while messages := (await api.http.post(claim, json={"batch_size": 100})).json()["data"]:
        seen += [message["body"] for message in messages if message["message_type"] != "left"]
        items = {"items": [{"id": m["id"], "response": m["body"]} for m in messages]}
        done = (await api.http.post(f"/scopes/{scope['id']}/messages/complete", json=items)).json()["data"]
        assert all(item["state"] == "completed" for item in done)
    assert sorted(seen) == list(range(200))
