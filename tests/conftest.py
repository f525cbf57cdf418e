"""Servers and clients shared by all tests. With xdist each worker starts its own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.servers import MariaDbServer, RedisServer, ValkeyCluster

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One Redis for all tests of this process; `redis` empties it before each test."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def valkey_cluster() -> Iterator[ValkeyCluster]:
    """Three Valkey nodes that share the slots, for all tests of this process; not emptied."""
    with ValkeyCluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDbServer]:
    """One MariaDB for all tests of this process; `mariadb_url` gives each test its own database."""
    with MariaDbServer() as server:
        yield server


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """An async client of an empty Redis; replies are bytes."""
    async with Redis.from_url(redis_server.url) as client:
        await client.flushall()
        yield client


@pytest.fixture
def redis_url(redis_server: RedisServer, redis: Redis) -> str:
    """The URL of the emptied Redis, for tests that start their own clients."""
    return redis_server.url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite database of this test alone, not yet created."""
    return f"sqlite+aiosqlite:///{tmp_path / 'scaiqueue.db'}"


@pytest.fixture
def mariadb_url(mariadb_server: MariaDbServer) -> Iterator[str]:
    """An empty MariaDB database of this test alone."""
    name = f"sq_{next(_numbers)}"
    yield mariadb_server.create_database(name)
    mariadb_server.drop_database(name)


@pytest.fixture(params=["sqlite", "mariadb"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Each test that asks for it runs twice, on SQLite and on MariaDB, each time on an empty database."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
