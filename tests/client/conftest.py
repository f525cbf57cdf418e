"""Clients of a real server and of the queue in memory: what holds for one holds for the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from scaiqueue.client import Backoff, Client
from scaiqueue.client.memory import MemoryQueue
from scaiqueue.client.transport import HttpTransport, Transport
from tests.api.conftest import FIRST_KEY, api_servers

__all__ = ["api_servers"]

_numbers = count(1)


@dataclass
class Ground:
    """A scope of its own, and clients of it."""

    scope: str
    transport: Transport
    client: Client

    async def queue(self, **settings: Any) -> str:
        slug = f"q{next(_numbers)}"
        body = {"slug": slug, "display_name": slug, **settings}
        await self.client.call("POST", f"/scopes/{self.scope}/queues", body)
        return slug

    def another(self, **settings: Any) -> Client:
        """Another client of the same connections; it is not closed, as they are not its own."""
        return Client(key=FIRST_KEY, scope=self.scope, transport=self.transport, **settings)

    async def depths(self, queue: str) -> tuple[int, int, int]:
        shown = await self.client.call("GET", f"/scopes/{self.scope}/queues/{queue}")
        return shown["depth_pending"], shown["depth_claimed"], shown["depth_scheduled"]


@pytest.fixture(params=["server", "memory"])
async def ground(request: pytest.FixtureRequest) -> AsyncIterator[Ground]:
    transport: Transport = MemoryQueue()
    if request.param == "server":
        server, _ = request.getfixturevalue("api_servers")
        transport = HttpTransport(server.url)
    scope = f"client{next(_numbers)}"
    client = Client(key=FIRST_KEY, scope=scope, transport=transport, backoff=Backoff(attempts=1))
    async with client:
        await client.call("POST", "/scopes", {"slug": scope, "display_name": scope})
        yield Ground(scope, transport, client)
