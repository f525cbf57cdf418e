"""The example that docs/osqueue.md begins with, on `scaiqueue dev`, and what makes no sense to start with."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSMsgType

from tests.cli.shell import QuickShell, Shell
from tests.pages import example_of, run_example
from tests.servers import free_port


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running `scaiqueue dev`, and the address for osqueue's clients."""
    shell = Shell(tmp_path)
    command = shell.command("dev", "--port", "0", "--osqueue-port", str(free_port()))
    with subprocess.Popen(
        command, cwd=tmp_path, env=shell.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            yield process, next(line.split()[1] for line in lines if line.startswith("osqueue: "))
        finally:
            process.terminate()


async def test_the_page_works_as_written(
    dev: tuple[subprocess.Popen[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, url = dev
    monkeypatch.setenv("OSQUEUE_URL", url)
    commands, printed = example_of("osqueue.md")
    assert await asyncio.to_thread(run_example, commands, tmp_path, "", "") == printed
    # It ends in order, with an open connection, too.
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/v1/ws") as socket:
        process.terminate()
        assert (await socket.receive()).type == WSMsgType.CLOSE
        assert socket.close_code == 1001
    assert await asyncio.to_thread(process.wait, 30) == 0


def test_settings_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    assert "name a port" in QuickShell(tmp_path)("osqueue", status=2)
    for options, complaint in (
        ({"OSQUEUE_PORT": "8080"}, "must be another than port"),
        ({"OSQUEUE_SCOPE": "Jobs"}, "must be a slug"),
        ({"OSQUEUE_KEY": "secret"}, "must be sgk_"),
        ({"OSQUEUE_ORIGINS": "https://a.example.org/ jobs"}, "must be origins"),
    ):
        shell = QuickShell(tmp_path, **{f"SCAIQUEUE_{name}": value for name, value in options.items()})
        assert complaint in shell("dev", status=2)
