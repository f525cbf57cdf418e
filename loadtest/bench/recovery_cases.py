"""How fast the index comes back from the rows, after Redis lost everything."""

from __future__ import annotations

import os

from redis.asyncio import Redis

from loadtest.bench.api_server import roomy_mariadb
from loadtest.bench.measure import ROUNDS, Row, Sample, Spread, cpu_ms, measured
from loadtest.bench.persister_cases import publish
from tests.servers import RedisServer
from tests.stack import open_stack

SECTION = "recovery"
MESSAGES, GOAL_RATE = 100_000, 50_000
_BOUND_SECONDS = 300.0


async def run(*, quick: bool = False) -> list[Row]:
    """FLUSHALL, then one process rebuilds; the clock stops when every message is pending again."""
    count = MESSAGES // (4 if quick else 1)
    samples: list[Sample] = []
    with RedisServer() as server, roomy_mariadb() as mariadb:
        pids = {"rebuilding": os.getpid(), "redis": server.pid, "mariadb": mariadb.pid}
        url = mariadb.create_database("rebuild")
        async with Redis.from_url(server.url) as redis, open_stack(redis, url) as stack:
            last = await publish(stack, count)
            persister = stack.persister()
            await persister.start()
            arrived = await persister.watermarks.wait(stack.shard_number, last, _BOUND_SECONDS)
            await persister.stop()
            if not arrived:
                raise RuntimeError(f"no rows to rebuild from after {_BOUND_SECONDS:.0f} s")
            pending = stack.scope.queue("orders").key("pending")
            for _ in range(ROUNDS):
                await redis.flushall()
                with measured(count, pids) as sample:
                    await stack.recovery.prepare()
                if await redis.zcard(pending) != count:
                    raise RuntimeError("the rebuild left messages out")
                samples.append(sample)
    value = Spread.of([sample.rate for sample in samples])
    return [
        Row(
            section=SECTION, name=f"index rebuilt from {count:,} rows, 200 B", unit="messages/s", value=value,
            cpu_ms=cpu_ms(samples), goal=f"≥ {GOAL_RATE:,} on an idle machine", met=value.median >= GOAL_RATE,
            details={"seconds": count / value.median}, durability="rows in MariaDB",
        )
    ]  # fmt: skip
