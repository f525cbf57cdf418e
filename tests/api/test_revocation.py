"""What is taken back is taken back in every process within a second, of calls that wait too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from scaiqueue.access.gate import LOOK_EVERY_S
from scaiqueue.rows import access, api_keys
from scaiqueue.rows.engine import open_engine
from tests.api.conftest import BASE, FIRST_KEY, Api, ApiServer, created, failed
from tests.eventually import eventually
from tests.servers import RedisServer

ALL = ["scaiqueue:view", "scaiqueue:publish", "scaiqueue:consume", "scaiqueue:manage"]
# A second is promised. Here it must only be plain that nobody waited for the end of the claim: the machine
# that runs the tests may be busy.
WITHIN_S = 10.0


@pytest.fixture(scope="module")
def other_server(api_servers: tuple[ApiServer, RedisServer]) -> Iterator[ApiServer]:
    """A second process of the same installation."""
    first, redis = api_servers
    with ApiServer(
        redis_url=redis.url, database_url=first.database_url, api_key=FIRST_KEY, shards="4"
    ) as server:
        yield server


class Pair:
    """A queue, and a key that is used with both processes."""

    def __init__(self, api: Api, clients: list[httpx.AsyncClient], path: str, key: dict[str, Any]) -> None:
        self.api, self.clients, self.path, self.key = api, clients, path, key

    async def wait(self, client: httpx.AsyncClient) -> tuple[httpx.Response, float]:
        """A claim that waits longer than the test, and when it was answered."""
        answer = await client.post(f"{self.path}/messages/claim", json={"wait_s": 20}, timeout=30)
        return answer, time.monotonic()

    async def check(self, take_back: Callable[[], Awaitable[Any]], status: int, code: str) -> None:
        """Before, both processes let the key in; afterwards neither does, and who waits is told in time."""
        for client in self.clients:
            assert (await client.post(f"{self.path}/messages/claim")).status_code == 200
        waiting = [asyncio.create_task(self.wait(client)) for client in self.clients]
        await self._all_wait()
        await take_back()
        done = time.monotonic()
        for task in waiting:
            answer, at = await task
            failed(answer, status, code)
            assert at - done < WITHIN_S
        for client in self.clients:
            failed(await client.post(f"{self.path}/messages/claim"), status, code)

    async def _all_wait(self) -> None:
        for client in self.clients:
            await eventually(lambda client=client: _someone_waits(client))


async def _someone_waits(client: httpx.AsyncClient) -> bool:
    metrics = await client.get(str(client.base_url).partition(BASE)[0] + "/metrics")
    return "scaiqueue_claims_waiting 1.0" in metrics.text


@pytest.fixture
async def pair(api: Api, other_server: ApiServer) -> AsyncIterator[Callable[..., Awaitable[Pair]]]:
    clients: list[httpx.AsyncClient] = []

    async def make(permissions: list[str] = ALL, **fields: Any) -> Pair:
        scope = await api.scope()
        queue = await api.queue(scope)
        body = {"name": "k", "permissions": permissions, **fields}
        key = created(await api.http.post("/api-keys", json=body))
        for url in (api.server.url, other_server.url):
            headers = {"Authorization": f"Bearer {key['key']}"}
            clients.append(httpx.AsyncClient(base_url=url + BASE, headers=headers, timeout=30))
        return Pair(api, clients, f"/scopes/{scope['id']}/queues/{queue['id']}", key)

    yield make
    for client in clients:
        await client.aclose()


Make = Callable[..., Awaitable[Pair]]


async def test_a_revoked_key(pair: Make) -> None:
    used = await pair()
    revoke = f"/api-keys/{used.key['id']}/revoke"
    await used.check(lambda: used.api.http.post(revoke), 401, "AUTH_TOKEN_INVALID")


async def test_a_grant_that_is_taken_back(pair: Make) -> None:
    used = await pair(permissions=[])
    grants = used.path.partition("/queues/")[0] + "/grants"
    body = {"principal": {"id": used.key["id"]}, "permissions": ["scaiqueue:consume"]}
    grant = created(await used.api.http.post(grants, json=body))
    take_back = f"{grants}/{grant['id']}"
    await used.check(lambda: used.api.http.delete(take_back), 403, "AUTHZ_PERMISSION_DENIED")


async def test_an_acl_that_denies(pair: Make) -> None:
    used = await pair()
    deny = {"deny": [{"principal": {"id": used.key["id"]}, "permissions": ["scaiqueue:consume"]}]}
    path = used.path + "/acl"
    await used.check(lambda: used.api.http.put(path, json=deny), 403, "AUTHZ_PERMISSION_DENIED")
    assert (await used.api.http.delete(path)).status_code == 200
    for client in used.clients:
        await eventually(lambda client=client: _let_in(client, used.path))


async def _let_in(client: httpx.AsyncClient, path: str) -> bool:
    return (await client.post(f"{path}/messages/claim")).status_code == 200


async def test_a_key_that_ends_by_itself(pair: Make) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=3)
    used = await pair(expires_at=ends.isoformat())

    async def ended() -> bool:
        return datetime.now(UTC) >= ends

    await used.check(lambda: eventually(ended), 401, "AUTH_TOKEN_INVALID")


async def test_a_grant_that_ends_by_itself(pair: Make) -> None:
    used = await pair(permissions=[])
    ends = datetime.now(UTC) + timedelta(seconds=3)
    principal, permissions = {"id": used.key["id"]}, ["scaiqueue:consume"]
    body = {"principal": principal, "permissions": permissions, "expires_at": ends.isoformat()}
    created(await used.api.http.post(used.path.partition("/queues/")[0] + "/grants", json=body))

    async def ended() -> bool:
        return datetime.now(UTC) >= ends

    await used.check(lambda: eventually(ended), 403, "AUTHZ_PERMISSION_DENIED")


async def test_word_that_is_lost(pair: Make, api: Api) -> None:
    """The rows alone tell, as when the command line changes them."""
    used = await pair()
    engine = open_engine(api.server.database_url)

    async def change() -> None:
        await api_keys.revoke(engine, used.key["id"])

    assert LOOK_EVERY_S < 0.5
    before = await access.version(engine, 5.0)
    await used.check(change, 401, "AUTH_TOKEN_INVALID")
    assert await access.version(engine, 5.0) == before + 1
    await engine.dispose()
