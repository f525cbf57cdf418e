"""Many leases that end together: how soon all are back, and what one call and consumers feel meanwhile."""

from __future__ import annotations

import time

from loadtest.bench.measure import ROUNDS, Row, Spread
from loadtest.bench.pipeline import Pipeline
from loadtest.bench.script_cases import NO_AOF, fill
from loadtest.bench.workload import Field, all_ok, packed
from scaiqueue.scripts.binding import sweep_call
from tests.servers import RedisServer, poll

SECTION = "expiry"
LEASES, SWEEP_LIMIT, PER_CLAIM = 100_000, 100, 500
_LEASE_MS = 60_000
_OTHER_QUEUE = 2_000
_SLOW_US = 2_000


def run(*, quick: bool = False, deep: bool = False) -> list[Row]:
    """Three times; `deep` takes a million leases."""
    leases = LEASES // 10 if quick else 10 * LEASES if deep else LEASES
    seconds, slowest, p99 = [], [], []
    for _ in range(ROUNDS):
        with RedisServer() as server:
            took, sweeps, claims = _round(server, leases)
        seconds.append(took)
        slowest.append(sweeps)
        p99.append(sorted(claims)[len(claims) * 99 // 100])
    scaled = 20 * leases / 1_000_000
    return [
        _row(f"{leases:,} leases that ended together are back", "s", seconds, f"≤ {scaled:g} s", scaled),
        _row(f"longest sweep of {SWEEP_LIMIT}, by the slow log", "ms", slowest, "≤ 10 ms", 10),
        _row("a consumer's claim between two sweeps, p99", "ms", p99, "< 50 ms", 50),
    ]


def _round(server: RedisServer, leases: int) -> tuple[float, float, list[float]]:
    """Sweeps one after the other, as the agents do, and after each a claim from another queue.

    Returns seconds, the longest script call in ms by the server's own clock, and the claims' times in ms.
    """
    with server.client() as client:
        field = Field(client)
        field.queue("jobs", visibility_ms=_LEASE_MS)
        field.queue("other", visibility_ms=100 * _LEASE_MS)
        client.hset(field.scope.shard.limits, "test_clock", 1)
        fill(server, field, "jobs", leases)
        fill(server, field, "other", _OTHER_QUEUE)
        pipeline = Pipeline(server.socket)
        jobs, other = field.scope.queue("jobs"), field.scope.queue("other")
        all_ok(pipeline.run(field.claims(jobs, leases, PER_CLAIM), 4))
        # The servers' clock stands in the scripts' argument: no need to wait for the leases to end.
        later = int(time.time() * 1000) + 2 * _LEASE_MS
        name, keys, args = sweep_call(field.scope.shard, SWEEP_LIMIT, now=later)
        sweep, (claim,) = packed((name, keys, args)), field.claims(other, 1, 1)
        claims = []
        client.config_set("slowlog-log-slower-than", _SLOW_US)
        client.slowlog_reset()
        began = time.perf_counter()
        while True:
            reply, _ = _timed(pipeline, sweep)
            if reply[1][0] == b"EMPTY":
                break
            claims.append(_timed(pipeline, claim)[1])
        seconds = time.perf_counter() - began
        pipeline.close()
        slow = client.slowlog_get(128)
        if not poll(lambda: client.zcard(jobs.key("pending")) == leases, 1):
            raise RuntimeError("not every lease is back")
    return seconds, max((call["duration"] for call in slow), default=_SLOW_US) / 1000, claims


def _timed(pipeline: Pipeline, call: bytes) -> tuple[list[list[bytes]], float]:
    began = time.perf_counter()
    (reply,) = pipeline.run([call], 1)
    return reply, 1000 * (time.perf_counter() - began)


def _row(name: str, unit: str, values: list[float], goal: str, most: float) -> Row:
    spread = Spread.of(values)
    return Row(
        section=SECTION, name=name, unit=unit, value=spread, goal=goal, met=spread.median <= most,
        durability=NO_AOF,
    )  # fmt: skip
