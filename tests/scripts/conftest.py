"""Each test of the scripts runs on Redis and on Valkey."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from tests.scripts.shard import load_scripts
from tests.servers import RedisServer


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[RedisServer]:
    with RedisServer(kind="valkey") as server:
        yield server


@pytest.fixture(params=["redis", "valkey"])
def server(request: pytest.FixtureRequest) -> RedisServer:
    running: RedisServer = request.getfixturevalue(f"{request.param}_server")
    return running


@pytest.fixture
def client(server: RedisServer) -> Iterator[Redis]:
    """A blocking client of an empty server that has the scripts; replies are bytes."""
    with server.client() as connected:
        connected.flushall()
        load_scripts(connected)
        yield connected
