"""A private ScaiQueue for a demo or a measurement: `scaiqueue dev` in a temporary folder, on a free port."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from scaiqueue.embedded.children import die_with_parent
from scaiqueue.embedded.data_folder import DataFolder

READY_SECONDS = 60
END_SECONDS = 20


class StackError(RuntimeError):
    """The servers could not be started; carries what they said."""


@dataclass(frozen=True)
class Stack:
    """Where the API is, its key, and where the rows are."""

    url: str
    key: str
    database_url: str


@asynccontextmanager
async def private_stack(
    *, redis_url: str = "", database_url: str = "", **settings: str
) -> AsyncIterator[Stack]:
    """Everything on servers of its own; on those that the URLs name where they are given. `settings` by name,
    as in the environment without the prefix.

    Raises StackError when it does not come up.
    """
    with tempfile.TemporaryDirectory(prefix="scaiqueue-") as folder:
        log = Path(folder) / "log"
        data = DataFolder(Path(folder) / "data")
        given = {"SCAIQUEUE_REDIS_URL": redis_url, "SCAIQUEUE_DATABASE_URL": database_url}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SCAIQUEUE_")}
        environment |= {name: value for name, value in given.items() if value}
        environment |= {f"SCAIQUEUE_{name.upper()}": value for name, value in settings.items()}
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "scaiqueue", "dev", "--port", "0", "--data-dir", str(data.path)),
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                # Ctrl-C must reach it through this process, after the consumers are gone.
                process_group=0,
                preexec_fn=die_with_parent,
            )
        try:
            try:
                async with asyncio.timeout(READY_SECONDS):
                    url, key = await _announced(process)
            except (TimeoutError, EOFError):
                raise StackError(f"ScaiQueue did not start:\n{log.read_text(errors='replace')}") from None
            yield Stack(url, key, database_url or data.database_url)
        finally:
            await _end(process)


async def _announced(process: asyncio.subprocess.Process) -> tuple[str, str]:
    assert process.stdout is not None
    url = ""
    while line := (await process.stdout.readline()).decode():
        if line.startswith("READY "):
            url = line.split()[1]
        elif line.startswith("API key: "):
            return url, line.split()[2]
    raise EOFError


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(process.wait(), END_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
