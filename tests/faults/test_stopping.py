"""SIGTERM under load, and a rolling restart that a client who tries again does not notice."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.faults.conftest import ApiProcess, open_queue
from tests.faults.load import QUEUE, Load
from tests.servers import RedisServer

WITHIN_S = 10


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> dict[str, str]:
    return {"redis_url": redis_url, "database_url": f"sqlite+aiosqlite:///{tmp_path / 'rows.db'}"}


@pytest.fixture
def apis(settings: dict[str, str]) -> Iterator[list[ApiProcess]]:
    with ApiProcess(**settings) as one, ApiProcess(**settings) as two:
        yield [one, two]


def _position_is_at_the_end(redis: RedisServer, rows: str) -> bool:
    with redis.client() as client, sqlite3.connect(rows.partition("///")[2]) as connection:
        found = connection.execute("SELECT shard, epoch, n FROM mod_scaiqueue_journal_positions").fetchall()
        for shard, epoch, n in found:
            last = client.xrevrange(f"sq:{{{shard}}}:journal", count=1)
            if last and last[0][0].decode() != f"{epoch}-{n}":
                return False
    return bool(found)


def _leased(redis: RedisServer) -> set[str]:
    with redis.client() as client:
        return {
            member.decode() for key in client.keys("sq:{*:claimed") for member in client.zrange(key, 0, -1)
        }


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_stop_under_load_leaves_nothing_behind(
    redis_server: RedisServer, settings: dict[str, str], workers: str
) -> None:
    with ApiProcess("--workers", workers, **settings) as api:
        async with open_queue(api.url) as queue:
            await queue.make(visibility_timeout_s=600)
            idle = "/v1/modules/scaiqueue/scopes/s/queues"
            await queue.http.post(idle, json={"slug": "idle", "display_name": "idle"})
            wait = {"batch_size": 1, "wait_s": 20}
            waiting = [
                asyncio.create_task(queue.http.post(f"{idle}/idle/messages/claim", json=wait))
                for _ in range(10)
            ]

            async def someone_waits() -> bool:
                return await queue.metric("scaiqueue_claims_waiting") > 0

            await eventually(someone_waits)
            stream = "/v1/modules/scaiqueue/scopes/s/streams"
            opened = await queue.http.post(stream, json={"queue": "idle", "type": "t"})
            stream += f"/{opened.json()['data']['id']}/chunks"
            listening = [
                asyncio.create_task(queue.http.get(stream, headers={"Accept": "text/event-stream"})),
                asyncio.create_task(queue.http.get(f"{stream}?wait_s=20")),
            ]

            async def someone_listens() -> bool:
                return await queue.metric("scaiqueue_stream_listeners") > 0

            await eventually(someone_listens)
            async with Load([api.url]) as load:
                load.start(producers=8, consumers=8)
                await eventually(lambda: len(load.completed) > 200, timeout=60)
                process, begun = api.process, time.monotonic()
                assert process is not None
                process.terminate()
                load.ending = True
                await asyncio.to_thread(process.wait)
                took = time.monotonic() - begun
            answers = await asyncio.gather(*waiting)
        events, poll = await asyncio.gather(*listening)
    assert took < WITHIN_S
    assert process.returncode == 0
    assert [(one.status_code, one.json()["data"]) for one in answers] == [(200, [])] * len(waiting)
    assert (events.status_code, events.text) == (200, "")
    assert poll.json()["data"]["chunks"] == []
    assert _leased(redis_server) <= set(load.received) - load.completed
    assert _position_is_at_the_end(redis_server, settings["database_url"])


async def test_a_rolling_restart_fails_no_request(apis: list[ApiProcess], redis_server: RedisServer) -> None:
    async with open_queue(apis[0].url) as queue:
        await queue.make(visibility_timeout_s=600)
    async with Load([api.url for api in apis], patience_s=15) as load:
        load.start(producers=6, consumers=6)
        for api in (*apis, *apis):
            before = len(load.completed)
            await eventually(lambda before=before: len(load.completed) > before + 30, timeout=60)
            begun = time.monotonic()
            await asyncio.to_thread(api.stop)
            assert time.monotonic() - begun < WITHIN_S
            stopped = len(load.completed)
            # The other one commits what this one's shards publish.
            await eventually(lambda stopped=stopped: len(load.completed) > stopped + 30, timeout=60)
            await asyncio.to_thread(api.start)
        await load.end()
        assert load.failures == []
        left = set(load.published) - load.completed
        while left:
            answer = await load.post(QUEUE + "/claim", {"batch_size": 100})
            assert answer is not None
            found = {message["id"] for message in answer.json()["data"]}
            assert found, f"lost: {left}, leased: {_leased(redis_server)}"
            left -= found
