"""The example of docs/direct-callers.md: a limited Node service publishes, a Python worker consumes, MariaDB
has the row."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from redis import Redis
from sqlalchemy import select, text

from scaiqueue.rows import tables
from scaiqueue.rows.engine import open_engine, reading
from scaiqueue.rows.migrate import upgrade
from tests.api.conftest import FIRST_KEY, ApiServer
from tests.direct.test_access import PAGE, PASSWORD, user_of_the_page
from tests.eventually import eventually
from tests.faults.conftest import WorkerProcess
from tests.pages import run_example
from tests.servers import RedisServer, find_program

OPERATIONS = PAGE.parent / "operations" / "redis.md"
MODULES = Path(__file__).parent / "node" / "node_modules"
SHARD = 15
INVOICE = {"number": "2026-001", "cents": 1200}


def block(language: str, place: int = 0) -> str:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)[place]


def as_user(server: RedisServer, name: str) -> str:
    return server.tcp_url.replace("redis://", f"redis://{name}:{quote(PASSWORD)}@")


@pytest.fixture
async def api(client: Redis, redis_server: RedisServer, mariadb_url: str) -> AsyncIterator[ApiServer]:
    await upgrade(mariadb_url)
    client.execute_command(*user_of_the_page(PAGE, "billing"))
    client.execute_command(*user_of_the_page(OPERATIONS, "scaiqueue"))
    settings = {"redis_url": as_user(redis_server, "scaiqueue"), "database_url": mariadb_url, "shards": "16"}
    with (
        ApiServer(**settings, api_key=FIRST_KEY, reserved_shards="1") as server,
        WorkerProcess(**settings),
    ):
        yield server
    client.execute_command("ACL", "DELUSER", "billing", "scaiqueue")


async def test_the_page_works_as_written(api: ApiServer, redis_server: RedisServer, tmp_path: Path) -> None:
    run_example(block("bash"), tmp_path, api.url, FIRST_KEY)
    scope = json.loads((tmp_path / "scope.json").read_text())["data"]
    assert scope["shard"] == SHARD

    (tmp_path / "node_modules").symlink_to(MODULES)
    (tmp_path / "service.mjs").write_text(block("javascript"))
    url = as_user(redis_server, "billing")
    published = _run("node", "service.mjs", tmp_path, REDIS_URL=url, SCOPE_ID=scope["id"])
    assert published.splitlines() == ["[ 'OK', 'pending' ]", "DUPLICATE", "CONFLICT"]

    (tmp_path / "worker.py").write_text(block("python"))
    worked = _run(sys.executable, "worker.py", tmp_path, SCAIGRID_HOST=api.url, SCAIGRID_API_KEY=FIRST_KEY)
    assert worked == block("text")

    engine = open_engine(api.database_url)

    async def completed() -> bool:
        async with reading(engine) as connection:
            rows = (await connection.execute(text(block("sql").rstrip(";\n")))).all()
        if not rows:
            return False
        ((attempts, body, response),) = rows
        assert (attempts, json.loads(body), json.loads(response)) == (1, INVOICE, {"sent": True})
        return True

    await eventually(completed)

    async def swept() -> bool:
        async with reading(engine) as connection:
            runs = await connection.execute(
                select(tables.system_agents.c.runs, tables.system_agents.c.errors)
            )
        counts = runs.all()
        assert not any(errors for _, errors in counts)
        return any(runs for runs, _ in counts)

    await eventually(swept)
    await engine.dispose()


def _run(program: str, file: str, folder: Path, **variables: str) -> str:
    words = [shutil.which(program) or find_program(program), file]
    done = subprocess.run(
        words, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
