"""The programs of docs/moving, as they stand on the pages, on a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import BASE, FIRST_KEY, ApiServer
from tests.pages import DOCS
from tests.servers import RedisServer, find_program


@pytest.fixture(scope="module")
def server(redis_server: RedisServer) -> Iterator[ApiServer]:
    """With the scope and the queue that the pages speak of."""
    with redis_server.client() as client:
        client.flushall()
    with ApiServer(redis_url=redis_server.url, api_key=FIRST_KEY) as running:
        with httpx.Client(
            base_url=running.url + BASE, headers={"Authorization": f"Bearer {FIRST_KEY}"}
        ) as http:
            for path, slug in (("/scopes", "shop"), ("/scopes/shop/queues", "orders")):
                http.post(path, json={"slug": slug, "display_name": slug}).raise_for_status()
        yield running


@pytest.mark.parametrize("page", ["bullmq", "celery", "osqueue", "sqs"])
def test_what_comes_after_works_as_written(server: ApiServer, page: str, tmp_path: Path) -> None:
    text = (DOCS / "moving" / f"{page}.md").read_text()
    ((language, program),) = re.findall(
        r"^```(python|javascript)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE
    )
    file = tmp_path / f"program.{'py' if language == 'python' else 'mjs'}"
    file.write_text(program)
    done = subprocess.run(
        [sys.executable if language == "python" else find_program("node"), str(file)],
        env={**os.environ, "SCAIGRID_HOST": server.url, "SCAIGRID_API_KEY": FIRST_KEY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"handled ord_\d\n", done.stdout)
