"""A real API process with a private Redis and rows in SQLite, shared by the tests of this folder."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

import httpx
import pytest

from tests.servers import RedisServer, Server, free_port

BASE = "/v1/modules/scaiqueue"
FIRST_KEY = "sgk_first_key_of_the_tests_0123456789abcdef"
_numbers = count(1)


class ApiServer(Server):
    """uvicorn with the application; settings by name, as in the environment without the prefix."""

    def __init__(self, **settings: str) -> None:
        super().__init__()
        self.port = free_port()
        self.settings = settings

    def renumber(self) -> None:
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def database_url(self) -> str:
        return self.settings.get("database_url", f"sqlite+aiosqlite:///{self.folder}/rows.db")

    def command(self) -> Sequence[str]:
        settings = {"database_url": self.database_url, **self.settings}
        return [
            "env",
            *(f"SCAIQUEUE_{name.upper()}={value}" for name, value in settings.items()),
            *(sys.executable, "-m", "uvicorn", "--factory", "scaiqueue.api.app:create_app"),
            *("--host", "127.0.0.1", "--port", str(self.port), "--no-access-log"),
            *("--timeout-keep-alive", "60"),
        ]

    def answers(self) -> bool:
        try:
            return httpx.get(self.url + "/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


class Api(NamedTuple):
    """A client with the first key, and what it takes to look behind it."""

    http: httpx.AsyncClient
    server: ApiServer
    redis: RedisServer

    def with_key(self, secret: str | None) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        return httpx.AsyncClient(base_url=self.server.url + BASE, headers=headers, timeout=30)

    async def scope(self, **fields: Any) -> dict[str, Any]:
        body = {"slug": f"s{next(_numbers)}", "display_name": "A scope", **fields}
        return created(await self.http.post("/scopes", json=body))

    async def queue(self, scope: dict[str, Any], **fields: Any) -> dict[str, Any]:
        body = {"slug": f"q{next(_numbers)}", "display_name": "A queue", **fields}
        return created(await self.http.post(f"/scopes/{scope['id']}/queues", json=body))


def created(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def failed(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Checks the error envelope and returns its `error`."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["status"] == "error"
    error: dict[str, Any] = body["error"]
    assert error["code"] == code, error
    assert isinstance(error["retryable"], bool)
    assert error["message"]
    assert body["meta"]["request_id"] == answer.headers["x-request-id"]
    return error


@pytest.fixture(scope="session")
def api_servers() -> Iterator[tuple[ApiServer, RedisServer]]:
    with (
        RedisServer() as redis,
        ApiServer(
            redis_url=redis.url,
            api_key=FIRST_KEY,
            shards="4",
            reserved_shards="1",
            webhook_private_networks="127.0.0.0/8",
        ) as server,
    ):
        yield server, redis


@pytest.fixture
async def api(api_servers: tuple[ApiServer, RedisServer]) -> AsyncIterator[Api]:
    server, redis = api_servers
    headers = {"Authorization": f"Bearer {FIRST_KEY}"}
    logged = server.log.stat().st_size
    async with httpx.AsyncClient(base_url=server.url + BASE, headers=headers, timeout=30) as client:
        yield Api(client, server, redis)
    new = server.log.read_bytes()[logged:].decode(errors="replace")
    assert "unhandled fault" not in new, new
