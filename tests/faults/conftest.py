"""An API process, and where a test needs it a worker, on servers that the test may break."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from scaiqueue.cli.client import is_ready
from tests.servers import Server, free_port

BASE = "/v1/modules/scaiqueue"
KEY = "sgk_" + "f" * 40
HEADERS = {"Authorization": f"Bearer {KEY}"}


class Process(Server):
    """One of the product's processes, by its command; settings by name, without the prefix."""

    def __init__(self, *words: str, **settings: str) -> None:
        super().__init__()
        self.words, self.settings = words, {"api_key": KEY, "shards": "2", **settings}

    def command(self) -> Sequence[str]:
        settings = [f"SCAIQUEUE_{name.upper()}={value}" for name, value in self.settings.items()]
        return ["env", *settings, sys.executable, "-m", "scaiqueue", *self.words]


class ApiProcess(Process):
    def __init__(self, *options: str, **settings: str) -> None:
        super().__init__("api", *options, **settings)
        self.options = options
        self.renumber()

    def renumber(self) -> None:
        self.port = free_port()
        self.words = ("api", "--port", str(self.port), *self.options)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        return is_ready(self.url)


class WorkerProcess(Process):
    def __init__(self, **settings: str) -> None:
        super().__init__("worker", **settings)

    def answers(self) -> bool:
        return "worker_started" in self.log.read_text(errors="replace")


class PersisterProcess(Process):
    def __init__(self, **settings: str) -> None:
        super().__init__("persister", **settings)

    def answers(self) -> bool:
        return "persister_started" in self.log.read_text(errors="replace")


class Queue:
    """One queue over HTTP."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self.http, self.url = http, url
        self.scope = f"{BASE}/scopes/s"
        self.path = f"{self.scope}/queues/q/messages"

    async def make(self, **fields: Any) -> None:
        for path, slug, more in ((f"{BASE}/scopes", "s", {}), (f"{self.scope}/queues", "q", fields)):
            made = await self.http.post(path, json={"slug": slug, "display_name": slug, **more})
            assert made.status_code == 201, made.text

    async def publish(self, body: Any = 1, **fields: Any) -> httpx.Response:
        return await self.http.post(self.path, json={"type": "t", "body": body, **fields})

    async def claim(self, count: int = 1) -> list[dict[str, Any]]:
        answer = await self.http.post(self.path + "/claim", json={"batch_size": count})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]
        return found

    async def complete(self, message: dict[str, Any]) -> httpx.Response:
        path = f"{self.scope}/messages/{message['id']}/complete"
        return await self.http.post(path, json={"claim_token": message["claim_token"]})

    async def state(self, message_id: str) -> str:
        answer = await self.http.get(f"{self.scope}/messages/{message_id}")
        found: str = answer.json()["data"]["state"]
        return found

    async def metric(self, name: str) -> float:
        """Of any of the processes that share the port: on a connection of its own."""
        text = (await self.http.get("/metrics", headers={"Connection": "close"})).text
        return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


@asynccontextmanager
async def open_queue(url: str, *, timeout: float = 60) -> AsyncIterator[Queue]:
    async with httpx.AsyncClient(base_url=url, headers=HEADERS, timeout=timeout) as http:
        yield Queue(http, url)


def code_of(answer: httpx.Response) -> str:
    found: str = answer.json()["error"]["code"]
    return found


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own; the user must be allowed to mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"no disk can be filled without one of our own: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
