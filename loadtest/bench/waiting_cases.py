"""What nothing costs: claims that wait, queues that are empty; and how soon a waiting claim hears."""

from __future__ import annotations

import asyncio
import time

from loadtest.bench.api_server import Deployment, deployment
from loadtest.bench.http_cases import INDEXED, SCOPE, Bench, message
from loadtest.bench.http_driver import Next, Outcome, drive, request
from loadtest.bench.measure import ROUNDS, Row, Sample, Spread, measured
from scaiqueue.api.endpoint import BASE

SECTION = "waiting"
WAITERS, QUEUES, WAKE_UPS = 1_000, 1_000, 100
_SECONDS = 4.0
_WAIT = b'{"batch_size":1,"wait_s":20}'


async def run(*, quick: bool = False, deep: bool = False) -> list[Row]:
    """One API process: idle, then with empty queues (`deep`: ten thousand), then with waiting claims."""
    waiters, queues = (200, 200) if quick else (WAITERS, 10 * QUEUES if deep else QUEUES)
    with deployment() as deployed:
        bench = Bench(deployed)
        idle = [await _quiet(deployed) for _ in range(ROUNDS)]
        await _make_queues(deployed, queues)
        many = [await _quiet(deployed) for _ in range(ROUNDS)]
        waiting = asyncio.create_task(
            drive(deployed.api.port, waiters, _claims_of_empty_queues(deployed, queues))
        )
        await asyncio.sleep(2)
        held = [await _quiet(deployed) for _ in range(ROUNDS)]
        woken = await _wake_ups(bench)
        waiting.cancel()
    return [
        _share("idle: one queue, nobody waits", idle, None),
        _share(f"idle: {queues:,} more empty queues", many, None),
        _share(f"idle: {waiters:,} claims wait on empty queues", held, 0.03),
        _wake_up_row(woken, waiters),
    ]


async def _quiet(deployed: Deployment) -> Sample:
    with measured(1, deployed.pids) as sample:
        await asyncio.sleep(_SECONDS)
    return sample


async def _make_queues(deployed: Deployment, number: int) -> None:
    names = iter(range(number))

    def next_request(_: bytes) -> bytes | None:
        if (name := next(names, None)) is None:
            return None
        body = b'{"slug":"empty-%d","display_name":"Empty"}' % name
        return request(f"{BASE}/scopes/{SCOPE}/queues", body, deployed.key)

    outcome = await drive(deployed.api.port, 16, next_request)
    if outcome.refused:
        raise RuntimeError(f"a queue was refused: {outcome.first_refusal[:300]!r}")


def _claims_of_empty_queues(deployed: Deployment, queues: int) -> Next:
    """Each connection waits again as soon as its wait ends."""
    turn = 0

    def next_request(_: bytes) -> bytes:
        nonlocal turn
        turn += 1
        path = f"{BASE}/scopes/{SCOPE}/queues/empty-{turn % queues}/messages/claim"
        return request(path, _WAIT, deployed.key)

    return next_request


async def _wake_ups(bench: Bench) -> Outcome:
    """One consumer waits; a message is published; from the start of its publish to the claim's answer."""
    port = bench.deployed.api.port
    found = Outcome()
    claim = bench.post(f"{bench.queues}/finish/messages/claim", _WAIT)
    publish = bench.post(f"{bench.queues}/finish/messages", message("indexed"))
    for _ in range(WAKE_UPS):
        waiter = asyncio.create_task(drive(port, 1, _once(claim)))
        await asyncio.sleep(0.02)
        began = time.perf_counter()
        publisher = asyncio.create_task(drive(port, 1, _once(publish)))
        await waiter
        found.latencies.append(time.perf_counter() - began)
        await publisher
    return found


def _once(content: bytes) -> Next:
    contents = iter([content])
    return lambda _: next(contents, None)


def _share(name: str, samples: list[Sample], below: float | None) -> Row:
    """CPU of the API process and Redis, as a share of one core."""
    shares = [(s.cpu["api"] + s.cpu["redis"]) / s.seconds for s in samples]
    spread = Spread.of([100 * share for share in shares])
    return Row(
        section=SECTION,
        name=name,
        unit="% of a core, API and Redis",
        value=spread,
        goal=f"< {below:.0%} of a core" if below else "",
        met=spread.median < 100 * below if below else None,
        details={
            f"{process} % of a core": 100 * sorted(s.cpu[process] / s.seconds for s in samples)[1]
            for process in samples[0].cpu
        },
    )


def _wake_up_row(outcome: Outcome, waiters: int) -> Row:
    p99 = outcome.quantile(0.99)
    return Row(
        section=SECTION,
        name=f"wake-up of a waiting claim, {waiters:,} others waiting",
        unit="ms p99, publish included",
        value=Spread(p99, p99, p99),
        goal="p99 < 50 ms",
        met=p99 < 50,
        details={"p50 ms": outcome.quantile(0.5)},
        durability=INDEXED,
    )
