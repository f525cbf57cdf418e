"""The quickstart by curl, Python and Node, on what `scaiqueue dev` brings and on Redis with MariaDB."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import select

from loadtest.stack import Stack, private_stack
from scaiqueue.cli.client import BASE, is_ready
from scaiqueue.rows import tables
from scaiqueue.rows.engine import open_engine, reading
from tests.eventually import eventually
from tests.quickstart import guide
from tests.quickstart.transcript import shown, transcript
from tests.servers import RedisServer, free_port

KEY = "sgk_quickstart-by-curl-0123456789abcdefghijklm"
NEEDED = ("scaiqueue:manage", "scaiqueue:publish", "scaiqueue:consume")
SYSTEM = {"_dead_letter", "_events", "_audit", "_integrity", "_corrections"}
Servers = Callable[[], AbstractAsyncContextManager[tuple[Stack, dict[str, str]]]]


@asynccontextmanager
async def embedded() -> AsyncIterator[tuple[Stack, dict[str, str]]]:
    async with private_stack() as stack:
        yield stack, {"SCAIQUEUE_DATABASE_URL": stack.database_url}


@pytest.fixture
def named_servers(redis_server: RedisServer, redis_url: str, mariadb_url: str, tmp_path: Path) -> Servers:
    @asynccontextmanager
    async def run() -> AsyncIterator[tuple[Stack, dict[str, str]]]:
        port = free_port()
        settings = {
            "SCAIQUEUE_REDIS_URL": redis_url,
            "SCAIQUEUE_DATABASE_URL": mariadb_url,
            "SCAIQUEUE_PORT": str(port),
            "SCAIQUEUE_API_KEY": KEY,
        }
        url = f"http://127.0.0.1:{port}"
        scaiqueue(tmp_path, settings, "migrate", "up")
        running = []
        try:
            for name in ("api", "worker"):
                running.append(start(tmp_path, settings, name))
            await eventually(lambda: is_ready(url), timeout=60)
            yield Stack(url, KEY, mariadb_url), settings
        finally:
            for process in running:
                process.terminate()
            assert [process.wait(30) for process in running] == [0] * len(running)

    return run


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "scaiqueue", *words]


def environment(settings: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCAIQUEUE_")}
    return {**kept, **settings}


def start(folder: Path, settings: dict[str, str], name: str) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command(name), cwd=folder, env=environment(settings), stdout=log, stderr=log)


def scaiqueue(folder: Path, settings: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        command(*words), cwd=folder, env=environment(settings), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_on_what_dev_brings(tmp_path: Path) -> None:
    await follow(embedded, tmp_path)


async def test_on_redis_and_mariadb(named_servers: Servers, tmp_path: Path) -> None:
    await follow(named_servers, tmp_path)


async def follow(servers: Servers, folder: Path) -> None:
    """By curl as the first key's tenant, by Python and Node each as a tenant of its own."""
    async with servers() as (stack, settings):
        steps = guide.by_curl(folder, stack.url, stack.key)
        check_answers(steps)
        await check_end(stack, stack.key)
        assert shown() == transcript(steps), "run: make generate"

        readers = {}
        said = {}
        for tenant, run in (("python", guide.by_python), ("node", guide.by_node)):
            readers[tenant] = new_key(folder, settings, tenant, "view")
            key = new_key(folder, settings, tenant, *NEEDED)
            said[tenant] = run(folder, stack.url, key)

        scope_id, queue_id, message_id = await check_end(stack, readers["python"])
        once = f"{message_id} pending"
        assert said["python"] == [scope_id, queue_id, once, once, "{'order_id': 'ord_12345'} 1", "completed"]

        scope_id, queue_id, message_id = await check_end(stack, readers["node"])
        published = [f"201 null {message_id}", f"200 true {message_id}"]
        assert said["node"] == [scope_id, *published, "{ order_id: 'ord_12345' } 1", "completed"]


def new_key(folder: Path, settings: dict[str, str], tenant: str, *permissions: str) -> str:
    return scaiqueue(
        folder, settings, "keys", "create", "--tenant", tenant, "--permissions", *permissions
    ).strip()


def check_answers(steps: list[guide.Step]) -> None:
    scope, queue, published, again, claimed, completed = steps
    assert [step.status for step in steps] == [201, 201, 201, 200, 200, 200]
    assert scope.answer["data"]["slug"] == "quickstart"
    assert queue.answer["data"]["slug"] == "tasks"
    assert "idempotent-replay" not in published.headers
    assert again.headers["idempotent-replay"] == "true"
    assert again.answer["data"]["id"] == published.answer["data"]["id"]
    (message,) = claimed.answer["data"]
    assert message["id"] == published.answer["data"]["id"]
    assert message["attempts"] == 1
    assert message["body"] == {"order_id": "ord_12345"}
    assert message["labels"] == {"region": "eu"}
    assert completed.answer["data"]["state"] == "completed"


async def check_end(stack: Stack, key: str) -> tuple[str, str, str]:
    """Queues, depths and the row, whoever went through the page. Answers the ids of scope, queue, message."""
    async with aiohttp.ClientSession(
        stack.url, headers={"Authorization": f"Bearer {key}"}, raise_for_status=True
    ) as session:

        async def get(path: str) -> Any:
            async with session.get(f"{BASE}/scopes/quickstart{path}") as answer:
                return (await answer.json())["data"]

        scope = await get("")
        assert {queue["slug"] for queue in await get("/queues")} == {*SYSTEM, "tasks"}
        queue = await get("/queues/tasks")
        assert [queue["depth_pending"], queue["depth_claimed"]] == [0, 0]
        (message,) = await get("/messages")
        assert message["response"] == {"shipped": True}
    engine = open_engine(stack.database_url)
    try:

        async def row() -> Any:
            query = select(tables.messages).where(tables.messages.c.scope_id == scope["id"])
            async with reading(engine) as conn:
                return (await conn.execute(query)).one()

        # Completed in the rows a moment after it was answered.
        stored = await eventually(lambda: completed_row(row))
    finally:
        await engine.dispose()
    assert stored.id == message["id"]
    assert stored.body.replace(b" ", b"") == b'{"order_id":"ord_12345"}'
    assert stored.response.replace(b" ", b"") == b'{"shipped":true}'
    assert stored.attempts == 1
    return scope["id"], queue["id"], message["id"]


async def completed_row(row: Callable[[], Any]) -> Any:
    found = await row()
    assert found.state == 5
    return found
