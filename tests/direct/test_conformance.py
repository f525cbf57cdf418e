"""The conformance cases hold for callers in another language and at a terminal."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from redis import Redis

from tests.direct.redis_cli import run_cases
from tests.scripts.conformance_format import FOLDER, as_text
from tests.scripts.shard import BUNDLE
from tests.servers import RedisServer, find_program

CASES = [case for path in sorted(FOLDER.glob("*.json")) for case in json.loads(path.read_text())]
SHA1 = {name: script.sha1 for name, script in BUNDLE.items()}
PROGRAM = Path(__file__).parent / "node" / "conformance.mjs"


@pytest.mark.parametrize("name", ["ioredis", "node-redis"])
def test_every_case_holds_on_node(client: Redis, redis_server: RedisServer, name: str) -> None:
    done = subprocess.run(
        [find_program("node"), str(PROGRAM), name, redis_server.tcp_url, str(FOLDER)],
        input=json.dumps(SHA1),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(CASES)


def test_every_case_holds_by_redis_cli(client: Redis, redis_server: RedisServer) -> None:
    answers = run_cases(redis_server.tcp_url, SHA1, CASES)
    for case, (reply, keys) in zip(CASES, answers, strict=True):
        assert as_text(reply) == as_text(case["reply"]), case["name"]
        assert as_text(keys) == as_text(case["keys"]), case["name"]
