"""SIGTERM ends the API in order: whoever waits for a message is answered first."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from scaiqueue.cli.client import is_ready
from tests.eventually import eventually
from tests.servers import RedisServer, Server, free_port

KEY = "sgk_" + "k" * 40


class Api(Server):
    """`scaiqueue api` as an orchestrator starts it."""

    def __init__(self, redis: RedisServer, database_url: str, *options: str) -> None:
        super().__init__()
        self.port, self.options = free_port(), options
        self.settings = {"REDIS_URL": redis.url, "DATABASE_URL": database_url, "API_KEY": KEY}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def renumber(self) -> None:
        self.port = free_port()

    def command(self) -> Sequence[str]:
        settings = [f"SCAIQUEUE_{name}={value}" for name, value in self.settings.items()]
        words = [sys.executable, "-m", "scaiqueue", "api", "--port", str(self.port), *self.options]
        return ["env", *settings, *words]

    def answers(self) -> bool:
        return is_ready(self.url)


@pytest.fixture(params=[("--workers", "1"), ("--workers", "2")], ids=["alone", "two"])
def api(
    request: pytest.FixtureRequest, redis_server: RedisServer, redis_url: str, tmp_path: Path
) -> Iterator[Api]:
    database_url = f"sqlite+aiosqlite:///{tmp_path / 'rows.db'}"
    with Api(redis_server, database_url, *request.param) as server:
        yield server


async def test_waiting_claims_are_answered_and_the_process_ends_well(api: Api) -> None:
    base = f"{api.url}/v1/modules/scaiqueue"
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(headers=headers, timeout=60) as client:
        for path, slug in (("/scopes", "s"), ("/scopes/s/queues", "q")):
            made = await client.post(base + path, json={"slug": slug, "display_name": slug})
            assert made.status_code == 201
        claim = {"batch_size": 1, "wait_s": 20}
        waiting = asyncio.create_task(client.post(f"{base}/scopes/s/queues/q/messages/claim", json=claim))
        await eventually(lambda: _someone_waits(api.url))
        process = api.process
        assert process is not None
        await asyncio.to_thread(api.stop)
        answer = await waiting
    assert answer.status_code == 200
    assert answer.json()["data"] == []
    assert process.returncode == 0


async def _someone_waits(url: str) -> bool:
    """A new connection each time: with two processes either may answer."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{url}/metrics")).text
    return re.search(r"^scaiqueue_claims_waiting 1\.0$", text, re.MULTILINE) is not None
