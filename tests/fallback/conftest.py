"""API processes on a Redis that a test may kill or freeze, with rows in SQLite or MariaDB."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.api.conftest import BASE, FIRST_KEY, Api, ApiServer, created
from tests.eventually import eventually
from tests.servers import RedisServer

HEADERS = {"Authorization": f"Bearer {FIRST_KEY}"}


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    with RedisServer(appendonly="yes", appendfsync="always") as server:
        yield server


@asynccontextmanager
async def open_api(redis: RedisServer, database_url: str, **settings: str) -> AsyncIterator[Api]:
    given = {"redis_url": redis.url, "api_key": FIRST_KEY, "shards": "4", "log_format": "json", **settings}
    with ApiServer(database_url=database_url, **given) as server:
        async with httpx.AsyncClient(base_url=server.url + BASE, headers=HEADERS, timeout=30) as client:
            yield Api(client, server, redis)


@pytest.fixture
async def api(own_redis: RedisServer, database_url: str) -> AsyncIterator[Api]:
    async with open_api(own_redis, database_url) as api:
        yield api


async def mode(api: Api) -> str:
    """What the process says of itself."""
    return str((await api.http.get(api.server.url + "/readyz")).json()["mode"])


async def reaches(api: Api, wanted: str) -> float:
    """Seconds until the process says that the mode holds."""
    began = time.monotonic()

    async def reached() -> bool:
        return await mode(api) == wanted

    await eventually(reached, 60)
    return time.monotonic() - began


class Ground:
    """A scope with a queue, and what a producer and a consumer do there."""

    def __init__(self, api: Api, scope: dict[str, Any], queue: dict[str, Any]) -> None:
        self.api = api
        self.scope = f"/scopes/{scope['id']}"
        self.path = f"{self.scope}/queues/{queue['id']}/messages"

    def by(self, api: Api) -> Ground:
        """The same place, by another process."""
        there = object.__new__(Ground)
        there.api, there.scope, there.path = api, self.scope, self.path
        return there

    async def publish(self, *bodies: Any, **fields: Any) -> list[str]:
        return [
            created(await self.api.http.post(self.path, json={"type": "t", "body": body, **fields}))["id"]
            for body in bodies
        ]

    async def claim(self, want: int = 1, **fields: Any) -> list[dict[str, Any]]:
        answer = await self.api.http.post(self.path + "/claim", json={"batch_size": want, **fields})
        assert answer.status_code == 200, answer.text
        data: list[dict[str, Any]] = answer.json()["data"]
        return data

    async def settle(self, verb: str, message: dict[str, Any], **fields: Any) -> httpx.Response:
        given = {"claim_token": message["claim_token"], **fields}
        return await self.api.http.post(f"{self.scope}/messages/{message['id']}/{verb}", json=given)

    async def done(self, verb: str, message: dict[str, Any], **fields: Any) -> None:
        answer = await self.settle(verb, message, **fields)
        assert answer.status_code == 200, answer.text

    async def in_rows(self, state: str) -> list[str]:
        """Ids of the messages that the rows have in a state."""
        answer = await self.api.http.get(f"{self.scope}/messages", params={"state": state})
        return [message["id"] for message in answer.json()["data"]]

    async def drain(self) -> list[Any]:
        """Bodies of all that can be claimed, in order; each is completed."""
        found = []
        while claimed := await self.claim(10):
            for message in claimed:
                await self.done("complete", message)
                found.append(message["body"])
        return found


async def ground(api: Api, **fields: Any) -> Ground:
    scope = await api.scope()
    return Ground(api, scope, await api.queue(scope, **fields))


def bodies(messages: list[dict[str, Any]]) -> list[Any]:
    return [message["body"] for message in messages]
