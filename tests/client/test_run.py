"""`scaiqueue run`: a worker as a process, and how signals end it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from scaiqueue.client import SyncClient
from tests.api.conftest import FIRST_KEY, ApiServer

_numbers = count(1)
PATIENCE = ("--grace-s", "3600", "--cancel-s", "0.1")
PROGRAM = """
import asyncio, os, time
from scaiqueue.client import App, Client

app = App(Client(scope=os.environ["SCOPE"]), queue="q")

@app.job("endless")
async def endless(_: None) -> None:
    print("began", flush=True)
    await asyncio.Event().wait()

@app.job("stuck")
def stuck(_: None) -> None:
    print("began", flush=True)
    time.sleep(3600)

@app.job("brief")
async def brief(_: None) -> None:
    print("began", flush=True)
    await asyncio.sleep(0.2)
"""


@pytest.fixture
def client(api_servers: tuple[ApiServer, Any]) -> Iterator[SyncClient]:
    scope = f"run{next(_numbers)}"
    with SyncClient(api_servers[0].url, FIRST_KEY, scope=scope) as client:
        client.call("POST", "/scopes", {"slug": scope, "display_name": scope})
        client.call("POST", f"/scopes/{scope}/queues", {"slug": "q", "display_name": "Q"})
        yield client


def start(folder: Path, url: str, scope: str, *words: str) -> subprocess.Popen[str]:
    (folder / "program.py").write_text(PROGRAM)
    return subprocess.Popen(
        [sys.executable, "-m", "scaiqueue", "run", *words],
        cwd=folder,
        env={**os.environ, "SCAIGRID_HOST": url, "SCAIGRID_API_KEY": FIRST_KEY, "SCOPE": scope},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("type", "signals", "status", "state", "attempts"),
    [
        ("brief", [signal.SIGTERM], 0, "completed", 1),
        # Two of a kind could reach the process as one.
        ("endless", [signal.SIGTERM, signal.SIGINT], 1, "pending", 0),
        ("stuck", [signal.SIGINT, signal.SIGTERM], 1, "pending", 0),
    ],
)
def test_signals(
    client: SyncClient,
    api_servers: tuple[ApiServer, Any],
    tmp_path: Path,
    type: str,
    signals: list[signal.Signals],
    status: int,
    state: str,
    attempts: int,
) -> None:
    scope, url = client._client.scope, api_servers[0].url
    sent = client.publish("q", type)
    with start(tmp_path, url, scope, "program:app", *PATIENCE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "began\n"
        for number in signals:
            process.send_signal(number)
        said = process.communicate()[1]
    assert process.returncode == status, said
    shown = client.call("GET", f"/scopes/{scope}/messages/{sent.id}")
    assert (shown["state"], shown["attempts"]) == (state, attempts)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere:app"], "nowhere:app: No module named 'nowhere'"),
        (["program:brief"], "program:brief is a HandledJob, no App of scaiqueue.client"),
        (["program:app", "--queue", "missing", "--until-empty"], "SCAIQUEUE_QUEUE_NOT_FOUND"),
    ],
)
def test_mistakes(
    client: SyncClient, api_servers: tuple[ApiServer, Any], tmp_path: Path, words: list[str], said: str
) -> None:
    with start(tmp_path, api_servers[0].url, client._client.scope, *words) as process:
        _, errors = process.communicate()
    assert process.returncode == 1
    assert said in errors
