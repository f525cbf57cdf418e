"""`scaiqueue osqueue` and an API beside it, on one Redis and one SQLite; each test is a tenant of its own."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, NamedTuple

import aiohttp
import httpx
import msgspec
import pytest
from uuid_utils import uuid7

from scaiqueue.api.permissions import ALL_PERMISSIONS
from scaiqueue.queueing.key_ring import new_secret, secret_hash
from scaiqueue.rows import api_keys
from scaiqueue.rows.api_keys import KeyRow
from scaiqueue.rows.engine import open_engine
from tests.api.conftest import BASE, FIRST_KEY, ApiServer
from tests.osqueue.clients import ConnectClient, JobClient, RestClient, SocketClient
from tests.servers import RedisServer, Server, free_port

PAGE = "https://jobs.example.org"
TRANSPORTS = ("rest", "ws", "proto", "json")
_numbers = count(1)


class OsqueueServer(Server):
    """`scaiqueue osqueue`; settings by name, as in the environment without the prefix."""

    def __init__(self, **settings: str) -> None:
        super().__init__()
        self.port = free_port()
        self.settings = settings

    def renumber(self) -> None:
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        return [
            "env",
            *(f"SCAIQUEUE_{name.upper()}={value}" for name, value in self.settings.items()),
            *(sys.executable, "-m", "scaiqueue", "osqueue", "--osqueue-port", str(self.port)),
        ]

    def answers(self) -> bool:
        try:
            return httpx.get(self.url + "/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


class Servers(NamedTuple):
    osqueue: OsqueueServer
    api: ApiServer


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with RedisServer() as redis, ApiServer(redis_url=redis.url, api_key=FIRST_KEY, shards="4") as api:
        settings = {**api.settings, "database_url": api.database_url}
        with OsqueueServer(**settings, osqueue_key=FIRST_KEY, osqueue_origins=PAGE) as osqueue:
            yield Servers(osqueue, api)


class Tenant(NamedTuple):
    """A key with all permissions, or with those of `key`."""

    servers: Servers
    name: str
    secret: str
    key: Callable[..., Any]

    @asynccontextmanager
    async def client(self, transport: str, secret: str | None = None) -> AsyncIterator[JobClient]:
        async with self.session(secret) as session:
            match transport:
                case "rest":
                    yield RestClient(session)
                case "ws":
                    socket = SocketClient(await session.ws_connect("/v1/ws"))
                    yield socket
                    await socket.close()
                case _:
                    yield ConnectClient(session, f"application/{transport}")

    def session(self, secret: str | None = None) -> aiohttp.ClientSession:
        """`secret` "" is none at all."""
        chosen = self.secret if secret is None else secret
        headers = {"Authorization": f"Bearer {chosen}"} if chosen else {}
        return aiohttp.ClientSession(self.servers.osqueue.url, headers=headers)

    def api(self) -> httpx.AsyncClient:
        """The HTTP API's view, at the scope."""
        headers = {"Authorization": f"Bearer {self.secret}"}
        return httpx.AsyncClient(base_url=f"{self.servers.api.url}{BASE}/scopes/osqueue", headers=headers)


@pytest.fixture
async def tenant(servers: Servers) -> AsyncIterator[Tenant]:
    name = f"t{next(_numbers)}"
    engine = open_engine(servers.api.database_url)

    async def key(*permissions: str, queues: Sequence[str] = ()) -> str:
        secret = new_secret()
        given = [f"scaiqueue:{permission}" for permission in permissions] or ALL_PERMISSIONS
        row = KeyRow(
            id=str(uuid7()), tenant_id=name, name="", key_hash=secret_hash(secret), prefix=secret[:8],
            permissions=msgspec.json.encode(given).decode(), scopes="[]",
            queues=msgspec.json.encode(queues).decode(), created_at=0, expires_at=0, revoked_at=0,
            last_used_at=0,
        )  # fmt: skip
        await api_keys.create(engine, row)
        return secret

    logged = servers.osqueue.log.stat().st_size
    yield Tenant(servers, name, await key(), key)
    await engine.dispose()
    new = servers.osqueue.log.read_bytes()[logged:].decode(errors="replace")
    assert "unhandled fault" not in new, new
    assert "Traceback" not in new, new


@pytest.fixture(params=TRANSPORTS)
async def client(request: pytest.FixtureRequest, tenant: Tenant) -> AsyncIterator[JobClient]:
    """Of each transport in turn."""
    async with tenant.client(request.param) as made:
        yield made
