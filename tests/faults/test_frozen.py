"""Whatever a server that is frozen does, every request ends in time; thawed, everything is as before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from scaiqueue.rows.engine import CONNECTED_WITHIN_S, POOL_WITHIN_S
from tests.eventually import eventually
from tests.faults.conftest import BASE, ApiProcess, Queue, open_queue
from tests.servers import MariaDbServer, RedisServer, Server

# For the row store: a place in the pool, an answer, and a new connection; for Redis less.
BOUND_S = POOL_WITHIN_S + 12 + CONNECTED_WITHIN_S + 5


@pytest.fixture
async def frozen_servers() -> AsyncIterator[tuple[RedisServer, MariaDbServer, ApiProcess, Queue]]:
    with RedisServer(appendonly="yes") as redis, MariaDbServer() as mariadb:
        rows = mariadb.create_database("rows")
        bounds = {"redis_timeout_ms": "1000", "database_timeout_s": "12", "commit_timeout_s": "2"}
        with ApiProcess(redis_url=redis.url, database_url=rows, **bounds) as api:
            async with open_queue(api.url, timeout=3 * BOUND_S) as queue:
                await queue.make()
                yield redis, mariadb, api, queue


def _requests(queue: Queue, message: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """One of each kind of endpoint."""
    one = f"{queue.scope}/messages/{message['id']}"
    token = {"claim_token": message["claim_token"]}
    return [
        ("POST", queue.path, {"type": "t", "body": 1}),
        ("POST", queue.path, {"type": "t", "body": 1, "durability": "indexed"}),
        ("POST", queue.path + "/batch", {"messages": [{"type": "t", "body": 1}]}),
        ("POST", queue.path + "/claim", {"batch_size": 1}),
        ("POST", queue.path + "/claim", {"batch_size": 1, "wait_s": 5}),
        ("POST", one + "/extend", {**token, "visibility_timeout_s": 60}),
        ("POST", one + "/complete", token),
        ("POST", one + "/cancel", {}),
        ("GET", one, None),
        ("GET", one + "/history", None),
        ("GET", f"{queue.scope}/messages", None),
        ("GET", f"{queue.scope}/messages?queue=_integrity", None),
        ("GET", f"{queue.scope}/queues", None),
        ("GET", f"{queue.scope}/queues/q", None),
        ("GET", f"{queue.scope}/queues/q/stats", None),
        ("POST", f"{queue.scope}/queues", {"slug": "new", "display_name": "new"}),
        ("POST", f"{queue.scope}/queues/q/pause", None),
        ("POST", f"{queue.scope}/queues/q/purge", None),
        ("DELETE", f"{queue.scope}/queues/q", None),
        ("GET", f"{BASE}/scopes", None),
        ("POST", f"{BASE}/scopes", {"slug": "other", "display_name": "other"}),
        ("GET", f"{BASE}/keys", None),
        ("GET", f"{BASE}/system-agents", None),
        ("POST", f"{BASE}/system-agents/event_pruner/run", None),
        ("GET", "/readyz", None),
        ("GET", "/healthz", None),
        ("GET", "/metrics", None),
    ]


async def _timed(queue: Queue, method: str, path: str, body: Any) -> tuple[str, float, int]:
    begun = time.monotonic()
    answer: httpx.Response = await queue.http.request(method, path, json=body)
    return f"{method} {path}", time.monotonic() - begun, answer.status_code


@pytest.mark.parametrize("which", ["redis", "rows"])
async def test_every_request_ends(
    frozen_servers: tuple[RedisServer, MariaDbServer, ApiProcess, Queue], which: str
) -> None:
    redis, mariadb, _, queue = frozen_servers
    sent = [(await queue.publish()).json()["data"]["id"] for _ in range(3)]
    (held,) = await queue.claim()
    server: Server = redis if which == "redis" else mariadb
    server.pause()
    try:
        ended = await asyncio.gather(*(_timed(queue, *one) for one in _requests(queue, held)))
    finally:
        server.resume()
    late = [one for one in ended if one[1] > BOUND_S]
    assert not late
    assert {status for _, _, status in ended} <= {200, 201, 202, 204, 404, 409, 422, 429, 503}
    alive = {name: status for name, _, status in ended}
    assert alive["GET /healthz"] == alive["GET /metrics"] == 200

    async def as_before() -> bool:
        return (await queue.http.get("/readyz")).status_code == 200

    await eventually(as_before, timeout=60)
    for message_id in sent:
        assert (await queue.http.get(f"{queue.scope}/messages/{message_id}")).status_code == 200
