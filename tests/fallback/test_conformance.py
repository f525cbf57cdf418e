"""The scripts' conformance cases, with the rows in the place of Redis."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.records import decode_record
from scaiqueue.rows.engine import open_engine
from scaiqueue.rows.migrate import upgrade
from scaiqueue.scripts.replies import NotReadyError
from tests.fallback.ground import VERBS, Ground
from tests.scripts.conformance_format import FOLDER, as_bytes, as_text, reply_as_json

# What the rows don't have: a backlog, routing rules, and subscriptions. And a wall clock that claim ids of
# Redis live by.
WITHOUT = {"the rows are too far behind"}
CASES = [
    pytest.param(case, id=f"{verb}: {case['name']}")
    for verb in VERBS
    for case in json.loads((FOLDER / f"{verb}.json").read_text())
    if case["name"] not in WITHOUT and {"instruct", "subscribe"}.isdisjoint(step[1] for step in case["setup"])
]
SCOPE = "sq:{3}:acme:0"


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    await upgrade(database_url)
    engine = open_engine(database_url)
    yield engine
    await engine.dispose()


async def _prepare(ground: Ground, case: dict[str, Any]) -> None:
    await ground.empty()
    for command, *parts in case["setup"]:
        if command == "SCRIPT":
            name, keys, args = parts
            await ground.run(name, keys, [as_bytes(part) for part in args])
        elif command == "DEL" and parts[0].endswith(":epoch"):
            ground.epoch = 2
        elif command == "DEL":
            await ground.forget_scope(parts[0])
        elif command == "HSET" and parts[1] == "max_body":
            ground.max_body = int(parts[2])


@pytest.mark.parametrize("case", CASES)
async def test_the_rows_answer_as_the_scripts_do(engine: AsyncEngine, case: dict[str, Any]) -> None:
    ground = Ground(engine, 3)
    await _prepare(ground, case)
    call = case["call"]
    args = [as_bytes(part) for part in call["args"]]
    if case["reply"] == [["NOT_READY"]]:
        with pytest.raises(NotReadyError):
            await ground.run(call["script"], call["keys"], args)
        return
    reply = reply_as_json(call["script"], await ground.run(call["script"], call["keys"], args))
    assert _in_words(reply) == _in_words(case["reply"])
    await _check_rows(ground, case["keys"])


def _in_words(reply: list[Any]) -> list[Any]:
    """A reply that is one text is the same as its words one by one."""
    return as_text([item.split(" ") if isinstance(item, str) else item for item in reply])


async def _check_rows(ground: Ground, keys: dict[str, Any]) -> None:
    """The rows hold the records that Redis would, and the sets those members."""
    found = await ground.stored("0")
    states = keys.get(f"{SCOPE}:state", {"hash": {}})["hash"]
    expected = {name: decode_record(as_bytes(packed)) for name, packed in states.items()}
    assert {name: row.record for name, row in found.items()} == expected
    outcomes = keys.get(f"{SCOPE}:outcome", {"hash": {}})["hash"]
    for name, packed in outcomes.items():
        response, reason = packed["msgpack"]
        assert found[name].outcome == (response.encode(), reason)
