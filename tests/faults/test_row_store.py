"""MariaDB away, frozen, or fighting over locks: consumers go on, the backlog is written in order, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.queueing.directory import MAX_AGE_S
from scaiqueue.rows.engine import open_engine, reading
from scaiqueue.rows.history import parse
from scaiqueue.rows.tables import events, journal_positions, messages
from tests.eventually import eventually
from tests.faults.conftest import ApiProcess, Queue, code_of, open_queue
from tests.servers import MariaDbServer

BACKLOG = 60


@pytest.fixture
def mariadb() -> Iterator[MariaDbServer]:
    with MariaDbServer() as server:
        server.create_database("rows")
        yield server


@pytest.fixture
def api(mariadb: MariaDbServer, redis_url: str) -> Iterator[ApiProcess]:
    settings = {"commit_timeout_s": "1", "backlog_limit": str(BACKLOG), "database_timeout_s": "12"}
    with ApiProcess(redis_url=redis_url, database_url=mariadb.url("rows"), **settings) as server:
        yield server


@pytest.fixture
async def queue(api: ApiProcess) -> AsyncIterator[Queue]:
    async with open_queue(api.url) as queue:
        await queue.make()
        yield queue


@pytest.fixture
async def rows(mariadb: MariaDbServer) -> AsyncIterator[AsyncEngine]:
    engine = open_engine(mariadb.url("rows"))
    yield engine
    await engine.dispose()


async def _indexed(queue: Queue, count: int) -> list[str]:
    answers = [await queue.publish(n, durability="indexed") for n in range(count)]
    assert {answer.status_code for answer in answers} == {201}, answers[-1].text
    return [answer.json()["data"]["id"] for answer in answers]


async def _consumers_go_on(queue: Queue) -> None:
    """For longer than scopes, queues and keys are remembered without being asked for again."""
    path = f"{queue.scope}/queues/empty/messages/claim"
    loop = asyncio.get_running_loop()
    end = loop.time() + MAX_AGE_S + 2
    while loop.time() < end:
        answer = await queue.http.post(path, json={"batch_size": 1, "wait_s": 1})
        assert (answer.status_code, answer.json()["data"]) == (200, [])


async def _committed_again(queue: Queue) -> None:
    async def committed() -> bool:
        return (await queue.publish("again")).status_code == 201

    await eventually(committed, timeout=60)


async def _in_order_and_once(engine: AsyncEngine, expected: dict[str, list[str]]) -> None:
    """Of each message its transitions; and no entry of the journal is written twice or left out."""
    async with reading(engine) as conn:
        query = select(messages.c.id, messages.c.history).where(messages.c.id.in_(list(expected)))
        found = {row.id: [step.event for step in parse(row.history)] for row in await conn.execute(query)}
        steps = select(events.c.shard, events.c.n).order_by(events.c.shard, events.c.n)
        entries: dict[int, list[int]] = {}
        for row in await conn.execute(steps):
            entries.setdefault(row.shard, []).append(row.n)
        positions = {row.shard: row.n for row in await conn.execute(select(journal_positions))}
    assert found == expected
    for shard, numbers in entries.items():
        assert numbers == list(range(numbers[0], positions[shard] + 1)), f"shard {shard}"


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_away_and_back(mariadb: MariaDbServer, queue: Queue, rows: AsyncEngine, how: str) -> None:
    made = await queue.http.post(f"{queue.scope}/queues", json={"slug": "empty", "display_name": "empty"})
    assert made.status_code == 201
    await queue.http.post(f"{queue.scope}/queues/empty/messages/claim")  # the queue is known now
    before = await _indexed(queue, 10)
    assert (await queue.publish("known", idempotency_key="known")).status_code == 201
    held = await queue.claim(5)
    if how == "killed":
        mariadb.kill()
    else:
        mariadb.pause()
    for message in held:
        assert (await queue.complete(message)).status_code == 200
    claimed = await queue.claim(2)
    assert len(claimed) == 2
    unknown = await queue.publish("late", idempotency_key="late")
    assert (unknown.status_code, code_of(unknown)) == (503, "SCAIQUEUE_UNAVAILABLE")
    more = await _indexed(queue, 20)
    await _consumers_go_on(queue)
    for _ in range(BACKLOG + 1):
        full = await queue.publish("full", durability="indexed")
        if full.status_code != 201:
            break
        more.append(full.json()["data"]["id"])
    assert (full.status_code, code_of(full)) == (503, "SCAIQUEUE_BACKLOG_FULL")
    assert (await queue.complete(claimed[0])).status_code == 200
    if how == "killed":
        mariadb.start()
    else:
        mariadb.resume()
    await _committed_again(queue)
    again = await queue.publish("late", idempotency_key="late")
    assert again.status_code == 200, "the same key finds it"
    done = {message["id"] for message in (*held, claimed[0])}
    expected = {name: ["published", "claimed", "completed"] for name in done}
    expected[claimed[1]["id"]] = ["published", "claimed"]
    expected |= {name: ["published"] for name in (*before, *more) if name not in expected}
    expected = {name: steps for name, steps in expected.items() if name in {*before, *more}}
    await _in_order_and_once(rows, expected)


async def test_restarts_under_load_lose_and_repeat_nothing(
    mariadb: MariaDbServer, queue: Queue, rows: AsyncEngine
) -> None:
    ids: list[str] = []
    over = asyncio.Event()

    async def produce(name: int) -> None:
        n = 0
        while not over.is_set():
            n += 1
            key = {"idempotency_key": f"{name}-{n}"}
            while (answer := await queue.publish(n, **key)).status_code not in (200, 201):
                assert answer.json()["error"]["retryable"] is True
            ids.append(answer.json()["data"]["id"])

    producers = [asyncio.create_task(produce(name)) for name in range(4)]
    for crash in (True, False, True):
        begun = len(ids)
        await eventually(lambda begun=begun: len(ids) > begun + 30, timeout=60)
        await asyncio.to_thread(mariadb.restart, crash=crash)
    begun = len(ids)
    await eventually(lambda: len(ids) > begun + 30, timeout=60)
    over.set()
    await asyncio.gather(*producers)
    assert len(set(ids)) == len(ids)
    await _in_order_and_once(rows, {name: ["published"] for name in ids})


async def test_a_lock_that_is_held_too_long_is_waited_for_again(
    api: ApiProcess, queue: Queue, rows: AsyncEngine
) -> None:
    """1205, again and again, until the other lets go."""
    (message_id,) = await _indexed(queue, 1)
    await _committed_again(queue)
    async with rows.connect() as other:
        await other.execute(select(messages).where(messages.c.id == message_id).with_for_update())
        (held, *_) = await queue.claim(1)
        assert held["id"] == message_id
        assert (await queue.complete(held)).status_code == 200

        async def waited() -> bool:
            return "1205" in api.log.read_text()

        await eventually(waited, timeout=60)
        await other.rollback()
    await _committed_again(queue)
    await _in_order_and_once(rows, {message_id: ["published", "claimed", "completed"]})


async def test_a_deadlock_is_tried_again(
    mariadb: MariaDbServer, api: ApiProcess, queue: Queue, rows: AsyncEngine
) -> None:
    """1213: another transaction, too heavy to be the victim, takes the same rows in the opposite order."""
    ids = sorted(await _indexed(queue, 2))
    await _committed_again(queue)
    mariadb.run("CREATE TABLE weight (n INT) ENGINE=InnoDB", "rows")
    async with rows.connect() as other:
        await other.execute(text("INSERT INTO weight SELECT seq FROM seq_1_to_5000"))
        await other.execute(select(messages).where(messages.c.id == ids[1]).with_for_update())
        held = await queue.claim(2)
        assert sorted(message["id"] for message in held) == ids
        await _someone_waits(mariadb)
        await other.execute(select(messages).where(messages.c.id == ids[0]).with_for_update())
        await eventually(lambda: "(1213" in api.log.read_text())
        await other.rollback()
    await _committed_again(queue)
    await _in_order_and_once(rows, {name: ["published", "claimed"] for name in ids})


async def _someone_waits(mariadb: MariaDbServer) -> None:
    waiting = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"

    async def waits() -> bool:
        return (await asyncio.to_thread(mariadb.run, waiting)).strip() != "0"

    await eventually(waits)
