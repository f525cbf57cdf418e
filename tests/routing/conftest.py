"""A bench with queues `a`, `b` and `c` on each kind of server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from tests.scripts.bench import Bench
from tests.scripts.shard import load_scripts
from tests.servers import RedisServer


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[RedisServer]:
    with RedisServer(kind="valkey") as server:
        yield server


@pytest.fixture(params=["redis", "valkey"])
def client(request: pytest.FixtureRequest) -> Iterator[Redis]:
    server: RedisServer = request.getfixturevalue(f"{request.param}_server")
    with server.client() as connected:
        connected.flushall()
        load_scripts(connected)
        yield connected


@pytest.fixture
def bench(client: Redis) -> Bench:
    found = Bench(client)
    for slug in ("a", "b", "c"):
        found.queue(slug, backoff="fixed 1000 1 1000 none")
    return found
