"""Waiting for one message."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from tests.api.conftest import BASE, FIRST_KEY, Api, ApiServer, failed
from tests.events.conftest import Ground
from tests.eventually import eventually
from tests.servers import RedisServer


@pytest.fixture(scope="module")
def second_server(api_servers: tuple[ApiServer, RedisServer]) -> Iterator[ApiServer]:
    """Another process on the same servers."""
    first, _ = api_servers
    with ApiServer(**{**first.settings, "database_url": first.database_url}) as server:
        yield server


async def _waiting(server: ApiServer, waits: int) -> bool:
    async with httpx.AsyncClient() as plain:
        text = (await plain.get(server.url + "/metrics")).text
    return f"scaiqueue_message_waits {float(waits)}" in text


async def test_the_end_is_told_by_whichever_process_it_comes(
    ground: Ground, api: Api, second_server: ApiServer
) -> None:
    first, second = await ground.publish(2)
    headers = {"Authorization": f"Bearer {FIRST_KEY}"}
    async with httpx.AsyncClient(base_url=second_server.url + BASE, headers=headers) as there:
        waits = [
            asyncio.create_task(there.get(f"{ground.path}/messages/{name}/wait", timeout=60))
            for name in (first, second)
        ]
        await eventually(lambda: _waiting(second_server, 2))
        one, two = await ground.claim(2)
        await ground.settle("complete", two, response="done")
        answered = (await waits[1]).json()["data"]
        assert (answered["id"], answered["state"], answered["response"]) == (second, "completed", "done")
        assert not waits[0].done()
        await ground.settle("fail", one, reason="no", retryable=False)
        answered = (await waits[0]).json()["data"]
        assert (answered["queue"], answered["state"]) == ("_dead_letter", "pending")
    await eventually(lambda: _waiting(second_server, 0))


async def test_what_has_ended_is_answered_at_once_and_what_does_not_end_in_time(
    ground: Ground, api: Api
) -> None:
    (message_id,) = await ground.publish()
    path = f"{ground.path}/messages/{message_id}/wait"
    answered = (await api.http.get(path, params={"timeout_s": 0.01})).json()["data"]
    assert answered["state"] == "pending"
    await api.http.post(f"{ground.path}/messages/{message_id}/cancel")
    assert (await api.http.get(path)).json()["data"]["state"] == "cancelled"


async def test_what_is_wrong_is_refused(ground: Ground, api: Api) -> None:
    (message_id,) = await ground.publish()
    path = f"{ground.path}/messages/{message_id}/wait"
    for seconds in ("-1", "21", "soon"):
        failed(await api.http.get(path, params={"timeout_s": seconds}), 422, "VALIDATION_ERROR")
    gone = f"{ground.path}/messages/00000000-0000-7000-8000-000000000000/wait"
    failed(await api.http.get(gone), 404, "SCAIQUEUE_MESSAGE_NOT_FOUND")
