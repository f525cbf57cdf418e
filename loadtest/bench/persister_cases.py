"""Rows a second of the persister alone, its journal filled before, against the driver's executemany."""

from __future__ import annotations

import os

import asyncmy
from redis.asyncio import Redis

from loadtest.bench.api_server import roomy_mariadb
from loadtest.bench.measure import ROUNDS, Row, Sample, compare, measured
from loadtest.bench.workload import bodies
from scaiqueue.persister.service import Persister
from scaiqueue.records import Version
from scaiqueue.rows.bulk import MESSAGE_COLUMNS
from scaiqueue.rows.tables import messages
from tests.servers import MariaDbServer, RedisServer
from tests.stack import Stack, open_stack

SECTION = "persister"
MESSAGES, PER_CALL, PER_EXECUTE = 20_000, 100, 1000
_BOUND_SECONDS = 300.0
_COPY = "copied_messages"


async def run(*, quick: bool = False) -> list[Row]:
    """Published messages into rows, whole lives into rows, and lives of which the rows exist already."""
    count = MESSAGES // (4 if quick else 1)
    published: list[Sample] = []
    lived: list[Sample] = []
    ended: list[Sample] = []
    floors: list[Sample] = []
    with RedisServer() as redis_server, roomy_mariadb() as mariadb:
        pids = {"persister": os.getpid(), "redis": redis_server.pid, "mariadb": mariadb.pid}
        for number in range(ROUNDS):
            url = mariadb.create_database(f"round_{number}")
            async with Redis.from_url(redis_server.url) as redis:
                await redis.flushall()
                async with open_stack(redis, url) as stack:
                    published.append(await _carried(stack, pids, count, await publish(stack, count)))
                    ended.append(await _carried(stack, pids, count, await _end(stack, count)))
            floors.append(await _executemany(mariadb, url, f"round_{number}", pids))
            mariadb.drop_database(f"round_{number}")
            url = mariadb.create_database(f"lives_{number}")
            async with Redis.from_url(redis_server.url) as redis:
                await redis.flushall()
                async with open_stack(redis, url) as stack:
                    for _ in range(count // PER_CALL):
                        await publish(stack, PER_CALL)
                        last = await _end(stack, PER_CALL)
                    lived.append(await _carried(stack, pids, count, last))
            mariadb.drop_database(f"lives_{number}")
    cases = {
        "published messages become rows, 200 B": published,
        "claimed, completed: rows that exist are brought up to date": ended,
        "published, claimed, completed: one row each, 200 B": lived,
    }
    return [
        compare(
            SECTION, name, "rows/s", samples, floors, reference="asyncmy executemany, 1,000 rows a commit",
            at_least=1.0, durability="committed in MariaDB, synced at each commit",
        )
        for name, samples in cases.items()
    ]  # fmt: skip


async def publish(stack: Stack, count: int) -> Version:
    """Into the journal, by the scripts; answers its end."""
    body = bodies("200 B", 1)[0]
    for _ in range(count // PER_CALL):
        _, last = await stack.publish(PER_CALL, body=body, source={"type": "bench", "id": "1"})
    return last


async def _end(stack: Stack, count: int) -> Version:
    """Claim and complete all of them."""
    for _ in range(count // PER_CALL):
        last = await stack.complete(await stack.claim(PER_CALL))
    return last


async def _carried(stack: Stack, pids: dict[str, int], count: int, last: Version) -> Sample:
    """A persister, until its watermark is at the journal's end."""
    persister: Persister = stack.persister()
    with measured(count, pids) as sample:
        await persister.start()
        arrived = await persister.watermarks.wait(stack.shard_number, last, _BOUND_SECONDS)
    await persister.stop()
    if not arrived:
        raise RuntimeError(f"the persister was not through after {_BOUND_SECONDS:.0f} s")
    return sample


async def _executemany(mariadb: MariaDbServer, url: str, database: str, pids: dict[str, int]) -> Sample:
    """The rows that the persister has just written, once more, into an empty table of the same shape."""
    columns = ", ".join(MESSAGE_COLUMNS)
    mariadb.run(f"CREATE TABLE {_COPY} LIKE {messages.name}", database)
    connection = await asyncmy.connect(
        unix_socket=str(mariadb.socket), user="root", db=database, charset="utf8mb4"
    )
    async with connection.cursor() as cursor:
        await cursor.execute(f"SELECT {columns} FROM {messages.name} ORDER BY id")
        rows = list(await cursor.fetchall())
        statement = f"INSERT INTO {_COPY} ({columns}) VALUES ({', '.join(['%s'] * len(MESSAGE_COLUMNS))})"
        with measured(len(rows), pids) as sample:
            for at in range(0, len(rows), PER_EXECUTE):
                await cursor.executemany(statement, rows[at : at + PER_EXECUTE])
                await connection.commit()
    connection.close()
    return sample
