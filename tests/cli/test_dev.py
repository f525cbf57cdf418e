"""`scaiqueue dev`: the whole queue by one command, kept running, kept over a restart."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scaiqueue.cli.client import Client, is_ready
from scaiqueue.settings import Settings
from tests.cli.shell import QuickShell, Shell
from tests.eventually import eventually

NAMES = ("valkey", "api", "worker")


class Dev:
    """A running `scaiqueue dev` on a free port."""

    def __init__(self, shell: Shell, *options: str) -> None:
        self.shell = shell
        self.process = subprocess.Popen(
            shell.command("dev", "--port", "0", *options),
            cwd=shell.folder,
            env=shell.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.startswith("API key: "):
                break
        ready = [line for line in lines if line.startswith("READY ")]
        assert len(ready) == 1, lines
        self.url = ready[0].split()[1]
        self.key = lines[-1].split()[2]
        shell.environment["SCAIQUEUE_PORT"] = self.url.rpartition(":")[2]

    @property
    def ready(self) -> bool:
        return is_ready(self.url)

    def children(self) -> dict[str, int]:
        """Process ids by what they run."""
        found = {}
        pid = self.process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            # A child between fork and exec still looks like its parent.
            command = _command_of(int(child)).rpartition(" -m ")[2]
            found |= {name: int(child) for name in NAMES if name in command}
        return found

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def started() -> Iterator[list[Dev]]:
    running: list[Dev] = []
    yield running
    for dev in running:
        if dev.process.poll() is None:
            dev.end(signal.SIGTERM)


async def test_one_command_runs_everything_and_keeps_it(tmp_path: Path, started: list[Dev]) -> None:
    shell = Shell(tmp_path)
    first = Dev(shell)
    started.append(first)
    assert first.ready
    await eventually(lambda: set(first.children()) == set(NAMES))
    shell("queue", "create", "shop", "orders")
    assert _queues(shell) == ["shop/orders"]
    assert "ready" in shell("status")
    shell("doctor")
    assert "another `scaiqueue dev` uses" in shell("dev", "--port", "0", status=1)

    for name, pid in first.children().items():
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda name=name, pid=pid: first.children().get(name) not in (None, pid))
        await eventually(lambda: first.ready)
    await eventually(lambda: _queues(shell) == ["shop/orders"])

    children = first.children()
    assert first.end(signal.SIGINT) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in children.values())

    second = Dev(shell)
    started.append(second)
    assert second.key == first.key
    assert _queues(shell) == ["shop/orders"]
    assert second.end(signal.SIGTERM) == 0

    third = Dev(shell, "--fresh")
    started.append(third)
    assert third.key != first.key
    assert _queues(shell) == []


async def test_an_operator_s_day(tmp_path: Path, started: list[Dev]) -> None:
    shell = QuickShell(tmp_path)
    started.append(Dev(shell))

    async def run(*words: str) -> Any:
        return json.loads(await asyncio.to_thread(shell, *words, "--json"))

    await run("queue", "create", "shop", "orders", "--ordering", "priority")
    first = await run("msg", "publish", "shop", "orders", '{"n": 1}', "--type", "order", "--tier", "high")
    second = await run("msg", "publish", "shop", "orders", "[]", "--type", "order", "--label.region", "eu")
    assert {one["id"] for one in await run("msg", "ls", "shop")} == {first["id"], second["id"]}
    assert (await run("msg", "show", "shop", second["id"]))["labels"] == {"region": "eu"}
    assert "published" in await asyncio.to_thread(shell, "msg", "show", "shop", first["id"], "--history")
    await run("msg", "cancel", "shop", second["id"])
    assert (await run("queue", "show", "shop", "orders"))["depth_pending"] == 1

    client = Client(
        Settings(data_dir=str(tmp_path / ".scaiqueue"), port=int(shell.environment["SCAIQUEUE_PORT"]))
    )
    messages = "/scopes/shop/queues/orders/messages"
    (claimed,) = (await asyncio.to_thread(client.post, f"{messages}/claim", {"batch_size": 5}))["data"]
    failure = {"claim_token": claimed["claim_token"], "reason": "broken", "retryable": False}
    await asyncio.to_thread(client.post, f"/scopes/shop/messages/{first['id']}/fail", failure)
    (dead,) = await run("dlq", "ls", "shop")
    assert dead["origin"]["queue"] == "orders"
    assert "broken" in await asyncio.to_thread(shell, "dlq", "ls", "shop")
    assert any(one["slug"] == "_dead_letter" for one in (await run("status"))["queues"])
    moved = await run("dlq", "redrive", "shop")
    assert (moved["state"], moved["progress"]["redriven"]) == ("completed", 1)
    await eventually(lambda: _depth(run, 1))

    (busiest, *_) = await run("top")
    assert (busiest["slug"], busiest["depth_pending"]) == ("orders", 1)
    assert sum(busiest["per_minute"]["published"]) == 2
    assert "orders" in await asyncio.to_thread(shell, "top", "--once")
    await run("scope", "create", "empty")
    assert {one["slug"] for one in await run("scope", "ls")} == {"shop", "empty"}
    await run("scope", "set-state", "empty", "archive")

    await run("queue", "set-state", "shop", "orders", "pause")
    states = {one["slug"]: one["state"] for one in await run("queue", "ls", "shop")}
    assert states["orders"] == "paused"
    assert "SCAIQUEUE_QUEUE_PAUSED" in await asyncio.to_thread(
        lambda: shell("msg", "publish", "shop", "orders", "1", "--type", "order", status=1)
    )
    assert "not JSON" in await asyncio.to_thread(
        lambda: shell("msg", "publish", "shop", "orders", "word", "--type", "order", status=1)
    )

    await eventually(lambda: _agent_is_known(run, "expiry_enforcer"))
    await run("agent", "run", "expiry_enforcer")


async def _depth(run: Callable[..., Awaitable[Any]], expected: int) -> bool:
    return bool((await run("queue", "show", "shop", "orders"))["depth_pending"] == expected)


async def _agent_is_known(run: Callable[..., Awaitable[Any]], name: str) -> bool:
    return name in {one["name"] for one in await run("agent", "ls")}


def _queues(shell: Shell) -> list[str]:
    return [f"{one['scope']}/{one['slug']}" for one in json.loads(shell("queue", "ls", "--json"))]


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except FileNotFoundError:
        return ""
