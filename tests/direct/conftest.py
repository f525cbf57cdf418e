"""A server that has the scripts, as a direct caller finds it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from tests.scripts.shard import load_scripts
from tests.servers import RedisServer


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Redis]:
    """A blocking client of an empty server that has the scripts; replies are bytes."""
    with redis_server.client() as connected:
        connected.flushall()
        load_scripts(connected)
        yield connected
